from typing import cast

import pytest

from toolset.core.dialects.patch_schema import tool_patch_fault, toolset_patch_fault
from toolset.core.dialects.schema import fault
from toolset.core.dialects.texts import Policy
from toolset.core.json_values import Document, Json

POLICY = Policy(frozenset({"TOKEN"}))
URL = "http://a:9090"
HTTP: Document = {"endpoints": [{"hosts": [URL], "paths": ["/*"], "methods": ["GET"]}]}


def block(**more: object) -> Document:
    return cast("Document", {"enabled": True, **more})


@pytest.mark.parametrize(
    "toolsets",
    [
        pytest.param({"kubernetes/core": block()}, id="no config"),
        pytest.param({"prometheus/metrics": block()}, id="a Prometheus that HolmesGPT looks for itself"),
        pytest.param({"prometheus/metrics": block(config={"prometheus_url": URL})}, id="flat"),
        pytest.param(
            {"grafana/loki": block(config={"timeout_seconds": 5, "instances": [{"name": "a", "api_url": URL}]})},
            id="shared defaults",
        ),
        pytest.param({"victorialogs": block(config={"api_url": URL})}, id="victorialogs"),
        pytest.param({"elasticsearch/data": {"enabled": False}}, id="off and empty"),
        pytest.param({"rabbitmq/core": block(config={"clusters": [{"id": "a", "api_url": URL}]})}, id="not ours"),
        pytest.param({"my-api": block(type="http", description="x", config=HTTP)}, id="http"),
        pytest.param({"db": block(type="database", config={"connection_url": "sqlite:///x"})}, id="database"),
        pytest.param({"grafana/tempo": block(config={"api_url": URL, "labels": {"pod": "p"}})}, id="tempo"),
    ],
)
def test_what_holmesgpt_takes_is_accepted(toolsets: dict[str, Json]) -> None:
    assert fault({"toolsets": toolsets}, POLICY) is None


@pytest.mark.parametrize(
    ("toolsets", "path"),
    [
        pytest.param({}, (), id="nothing"),
        pytest.param("x", (), id="no map"),
        pytest.param({"a.b": block()}, ("a.b",), id="dot in a name"),
        pytest.param({"a": None}, ("a",), id="null"),
        pytest.param({"a": {}}, ("a",), id="nothing said"),
        pytest.param({"a": block(labels={})}, ("a", "labels"), id="unknown key"),
        pytest.param({"a": block(type="custom")}, ("a", "type"), id="type"),
        pytest.param({"a": block(type="mcp", config={"url": URL})}, ("a",), id="tools of somebody else"),
        pytest.param({"a": block(tools=[])}, ("a",), id="tools"),
        pytest.param({"a": block(prerequisites=[{"command": "id"}])}, ("a",), id="a command"),
        pytest.param({"a": block(config={"b.c": 1})}, ("a", "config", "b.c"), id="dot in a key"),
        pytest.param({"a": block(config={"b": [{"c.d": 1}]})}, ("a", "config", "b", "0", "c.d"), id="dot in a list"),
        pytest.param({"a": block(config={"": 1})}, ("a", "config", ""), id="no key"),
        pytest.param({"a": block(config={"b": "${HOME}"})}, ("a", "config", "b"), id="text"),
        pytest.param({"a": block(), "b-c/d": block(), "b_c-d": block()}, ("b_c-d",), id="tools of the same names"),
        pytest.param({"A/b": block(type="http", config=HTTP)}, ("A/b",), id="name of an http toolset"),
        pytest.param({"a" * 57: block(type="http", config=HTTP)}, ("a" * 57,), id="long name of an http toolset"),
        pytest.param({"a": block(type="http")}, ("a", "config"), id="http without config"),
        pytest.param(
            {"a": block(type="http", config={"endpoints": [{"hosts": [URL], "methods": ["POST"]}]})},
            ("a", "config", "endpoints", "0", "methods", "0"),
            id="a method that writes",
        ),
        pytest.param(
            {"a": block(type="http", config={"endpoints": [{"hosts": ["*.b"]}]})},
            ("a", "config", "endpoints", "0", "hosts", "0"),
            id="any host",
        ),
        pytest.param(
            {"prometheus/metrics": block(config={"url": URL})}, ("prometheus/metrics", "config", "url"), id="wrong name"
        ),
        pytest.param({"grafana/dashboards": block()}, ("grafana/dashboards",), id="needs a config"),
        pytest.param(
            {"grafana/dashboards": block(config={"verify_ssl": True})}, ("grafana/dashboards", "config"), id="no URL"
        ),
        pytest.param(
            {
                "grafana/loki": block(
                    config={"api_key": "{{ env.TOKEN }}", "instances": [{"name": "a", "api_url": URL}]}
                )
            },
            ("grafana/loki", "config", "api_key"),
            id="a credential that all would get",
        ),
        pytest.param(
            {"grafana/loki": block(config={"instances": []})}, ("grafana/loki", "config", "instances"), id="no instance"
        ),
        pytest.param(
            {"grafana/loki": block(config={"instances": [{"api_url": URL}]})},
            ("grafana/loki", "config", "instances", "0"),
            id="no name",
        ),
        pytest.param(
            {"grafana/loki": block(config={"instances": [{"name": "a", "api_url": URL}] * 2})},
            ("grafana/loki", "config", "instances", "1", "name"),
            id="the same name twice",
        ),
        pytest.param(
            {"grafana/loki": block(config={"instances": [{"name": "a", "api_url": URL, "zzz": 1}]})},
            ("grafana/loki", "config", "instances", "0", "zzz"),
            id="unknown in an instance",
        ),
        pytest.param({"grafana/loki": block(config="x")}, ("grafana/loki", "config"), id="config is no map"),
    ],
)
def test_what_holmesgpt_would_refuse_or_skip_is_a_fault(toolsets: Json, path: tuple[str, ...]) -> None:
    problem = fault({"toolsets": toolsets}, POLICY)
    assert problem is not None
    assert problem.path == ("toolsets", *path)


def test_nothing_stands_next_to_the_toolsets() -> None:
    assert fault({"toolsets": {"a": block()}, "mcp_servers": {}}, POLICY) is not None


def test_a_patch_that_can_never_fit_is_found_before_there_is_anything_to_patch() -> None:
    problem = toolset_patch_fault("prometheus/metrics", {"config": {"url": URL}}, ("toolsets", "prometheus/metrics"))
    assert problem is not None
    assert "did you mean `prometheus_url`?" in problem.message
    assert toolset_patch_fault("prometheus/metrics", {"config": {"instances": []}}, ()) is None
    assert toolset_patch_fault("prometheus/metrics", {"enabled": False}, ()) is None
    assert toolset_patch_fault("other", {"config": {"url": URL}}, ()) is None
    assert tool_patch_fault({"verify_ssl": False, "timeout_seconds": 1}, ()) is None
    assert tool_patch_fault({"zzz": 1}, ("a",)) is not None


def test_settings_may_allow_what_runs_commands() -> None:
    unsafe = Policy(unsafe=True)
    assert fault({"toolsets": {"a": block(type="mcp", config={"url": URL})}}, unsafe) is None
    assert fault({"toolsets": {"a": block(tools=[{"name": "x", "command": "id"}])}}, unsafe) is None


LOKI = "grafana/loki"


@pytest.mark.parametrize(
    ("toolsets", "message"),
    [
        pytest.param({}, "toolsets: no toolset would be left; HolmesGPT needs at least one", id="nothing"),
        pytest.param(
            {"a.b": block()},
            "toolsets > a.b: a name has letters, digits, - and _, in parts divided by /; a dot breaks the whole file",
            id="name",
        ),
        pytest.param(
            {"b-c/d": block(), "b_c-d": block()},
            "toolsets > b_c-d: the tools of another toolset would have the same names",
            id="tools of the same names",
        ),
        pytest.param(
            {"a": block(tools=[])},
            "toolsets > a: it could run commands; output.allow_unsafe_overrides allows it",
            id="commands",
        ),
        pytest.param(
            {"A": block(type="http", config=HTTP)},
            "toolsets > A: a toolset of type http has a name of at most 56 lower-case letters, digits and -",
            id="name of an http toolset",
        ),
        pytest.param({LOKI: block()}, "toolsets > grafana/loki: it needs a config", id="no config"),
        pytest.param(
            {LOKI: block(config={"password": "a", "api_key": "b", "instances": [{"name": "a", "api_url": URL}]})},
            "toolsets > grafana/loki > config > api_key: "
            "every instance would get it, a tenant's too; put it into one instance",
            id="a credential that all would get",
        ),
        pytest.param(
            {LOKI: block(config={"instances": {}})},
            "toolsets > grafana/loki > config > instances: expected a list of one or more",
            id="no list of instances",
        ),
        pytest.param(
            {LOKI: block(config={"instances": ["x"]})},
            "toolsets > grafana/loki > config > instances > 0: expected a map with a name",
            id="no name",
        ),
        pytest.param(
            {LOKI: block(config={"instances": [{"name": "a", "api_url": URL}] * 2})},
            "toolsets > grafana/loki > config > instances > 1 > name: another instance has the same name",
            id="the same name twice",
        ),
        pytest.param(
            {"a": block(config={"b": {"c.d": 1}})},
            "toolsets > a > config > b > c.d: a key with a dot makes HolmesGPT refuse the whole file",
            id="dot in a key",
        ),
        pytest.param(
            {LOKI: block(config={"api_url": URL, "usernam": "x"})},
            "toolsets > grafana/loki > config > usernam: HolmesGPT would pass it over; did you mean `username`?",
            id="nearly a known key",
        ),
        pytest.param(
            {"victorialogs": block(config={"api_url": URL, "zzz": "x"})},
            "toolsets > victorialogs > config > zzz: HolmesGPT would pass it over; known are api_url, bearer_token, "
            "external_url, headers, password, timeout_seconds, username, verify_ssl",
            id="an unknown key",
        ),
    ],
)
def test_a_fault_names_the_place_and_what_is_wrong(toolsets: Json, message: str) -> None:
    assert str(fault({"toolsets": toolsets}, POLICY)) == message


@pytest.mark.parametrize(
    ("patch", "hint"),
    [
        pytest.param({"url": URL}, "did you mean `prometheus_url`?", id="part of a name"),
        pytest.param({"verify_sls": True}, "did you mean `verify_ssl`?", id="letters in another order"),
    ],
)
def test_a_patch_is_compared_with_the_config_of_its_toolset(patch: Document, hint: str) -> None:
    problem = toolset_patch_fault("prometheus/metrics", {"config": patch}, ("toolsets", "prometheus/metrics"))
    (name,) = patch
    assert str(problem) == f"toolsets > prometheus/metrics > config > {name}: HolmesGPT would pass it over; {hint}"


def test_a_patch_of_any_tool_is_compared_with_all_configs() -> None:
    problem = tool_patch_fault({"endpoint": []}, ("a",))
    assert str(problem) == "a > endpoint: HolmesGPT would pass it over; did you mean `endpoints`?"


@pytest.mark.parametrize("length", [1, 2, 56])
def test_an_http_toolset_has_a_name_of_56_characters_at_most(length: int) -> None:
    assert fault({"toolsets": {"a" * length: block(type="http", config=HTTP)}}, POLICY) is None
