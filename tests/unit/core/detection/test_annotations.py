import pytest

from toolset.core.detection.annotations import Annotations, BadAnnotation, parse

PREFIX = "kubernaut.io"


@pytest.mark.parametrize(
    ("suffix", "value"),
    [
        ("toolset", "yes"),
        ("toolset", ""),
        ("toolset-type", "Prometheus"),
        ("toolset-type", "kubernetes"),
        ("toolset-type", "a" * 41),
        ("toolset-type", "{{ env.TOKEN }}"),
        ("toolset-port", "web;"),
        ("toolset-port", ""),
        ("toolset-scheme", "ftp"),
        ("toolset-path", "relative"),
        ("toolset-path", "/a/../b"),
        ("toolset-path", "/{{ env.TOKEN }}"),
        ("toolset-path", "/a?b=c"),
        ("toolset-path", "/" + "a" * 300),
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
        ("toolset-endpoint", "http://host/" + "a" * 600),
    ],
)
def test_a_bad_value_is_refused_by_name_and_not_repeated(suffix: str, value: str) -> None:
    refused = parse({f"{PREFIX}/{suffix}": value}, PREFIX)
    assert isinstance(refused, BadAnnotation)
    assert refused.name == f"{PREFIX}/{suffix}"
    assert refused.remedy.startswith("must be")


def test_nothing_said_asks_for_nothing() -> None:
    assert parse({"other/toolset": "disabled"}, PREFIX) == Annotations()


def test_a_root_path_is_no_base_path() -> None:
    asked = parse({f"{PREFIX}/toolset-path": "/"}, PREFIX)
    assert isinstance(asked, Annotations)
    assert not asked.path
    assert asked.path is not None


def test_the_prefix_is_a_setting() -> None:
    assert parse({"example.org/toolset": "false"}, "example.org") == Annotations(switch="disabled")
