"""What a tenant's Services receive of an admin's credentials, and what they switch on, with the real HolmesGPT."""

from typing import Final

import pytest

from consumer.answers import Backend, Server
from consumer.holmes import Holmes
from consumer.test_scenarios import calls_of
from support.build import candidate
from toolset.core.dialects.holmesgpt import DOCUMENT_KEY
from toolset.core.dialects.schema import BaseToolset
from toolset.core.inventory import instances
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish

pytestmark = [pytest.mark.consumer, pytest.mark.timeout(120)]

SECRET: Final = {"PROM_TOKEN": "canary-7f3a"}
TOKEN: Final = "{additional_headers: {Authorization: 'Bearer {{ env.PROM_TOKEN }}'}}"
VICTIM: Final = candidate()
TENANTS: Final = [
    candidate(namespace="tenant", priority=999999),
    candidate("second", namespace="tenant"),
    candidate("c", namespace="tenant", tool_type="note", check="/ready"),
]
HOSTS: Final = {
    f"{tool.host}:{tool.port}": Backend("prometheus" if tool.type == "prometheus" else "custom") for tool in TENANTS
}
ADMIN: Final = "admin.example:80"
SHARED_HEADER: Final = """
toolsets:
  prometheus/metrics:
    enabled: true
    config:
      additional_headers: {Authorization: "Bearer canary-7f3a"}
      instances: [{name: theirs, prometheus_url: "http://prometheus.tenant.svc.cluster.local:9090"}]
"""


def authorizations(plain: Server, authority: str) -> set[str]:
    return {request.headers.get("authorization", "") for request in plain.requests(authority)}


@pytest.mark.parametrize(
    ("overrides", "base", "receiver"),
    [
        pytest.param(f"tools: {{{VICTIM.key}: {{holmesgpt: {TOKEN}}}}}", {}, f"{VICTIM.host}:{VICTIM.port}", id="tool"),
        pytest.param(
            "toolsets: {prometheus/metrics: {config: {prometheus_url: 'http://admin.example:80', "
            "additional_headers: {Authorization: 'Bearer {{ env.PROM_TOKEN }}'}}}}",
            {},
            ADMIN,
            id="own URL",
        ),
        pytest.param(
            "",
            {
                "prometheus/metrics": BaseToolset(
                    config={
                        "prometheus_url": "http://admin.example:80",
                        "additional_headers": {"Authorization": "Bearer {{ env.PROM_TOKEN }}"},
                    }
                )
            },
            ADMIN,
            id="settings",
        ),
        pytest.param(f"toolsets: {{prometheus/metrics: {{config: {TOKEN}}}}}", {}, "", id="shared"),
    ],
)
def test_a_credential_is_sent_only_to_the_url_that_it_was_given_for(
    overrides: str, base: dict[str, BaseToolset], receiver: str, holmes: Holmes, plain: Server
) -> None:
    options = OutputOptions(variables=("PROM_TOKEN",), base_toolsets={"internet": BaseToolset(enabled=False), **base})
    published = publish(instances([VICTIM, *TENANTS]), options, text=overrides)
    text = published.data[DOCUMENT_KEY]
    plain.put({**HOSTS, f"{VICTIM.host}:{VICTIM.port}": Backend("prometheus"), ADMIN: Backend("prometheus")})
    calls = list(calls_of(text, frozenset()).values())

    loaded = holmes.load(text, connect_to={}, elsewhere=plain.address, calls=calls, variables=SECRET)

    assert loaded.toolset("prometheus/metrics").status == "enabled"
    assert {answer.status for answer in loaded.calls} <= {"success", "no_data"}
    sent = {
        authority
        for authority in {*HOSTS, ADMIN, f"{VICTIM.host}:{VICTIM.port}"}
        if "Bearer canary-7f3a" in authorizations(plain, authority)
    }
    assert sent == ({receiver} if receiver else set())
    assert (published.error is not None) is (receiver == "")


def test_the_leak_is_seen_where_nobody_prevents_it(holmes: Holmes, plain: Server) -> None:
    plain.put(HOSTS)
    holmes.load(SHARED_HEADER, connect_to={}, elsewhere=plain.address)
    assert "Bearer canary-7f3a" in authorizations(plain, "prometheus.tenant.svc.cluster.local:9090")


def test_a_service_that_comes_switches_nothing_on_that_an_admin_disabled(holmes: Holmes, plain: Server) -> None:
    """``kubernetes/logs`` is on by itself unless the file says that it is off."""
    text = """
toolsets:
  kubernetes/logs: {enabled: false}
  internet: {enabled: false}
  prometheus/metrics: {enabled: false, config: {instances: [{name: a}]}}
  note-tenant-c: {config: {zzz: 1}}
"""
    before, after = (
        publish([VICTIM], OutputOptions(), text=text),
        publish([VICTIM, *TENANTS], OutputOptions(), text=text),
    )
    assert before.error is None
    assert len(after.dropped) > len(before.dropped)
    plain.put(HOSTS)
    for published in (before, after):
        loaded = holmes.load(published.data[DOCUMENT_KEY], connect_to={}, elsewhere=plain.address)
        assert loaded.error is None
        on = {toolset.name for toolset in loaded.toolsets if toolset.enabled}
        assert on.isdisjoint({"kubernetes/logs", "internet", "prometheus/metrics"})
