"""What readers need to reach a tool as the probe did: credentials, and whether they verify its certificate."""

from typing import Any, Final, cast

import msgspec
import pytest
import yaml

from support.build import candidate
from toolset.core.candidate import Candidate, HealthCheck, Reason, Variant
from toolset.core.dialects.documents import Credentials
from toolset.core.health.http_config import HttpConfig
from toolset.core.publishing import publication
from toolset.core.publishing.access import prepared, warned
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import Publication

KINDS: Final = ("prometheus", "grafana", "jaeger", "elasticsearch", "loki")
PRIVATE: Final = HttpConfig(ca_file="/ca.pem")
ANY: Final = HttpConfig(insecure_skip_verify=True)


def publish(
    tools: list[Candidate],
    options: OutputOptions,
    *,
    text: str | None = None,
    taken: frozenset[str] = frozenset(),
    http_configs: dict[str, HttpConfig] | None = None,
) -> Publication:
    configs = http_configs or {}
    return warned(publication.publish(prepared(tools, configs), options, text=text, taken=taken), configs)


def over_tls(kind: str) -> Candidate:
    return msgspec.structs.replace(candidate(kind, tool_type=kind), scheme="https")


def locked(kind: str, *, publishes: bool = False) -> Candidate:
    return msgspec.structs.replace(
        candidate(kind, tool_type=kind), unauthorized=True, check=HealthCheck("/", publish_unauthorized=publishes)
    )


def configs(published: Publication) -> list[dict[str, Any]]:
    toolsets = cast("dict[str, dict[str, Any]]", yaml.safe_load(published.data["custom_toolset.yaml"])["toolsets"])
    return [toolset["config"] for name, toolset in toolsets.items() if not name.startswith("kubernetes/")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_that_asks_for_credentials_is_published_with_some_or_where_settings_say_so(kind: str) -> None:
    tool, options = locked(kind), OutputOptions()
    refused = publish([tool], options)
    assert refused.rejected[tool.key].reason is Reason.AUTH_REQUIRED
    assert refused.rejected[tool.key].detail == (
        f"name the variables that hold them in the setting `output.credentials: {{{tool.key}: ...}}`, or set "
        f"`health.detectors.{kind}.publish_unauthorized: true`"
    )
    with_some = OutputOptions(credentials={str(tool.key): Credentials(username="U", password="P")})
    assert publish([tool], with_some).rejected == {}
    assert publish([tool], options, http_configs={kind: HttpConfig(publish_unauthorized=True)}).rejected == {}
    assert publish([locked(kind, publishes=True)], options).rejected == {}
    assert publish([tool], options, http_configs={"another": HttpConfig(publish_unauthorized=True)}).rejected != {}
    never = {kind: HttpConfig(publish_unauthorized=False)}
    refused = publish([locked(kind, publishes=True)], options, http_configs=never)
    assert refused.rejected[tool.key].reason is Reason.AUTH_REQUIRED


@pytest.mark.parametrize("kind", ["loki", "prometheus"])
def test_the_remedy_for_a_backend_that_wants_a_tenant_is_an_override_that_publishes_it(kind: str) -> None:
    tool = msgspec.structs.replace(locked(kind), wants_tenant=True)
    refused = publish([tool], OutputOptions()).rejected[tool.key]
    remedy = f"tools: {{{tool.key}: {{holmesgpt: {{additional_headers: {{X-Scope-OrgID: TENANT}}}}}}}}"
    assert refused.reason is Reason.AUTH_REQUIRED
    assert refused.detail == (
        f"it wants a tenant: name it for readers in overrides.yaml, `{remedy}`, and for probes in the setting "
        f"`health.detectors.{kind}.headers_from`"
    )
    found = publish([tool], OutputOptions(), text=remedy)
    assert found.rejected == {}
    assert [config["additional_headers"] for config in configs(found)] == [{"X-Scope-OrgID": "TENANT"}]


def test_credentials_in_an_override_count() -> None:
    tool = locked("prometheus")
    text = "tools: {monitoring/prometheus: {holmesgpt: {additional_headers: {X-Scope-OrgID: team-a}}}}"
    assert publish([tool], OutputOptions(), text=text).rejected == {}


def test_a_tool_that_asks_for_none_needs_none() -> None:
    assert publish([candidate()], OutputOptions()).rejected == {}


@pytest.mark.parametrize(
    ("first", "variant", "published"),
    [
        pytest.param("http", Variant("https", 9090, ""), True, id="HTTPS in place of HTTP"),
        pytest.param("https", Variant("http", 9090, ""), False, id="HTTP in place of HTTPS"),
        pytest.param("https", Variant("https", 9091, ""), False, id="another port"),
        pytest.param("http", Variant("https", 9091, ""), False, id="another port with HTTPS"),
        pytest.param("https", Variant("https", 9090, "/base"), True, id="another path"),
    ],
)
def test_credentials_do_not_follow_to_another_scheme_or_port(first: str, variant: Variant, published: bool) -> None:
    tool = msgspec.structs.replace(candidate(), scheme=first).at(variant)
    options = OutputOptions(credentials={str(tool.key): Credentials(bearer_token="T")})
    found = publish([tool], options)
    assert (found.rejected == {}) is published
    if not published:
        assert found.rejected[tool.key].reason is Reason.CREDENTIALS_WITHHELD
        assert "{{ env.T }}" not in "".join(found.data.values())
    assert publish([tool], OutputOptions()).rejected == {}  # without any there is nothing to follow


def test_a_url_of_the_admin_has_not_moved() -> None:
    tool = msgspec.structs.replace(candidate(), scheme="https").at(Variant("http", 9090, ""))
    options = OutputOptions(credentials={str(tool.key): Credentials(bearer_token="T")})
    text = "tools: {monitoring/prometheus: {url: 'http://prometheus.monitoring.svc.cluster.local:9090'}}"
    assert publish([tool], options, text=text).rejected == {}


@pytest.mark.parametrize("kind", KINDS)
def test_verification_is_off_where_the_admin_says_so_and_nowhere_else(kind: str) -> None:
    never, tool = {kind: HttpConfig(insecure_skip_verify=True, publish_verify=False)}, over_tls(kind)
    assert all(
        config["verify_ssl"] is False for config in configs(publish([tool], OutputOptions(), http_configs=never))
    )
    for config in (ANY, PRIVATE, HttpConfig(publish_verify=True), HttpConfig()):
        found = configs(publish([tool], OutputOptions(), http_configs={kind: config}))
        assert not any("verify_ssl" in each for each in found)
    plain = publish([candidate(kind, tool_type=kind)], OutputOptions(), http_configs=never)
    assert not any("verify_ssl" in config for config in configs(plain))


@pytest.mark.parametrize(
    ("config", "warned"),
    [
        pytest.param(PRIVATE, "ca_file", id="a private CA"),
        pytest.param(ANY, "insecure_skip_verify", id="any certificate"),
        pytest.param(HttpConfig(ca_file="/ca.pem", publish_verify=True), "", id="readers trust it"),
        pytest.param(HttpConfig(ca_file="/ca.pem", publish_verify=False), "", id="readers do not verify"),
        pytest.param(HttpConfig(), "", id="a public CA"),
    ],
)
def test_a_certificate_that_readers_may_not_trust_is_warned_of(config: HttpConfig, warned: str) -> None:
    tool = over_tls("grafana")
    notes = publish([tool], OutputOptions(), http_configs={"grafana": config}).notes
    assert (warned in notes.get(tool.key, "")) if warned else notes == {}
    assert (
        publish([candidate("grafana", tool_type="grafana")], OutputOptions(), http_configs={"grafana": config}).notes
        == {}
    )


def test_an_override_of_verify_ssl_ends_the_warning() -> None:
    text = "tools: {monitoring/grafana: {holmesgpt: {verify_ssl: false}}}"
    found = publish([over_tls("grafana")], OutputOptions(), text=text, http_configs={"grafana": PRIVATE})
    assert found.notes == {}


def test_a_warning_joins_what_else_is_to_be_known() -> None:
    taken = frozenset({"grafana-toolset.yaml"})
    found = publish([over_tls("grafana")], OutputOptions(), taken=taken, http_configs={"grafana": PRIVATE})
    (note,) = found.notes.values()
    assert "is not owned by this service and stays" in note
    assert "; probes trust the CA in health.detectors.grafana.ca_file" in note
