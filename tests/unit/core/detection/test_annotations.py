import pytest

from toolset.core.detection.annotations import Annotations, BadAnnotation, parse

PREFIX = "kubernaut.io"
PATH = "must be an absolute path of letters, digits and ._~/- with at most 256 characters"
REMEDIES = {
    "toolset": "must be enabled, true, disabled or false",
    "toolset-type": "must be a lower-case word of at most 40 letters, digits and -, and not kubernetes",
    "toolset-port": "must be the name or the number of a port of the Service",
    "toolset-scheme": "must be http or https",
    "toolset-path": PATH,
    "toolset-health-path": PATH,
    "toolset-priority": "must be a whole number of at most 6 digits",
    "toolset-endpoint": "must be an http or https URL without user, query and fragment",
}


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        ("toolset", "yes"),
        ("toolset", ""),
        ("toolset-type", "Prometheus"),
        ("toolset-type", "prometheus\n"),
        ("toolset-type", ""),
        ("toolset-type", "a-"),
        ("toolset-type", "kubernetes"),
        ("toolset-type", "a" * 41),
        ("toolset-type", "{{ env.TOKEN }}"),
        ("toolset-port", "web;"),
        ("toolset-port", ""),
        ("toolset-port", "a" * 16),
        ("toolset-scheme", "ftp"),
        ("toolset-path", "relative"),
        ("toolset-path", "/a/../b"),
        ("toolset-path", "/{{ env.TOKEN }}"),
        ("toolset-path", "/a?b=c"),
        ("toolset-path", "/" + "a" * 256),
        ("toolset-health-path", "/a b"),
        ("toolset-priority", "1.5"),
        ("toolset-priority", "9" * 7),
        ("toolset-endpoint", "file:///etc/passwd"),
        ("toolset-endpoint", "http://user:secret@host/"),
        ("toolset-endpoint", "http://host/?q=1"),
        ("toolset-endpoint", "http://host:99999/"),
        ("toolset-endpoint", "http://host:0/"),
        ("toolset-endpoint", "http://[::1"),
        ("toolset-endpoint", "http:///path"),
        ("toolset-endpoint", "http://hôte/"),
        ("toolset-endpoint", "http://host/#a"),
        ("toolset-endpoint", "http://host/\x7f"),
        ("toolset-endpoint", "http://host/a/../b"),
        ("toolset-endpoint", "http://" + "h" * 506),
    ],
)
def test_a_bad_value_is_refused_by_name_and_not_repeated(suffix: str, value: str) -> None:
    refused = parse({f"{PREFIX}/{suffix}": value}, PREFIX)
    assert isinstance(refused, BadAnnotation)
    assert refused == BadAnnotation(f"{PREFIX}/{suffix}", REMEDIES[suffix])


def test_nothing_said_asks_for_nothing() -> None:
    assert parse({"other/toolset": "disabled"}, PREFIX) == Annotations()


def test_a_root_path_is_no_base_path() -> None:
    asked = parse({f"{PREFIX}/toolset-path": "/"}, PREFIX)
    assert isinstance(asked, Annotations)
    assert not asked.path
    assert asked.path is not None


def test_the_prefix_is_a_setting() -> None:
    assert parse({"example.org/toolset": "false"}, "example.org") == Annotations(switch="disabled")


@pytest.mark.parametrize(
    ("annotations", "asked"),
    [
        pytest.param({"toolset": "enabled"}, Annotations(switch="enabled"), id="enabled"),
        pytest.param({"toolset": "true"}, Annotations(switch="enabled"), id="true"),
        pytest.param({"toolset": "disabled"}, Annotations(switch="disabled"), id="disabled"),
        pytest.param({"toolset": "false"}, Annotations(switch="disabled"), id="false"),
        pytest.param(
            {"toolset": "false", "toolset-port": ";"}, Annotations(switch="disabled"), id="opting out beats a mistake"
        ),
        pytest.param({"toolset-type": "a" * 40}, Annotations(type="a" * 40), id="type"),
        pytest.param({"toolset-port": "9090"}, Annotations(port="9090"), id="number of a port"),
        pytest.param(
            {"toolset-port": "HTTP-web-2345678"[:15]}, Annotations(port="HTTP-web-234567"), id="name of a port"
        ),
        pytest.param({"toolset-scheme": "http"}, Annotations(scheme="http"), id="http"),
        pytest.param({"toolset-scheme": "https"}, Annotations(scheme="https"), id="https"),
        pytest.param({"toolset-path": "/a/b/"}, Annotations(path="/a/b"), id="path"),
        pytest.param({"toolset-path": "/" + "a" * 255}, Annotations(path="/" + "a" * 255), id="long path"),
        pytest.param({"toolset-health-path": "/-/ok/"}, Annotations(health_path="/-/ok/"), id="health path"),
        pytest.param({"toolset-priority": "-999999"}, Annotations(priority=-999999), id="priority"),
        pytest.param({"toolset-endpoint": "https://h/a/"}, Annotations(endpoint="https://h/a"), id="endpoint"),
        pytest.param(
            {"toolset-endpoint": "http://h:1/"}, Annotations(endpoint="http://h:1"), id="endpoint with a port"
        ),
        pytest.param(
            {"toolset-endpoint": "http://" + "h" * 505}, Annotations(endpoint="http://" + "h" * 505), id="long endpoint"
        ),
    ],
)
def test_each_annotation_asks_for_one_thing(annotations: dict[str, str], asked: Annotations) -> None:
    assert parse({f"{PREFIX}/{suffix}": value for suffix, value in annotations.items()}, PREFIX) == asked
