from typing import cast

import pytest

from toolset.core.dialects.schema import extras_fault, fault, patch_fault
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
        pytest.param({"a": block(labels={})}, ("a",), id="unknown key"),
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
def test_what_holmesgpt_would_refuse_or_pass_over_is_a_fault(toolsets: Json, path: tuple[str, ...]) -> None:
    problem = fault({"toolsets": toolsets}, POLICY)
    assert problem is not None
    assert problem.path == ("toolsets", *path)


def test_nothing_stands_beside_the_toolsets() -> None:
    assert fault({"toolsets": {"a": block()}, "mcp_servers": {}}, POLICY) is not None


def test_a_patch_that_can_never_fit_is_found_before_there_is_anything_to_patch() -> None:
    problem = patch_fault("prometheus/metrics", {"config": {"url": URL}}, ("toolsets", "prometheus/metrics"))
    assert problem is not None
    assert "did you mean `prometheus_url`?" in problem.message
    assert patch_fault("prometheus/metrics", {"config": {"instances": []}}, ()) is None
    assert patch_fault("prometheus/metrics", {"enabled": False}, ()) is None
    assert patch_fault("other", {"config": {"url": URL}}, ()) is None
    assert extras_fault({"verify_ssl": False, "timeout_seconds": 1}, ()) is None
    assert extras_fault({"zzz": 1}, ("a",)) is not None


def test_settings_may_allow_what_runs_commands() -> None:
    unsafe = Policy(unsafe=True)
    assert fault({"toolsets": {"a": block(type="mcp", config={"url": URL})}}, unsafe) is None
    assert fault({"toolsets": {"a": block(tools=[{"name": "x", "command": "id"}])}}, unsafe) is None
