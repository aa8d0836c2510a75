"""From Services to documents: whatever is in untrusted namespaces, trusted tools are published in the same bytes."""

from typing import Final, cast

import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.prober import HEALTHY, UNHEALTHY
from toolset.core.candidate import Candidate
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.reduction import Reduction
from toolset.core.inventory import Inventory, instances, tools_of
from toolset.core.overrides.baseline import Published
from toolset.core.publishing.options import DIALECTS, OutputOptions
from toolset.core.publishing.publication import Publication, publish
from toolset.core.shares import Shares
from toolset.core.trust import Untrusted
from toolset.model import Key, Service, ServiceMeta, ServicePort, ServiceSpec
from unit.core.publishing.test_shares import restricted

REDUCTION: Final = Reduction("kubernaut.io")
APPS: Final = st.sampled_from(["prometheus", "grafana", "jaeger", "elasticsearch", "nothing"])
TOKEN: Final = "{{ env.PROM_TOKEN }}"
OVERRIDES: Final = f"""
suppress: [ops/b]
approve: [team/a, team/b, ops-2/a]
tools:
  ops/a: {{holmesgpt: {{additional_headers: {{Authorization: 'Bearer {TOKEN}'}}}}}}
"""
VALUES: Final = {
    "toolset": st.sampled_from(["enabled", "disabled", "maybe"]),
    "toolset-type": st.sampled_from(["prometheus", "grafana", "loki", "ops", "audit-log"]),
    "toolset-priority": st.sampled_from(["999999", "-999999", "x"]),
    "toolset-port": st.sampled_from(["web", "9090", "1"]),
    "toolset-path": st.sampled_from(["/x", "/../"]),
}


def service(key: Key, app: str, notes: dict[str, str], created: str, port: int) -> Service:
    meta = ServiceMeta(
        name=key.name,
        namespace=key.namespace,
        labels={"app": app},
        annotations={f"kubernaut.io/{name}": text for name, text in notes.items()},
        creation_timestamp=created,
    )
    ports = (ServicePort(port=port, name="web"), ServicePort(port=9090, name="http"))
    return Service(meta, ServiceSpec(type="ClusterIP", cluster_ip="10.0.0.1", selector={"app": app}, ports=ports))


def services(*namespaces: str, host: str, most: int) -> st.SearchStrategy[list[Service]]:
    """Draw Services; ``host`` is one that annotations name, so that it is known whose a URL is."""
    values = {**VALUES, "toolset-endpoint": st.just(f"http://{host}")}
    built = st.builds(
        service,
        st.builds(Key, st.sampled_from(namespaces), st.sampled_from(["a", "b", "c", "prometheus"])),
        APPS,
        st.fixed_dictionaries({}, optional=values),
        st.sampled_from(["2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z"]),
        st.sampled_from([80, 443, 3000, 9090, 9200]),
    )
    return st.lists(built, unique_by=lambda each: each.key, max_size=most)


keys = st.frozensets(
    st.builds(Key, st.sampled_from(["ops", "team"]), st.sampled_from(["a", "b", "c", "prometheus"])), max_size=6
)


def published(found: list[Service], untrusted: Untrusted, sick: frozenset[Key]) -> Publication:
    """Return what is published of these Services: all were up, and some are lost."""
    options = DetectionOptions(BUILT_IN, external_endpoints=True, trusted=("ops",), untrusted=untrusted)
    inventory = Inventory(shares=Shares(options.trust.includes))
    approved = {Key("team", "a"), Key("team", "b"), Key("ops-2", "a")}
    for each in found:
        verdict = detect(REDUCTION.reduce(each), options, approved=each.key in approved)
        inventory.detected(each.key, verdict)
        if isinstance(verdict, Candidate):
            inventory.probed(verdict, HEALTHY, began_s=0.5, now_s=0.5)
            for now_s in (1.0, 2.0, 4.0) if each.key in sick else ():
                inventory.probed(verdict, UNHEALTHY, began_s=now_s, now_s=now_s)
    before = Published(tools={each.key: "" for each in found})
    tools = tools_of(inventory.candidate_verdicts(inventory.hold(4.0, before).keys))
    output = OutputOptions(
        dialects=(*DIALECTS, "json"), variables=("PROM_TOKEN",), max_per_type=3, max_http_tools=3, limit_kib=12
    )
    return publish(tools, output, text=OVERRIDES, untrusted_limit=2)


@given(
    services("ops", host="ops.example", most=6),
    services("team", "ops-2", "a-team", "b", host="evil.example", most=14),
    st.sampled_from(["admit", "pending", "refuse"]),
    keys,
)
def test_no_service_in_an_untrusted_namespace_changes_what_is_published_of_trusted_ones(
    trusted: list[Service], attackers: list[Service], untrusted: Untrusted, sick: frozenset[Key]
) -> None:
    alone, among = published(trusted, untrusted, sick), published([*attackers, *trusted], untrusted, sick)
    assert [tool for tool in among.tools if tool.trusted] == list(alone.tools)
    assert restricted(among.data, instances(alone.tools)) == restricted(alone.data, instances(alone.tools))
    beside = [each for each in configs(among.data["custom_toolset.yaml"]) if TOKEN in each]
    assert all("//a.ops.svc.cluster.local:" in each for each in beside)
    assert "".join(among.data.values()).count(TOKEN) == sum(each.count(TOKEN) for each in beside)


def configs(text: str) -> list[str]:
    """Return the config of each instance in HolmesGPT's document, as text."""
    blocks = cast("dict[str, dict[str, dict[str, list[object]]]]", yaml.safe_load(text)["toolsets"]).values()
    found = [block.get("config") or {} for block in blocks]
    return [str(each) for config in found for each in config.get("instances", [config])]
