import pytest

from toolset.adapters.probe import HttpProber
from toolset.config.clients import prober
from toolset.config.loader import load
from toolset.config.options import detection_options
from toolset.config.settings import HealthSettings
from toolset.errors import SettingsError


def health(text: str) -> HealthSettings:
    return load(f"health: {{{text}}}", {}, {}).health


def test_a_detector_has_its_own_way_to_be_reached() -> None:
    settings = health(
        "detectors: {elasticsearch: {ca_file: /ca.pem, headers_from: {Authorization: /key}, "
        "services: [logging/*], statuses: [401]}, tempo: {insecure_skip_verify: true}}"
    )
    found = settings.detectors["elasticsearch"]
    assert (found.ca_file, found.headers_from, found.services) == (
        "/ca.pem",
        {"Authorization": "/key"},
        ("logging/*",),
    )
    assert (found.statuses, settings.detectors["tempo"].statuses) == ((401,), None)


def test_the_environment_says_it_too() -> None:
    variables = {"TOOLSET_HEALTH__DETECTORS": '{"grafana": {"statuses": [302]}}', "TOOLSET_HEALTH__HOLD": "0s"}
    settings = load("", variables, {}).health
    assert settings.detectors["grafana"].statuses == (302,)
    assert not settings.hold


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "detectors: {grafana: {cafile: /ca.pem}}",
            "`health.detectors.grafana.cafile`: unknown name; did you mean `ca_file`?",
            id="a misspelt name",
        ),
        pytest.param(
            "detectors: {grafana: {headers_from: {Authorization: /key}}}",
            "`headers_from` needs `services`, globs of `namespace/name` that may be sent them",
            id="headers for nobody",
        ),
        pytest.param(
            "detectors: {grafana: {headers_from: {'X Y': /key}, services: [a/b]}}",
            "`health.detectors.grafana.headers_from.X Y`: expected the name of a header: letters, digits and `-`",
            id="no header",
        ),
        pytest.param(
            "detectors: {grafana: {headers_from: {X: /key}, services: [grafana]}}",
            "`health.detectors.grafana.services[0]`: expected Services as `namespace/name`, in which `*` may stand",
            id="no glob",
        ),
        pytest.param(
            "detectors: {grafana: {ca_file: /ca.pem, insecure_skip_verify: true}}",
            "`health.detectors.grafana`: `ca_file` means nothing with `insecure_skip_verify`",
            id="a contradiction",
        ),
        pytest.param(
            "detectors: {tempo: {}, grafana: {statuses: [401, 99]}}",
            "`health.detectors.grafana.statuses[1]`: expected a whole number of at least 100, not `99`",
            id="no status",
        ),
        pytest.param(
            "detectors: {grafana: {statuses: 401}}",
            "`health.detectors.grafana.statuses`: expected a list such as `[a, b]`, not a number",
            id="one status without a list",
        ),
        pytest.param("refused_ranges: [10.0.0.0/8, 10.0.0.1/8]", "`health.refused_ranges[1]`", id="bits of a host"),
        pytest.param("refused_ranges: [1]", "expected a range of addresses", id="no range"),
        pytest.param("allow_selectorless: [monitoring]", "`health.allow_selectorless[0]`", id="no namespace/name"),
        pytest.param("via: carrier-pigeon", "`health.via`", id="no such way"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as raised:
        health(text)
    assert message in str(raised.value)


def test_what_may_lead_anywhere_is_handed_to_detection() -> None:
    settings = load("health: {allow_selectorless: [a/*], allow_external_name: [b/c]}", {}, {})
    options = detection_options(settings)
    assert (options.selectorless, options.external_names) == (("a/*",), ("b/c",))


@pytest.mark.parametrize("via", ["direct", "apiserver-proxy"])
async def test_a_prober_is_built_of_them(via: str) -> None:
    settings = load(f"health: {{via: {via}, refused_ranges: ['fd00::/8'], detectors: {{grafana: {{}}}}}}", {}, {})
    assert isinstance(prober(settings), HttpProber)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("{", id="no JSON"),
        pytest.param('["a:80"]', id="no object"),
        pytest.param('{"a:80": 80}', id="a number"),
        pytest.param('{"a:80": "127.0.0.1"}', id="no port to dial"),
        pytest.param('{"a": "127.0.0.1:80"}', id="no port to replace"),
        pytest.param("", id="empty"),
        pytest.param("\udcff", id="no UTF-8"),
    ],
)
def test_a_malformed_redirection_of_test_probes_is_a_settings_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLSET_TEST_CONNECT_TO", text)
    with pytest.raises(SettingsError) as raised:
        prober(load("", {}, {}))
    assert str(raised.value) == (
        "environment variable TOOLSET_TEST_CONNECT_TO: expected a JSON object of `host:port` by `host:port`; "
        "unset it outside of tests"
    )


def test_the_redirection_of_test_probes_is_no_setting() -> None:
    assert load("", {"TOOLSET_TEST_CONNECT_TO": "{}"}, {}) == load("", {}, {})
    with pytest.raises(SettingsError, match=r"`health\.connect_to`: unknown name"):
        health("connect_to: {}")
