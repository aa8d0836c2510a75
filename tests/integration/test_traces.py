"""What the service exports as traces, received and decoded as a collector does."""

import socket
from collections.abc import Iterator
from typing import Final

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import controlplane
from integration.backends import Backends, Daemon, binary
from integration.cluster import TARGET, Cluster, Tool, expected_urls
from integration.service import Service, Start
from support.collector import PROTOCOLS, Collector, Protocol, attributes
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

TOOLS: Final = (
    Tool("grafana", "team-a", "grafana", 3000, "service"),
    Tool("jaeger", "team-a", "jaeger", 16686, "query"),
)
URLS: Final = expected_urls("grafana", TOOLS[:1]) | expected_urls("jaeger", TOOLS[1:])
EVERYTHING: Final = {"OTEL_TRACES_SAMPLER": "always_on"}


@pytest.fixture(params=PROTOCOLS)
def collector(request: pytest.FixtureRequest) -> Iterator[Collector]:
    protocol: Protocol = request.param
    with Collector(protocol) as receiver:
        yield receiver


def writing(collector: Collector) -> Span:
    """Return the root span of the reconcile that wrote the ConfigMap."""
    eventually(lambda: ("render", "plan", "apply") in collector.steps("target"), within_s=10)
    return next(root for root in collector.roots("target") if len(collector.below(root)) == 3)


def ends(service: Service) -> None:
    service.terminate()
    assert service.wait(within_s=15) == 0


def test_each_reconcile_is_one_trace_with_its_steps_as_children(
    cluster: Cluster, start: Start, collector: Collector
) -> None:
    cluster.create(*TOOLS)
    service = start(cluster, TOOLS, HEALTH__INTERVAL="500ms", **collector.environment(), **EVERYTHING)
    settles(cluster.urls, URLS, within_s=10)
    cluster.edit(notes="of somebody else")  # a reconcile of the target that has nothing to apply
    eventually(lambda: ("render", "plan") in collector.steps("target"), within_s=10)
    eventually(lambda: len(collector.roots("probe")) > 2 * len(TOOLS), within_s=10)
    ends(service)

    roots = [span for span in collector.spans() if not span.parent_span_id]
    assert {root.name for root in roots} == {"reconcile"}
    assert len({root.trace_id for root in roots}) == len(roots)
    assert set(collector.steps("service")) == {("detect",)}
    assert set(collector.steps("probe")) == {("probe",)}
    assert set(collector.steps("target")) == {("render", "plan"), ("render", "plan", "apply")}
    assert {each["service.name"] for each in collector.resources()} == {"kubernaut-dynamic-toolset"}


def test_a_write_is_traced_down_to_its_request_and_linked_to_what_queued_it(
    cluster: Cluster, start: Start, collector: Collector
) -> None:
    cluster.create(*TOOLS)
    start(cluster, TOOLS, **collector.environment())
    settles(cluster.urls, URLS, within_s=10)

    root = writing(collector)
    about = attributes(root)
    assert (about["k8s.namespace.name"], about["k8s.configmap.name"]) == tuple(TARGET.split("/")[4::2])
    assert (about["toolset.changed"], about["toolset.result"], about["toolset.attempt"]) == (True, "success", 1)
    (request,) = collector.below(collector.below(root)[-1])
    sent = attributes(request)
    assert (request.name, request.kind) == ("PATCH", Span.SPAN_KIND_CLIENT)
    assert (sent["http.request.method"], sent["http.response.status_code"]) == ("PATCH", 201)
    assert sent["url.full"] == cluster.plane.url + TARGET
    assert f"{sent['server.address']}:{sent['server.port']}" == cluster.plane.url.removeprefix("https://")

    # Every Service asks for the first write when it gets its verdict, default/kubernetes too, and a tool again when it
    # has answered. The startup gate is closed until the last of them has, so the first write is linked to all.
    # A reconcile that changed nothing asks for nothing; one that was slow is a trace all the same.
    probes, detections = (
        [each for each in collector.roots(name) if attributes(each).get("toolset.changed")]
        for name in ("probe", "service")
    )
    assert (len(probes), len(detections)) == (len(TOOLS), len(TOOLS) + 1)
    asking = [*probes, *detections]
    assert sorted(link.span_id for link in root.links) == sorted(each.span_id for each in asking)
    assert {link.trace_id for link in root.links} == {each.trace_id for each in asking}
    probe = probes[0]
    (asked,) = collector.below(probe)
    tool = next(tool for tool in TOOLS if tool.name == attributes(probe)["k8s.service.name"])
    health = {"grafana": "/api/health", "jaeger": "/api/services"}[tool.name]
    assert asked.kind == Span.SPAN_KIND_CLIENT
    assert (
        attributes(asked).items()
        >= {
            "url.full": f"{tool.url}{health}",
            "server.address": f"{tool.name}.{tool.namespace}.svc.cluster.local",
            "server.port": tool.port,
            "http.request.method": "GET",
            "http.response.status_code": 200,
        }.items()
    )
    (detected,) = probe.links
    assert detected.span_id in {each.span_id for each in collector.roots("service")}


def test_log_lines_of_a_reconcile_carry_the_id_of_its_trace(cluster: Cluster, start: Start) -> None:
    cluster.create(*TOOLS)
    with Collector() as collector:
        service = start(cluster, TOOLS, **collector.environment())
        settles(cluster.urls, URLS, within_s=10)
        root = writing(collector)

    (written,) = service.logged("config map written")
    assert written["trace_id"] == root.trace_id.hex()


def test_reconciles_that_change_nothing_are_exported_for_the_target_only(cluster: Cluster, start: Start) -> None:
    cluster.create(*TOOLS)
    with Collector() as collector:
        service = start(cluster, TOOLS, HEALTH__INTERVAL="50ms", **collector.environment())
        settles(cluster.urls, URLS, within_s=10)
        eventually(
            lambda: (
                service.metric("controller_runtime_reconcile_total", controller="probe", result="requeue_after") > 100
            ),
            within_s=20,
        )
        writing(collector)
        cluster.edit(notes="of somebody else")  # a reconcile of the target that has nothing to apply
        eventually(lambda: ("render", "plan") in collector.steps("target"), within_s=10)
        ends(service)
        probes = len(collector.roots("probe"))

    assert len(TOOLS) <= probes < 30  # the first of each, and 1 in 100


def test_a_series_leads_to_a_trace_by_its_exemplar_in_a_real_prometheus(
    cluster: Cluster, start: Start, backends: Backends, tmp_path_factory: pytest.TempPathFactory
) -> None:
    del backends
    cluster.create(*TOOLS)
    folder = tmp_path_factory.mktemp("exemplars")
    port = controlplane.free_ports()
    config = folder / "config.yaml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: toolset, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    command = [
        *(binary("prometheus"), f"--config.file={config}", "--enable-feature=exemplar-storage"),
        *("--storage.tsdb.path={directory}/data", "--web.listen-address={address}"),
    ]
    daemon = Daemon(folder / "prometheus", controlplane.free_ports(), "/-/ready", command)
    daemon.start()
    try:
        with Collector() as collector, httpx.Client(base_url=f"http://{daemon.address}", trust_env=False) as client:
            start(cluster, TOOLS, SERVER__PORT=str(port), **collector.environment())
            settles(cluster.urls, URLS, within_s=10)
            cluster.delete(TOOLS[1])
            settles(cluster.urls, expected_urls("grafana", TOOLS[:1]), within_s=10)
            writing(collector)

            def traces() -> set[str]:
                asked = {"query": "toolset_event_to_write_seconds_bucket", "start": "0", "end": "9999999999"}
                found = client.get("/api/v1/query_exemplars", params=asked).raise_for_status().json()["data"]
                return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}

            eventually(traces, within_s=15)
            assert traces() <= {root.trace_id.hex() for root in collector.roots("target")}
    finally:
        daemon.kill()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fate", ["absent", "silent", "dies"])
def test_a_collector_in_trouble_delays_nothing(cluster: Cluster, start: Start, protocol: Protocol, fate: str) -> None:
    collector = Collector(protocol)
    given = (
        collector.environment() | EVERYTHING | {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        if fate == "silent":
            given["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if fate != "dies":
            collector.close()
        cluster.create(*TOOLS[:1])
        service = start(cluster, TOOLS, HEALTH__INTERVAL="100ms", **given)
        settles(cluster.urls, expected_urls("grafana", TOOLS[:1]), within_s=10)
        if fate == "dies":
            writing(collector)
            collector.close()
        cluster.create(*TOOLS[1:])
        settles(cluster.urls, URLS, within_s=3)
        assert service.metric("toolset_event_to_write_seconds_sum") < 1.0
        ends(service)
