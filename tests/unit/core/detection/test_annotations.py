import pytest

from toolset.core.detection.annotations import Annotations, BadAnnotation, misspelt, parse, unread

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
def test_a_bad_value_is_refused_by_name(suffix: str, value: str) -> None:
    refused = parse({f"{PREFIX}/{suffix}": value}, PREFIX)
    assert isinstance(refused, BadAnnotation)
    assert (refused.name, refused.remedy) == (f"{PREFIX}/{suffix}", REMEDIES[suffix])


@pytest.mark.parametrize("value", ["ftp", "HTTP", "relative/path", "a" * 40])
def test_a_bad_value_that_is_a_word_is_repeated(value: str) -> None:
    refused = parse({f"{PREFIX}/toolset-scheme": value}, PREFIX)
    assert isinstance(refused, BadAnnotation)
    assert refused.value == value


@pytest.mark.parametrize("value", ["", "http://user:secret@host/", "a b", "{{ env.TOKEN }}", "a\n", "ä", "a" * 41])
def test_a_bad_value_that_may_be_anything_is_not_repeated(value: str) -> None:
    refused = parse({f"{PREFIX}/toolset-scheme": value}, PREFIX)
    assert isinstance(refused, BadAnnotation)
    assert not refused.value


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("toolset-typ", "toolset-type"),
        ("toolset-prot", "toolset-port"),
        ("tolset-port", "toolset-port"),
        ("toolsets", "toolset"),
        ("toolset-helth-path", "toolset-health-path"),
        ("Toolset-scheme", "toolset-scheme"),
    ],
)
def test_a_misspelt_annotation_names_the_nearest_one(name: str, near: str) -> None:
    note = unread({f"{PREFIX}/{name}": "x"}, PREFIX)
    assert note == f"annotation `{PREFIX}/{name}` is not read; did you mean `{PREFIX}/{near}`?"


def test_an_annotation_that_only_begins_like_a_known_one_lists_the_known_ones() -> None:
    note = unread({f"{PREFIX}/toolset-name": "x"}, PREFIX)
    assert note == f"annotation `{PREFIX}/toolset-name` is not read; known are {', '.join(REMEDIES)}"


@pytest.mark.parametrize(
    "name",
    ["kubernaut.io/owner", "example.org/toolset-prot", "toolset-prot", "kubernaut.io/", "kubernaut.io/toolset ä"],
)
def test_annotations_of_others_are_ignored(name: str) -> None:
    assert unread({name: "x"}, PREFIX) == ""


def test_right_annotations_are_not_misspelt() -> None:
    assert unread({f"{PREFIX}/{name}": "x" for name in REMEDIES}, PREFIX) == ""


def test_of_many_misspelt_annotations_two_are_named() -> None:
    names = [f"{PREFIX}/toolset-{letter}" for letter in "dcba"]
    assert misspelt(names, PREFIX) == (names[3], names[2])
    assert unread(dict.fromkeys(names, ""), PREFIX).count("is not read") == 2


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
