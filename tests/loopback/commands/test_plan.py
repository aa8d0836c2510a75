from collections.abc import Iterable, Mapping
from pathlib import Path

import anyio
import msgspec
import orjson
import pytest
from aiohttp import web

from support.api_server import Answer, ScriptedApiServer, page, serving, status_error
from toolset.cli import main
from toolset.commands import plan, printers
from toolset.commands.explain import explain_all, explain_manifests
from toolset.commands.manifests import Manifests
from toolset.commands.plan import Report, plan_cluster, plan_manifests
from toolset.config.loader import TEST_CONNECT_TO, load
from toolset.config.settings import Settings
from toolset.core.candidate import Candidate, Reason, Rejected, Variant
from toolset.core.publishing.plan import FIELD_MANAGER
from toolset.errors import ForbiddenError, OutOfSyncError, SettingsError, ToolsetError
from toolset.model import ConfigMap, ConfigMapMeta, FieldsEntry, Key, Service, ServiceMeta, ServicePort, ServiceSpec
from toolset.sim import EmbeddedCluster
from toolset.sim.cluster import kubeconfig

TARGET = Key("kubernaut-system", "kubernaut-toolset-config")
PROMETHEUS = Key("monitoring", "prometheus")


def settings(**flags: object) -> Settings:
    return load("", {}, {name.replace("__", "."): value for name, value in flags.items()})


def service(name: str = "prometheus", port: int = 9090) -> Service:
    return Service(
        ServiceMeta(name=name, namespace="monitoring", uid=f"uid-{name}"),
        ServiceSpec(cluster_ip="10.0.0.1", selector={"app": name}, ports=(ServicePort(port, "web"),)),
    )


async def planned(
    *services: Service, current: ConfigMap | None = None, asked: Settings | None = None, healthy: bool = True
) -> Report:
    found = Manifests(services, {TARGET: current} if current else {})
    return await plan_manifests(asked or settings(), found, assume_healthy=healthy)


def live(report: Report, data: Mapping[str, str] | None = None) -> ConfigMap:
    """Return what the ConfigMap is once ``report`` has been applied, or the same with other data."""
    applied = orjson.loads(report.manifest)
    metadata = applied["metadata"]
    ours: dict[str, object] = {f"f:{part}": _fields(metadata[part]) for part in ("annotations", "labels")}
    fields: dict[str, object] = {"f:data": _fields(applied["data"]), "f:metadata": ours}
    return ConfigMap(
        ConfigMapMeta(
            name=metadata["name"],
            namespace=metadata["namespace"],
            labels=metadata["labels"],
            annotations=metadata["annotations"],
            managed_fields=(FieldsEntry(FIELD_MANAGER, "Apply", fields),),
        ),
        dict(applied["data"]) if data is None else dict(data),
    )


def _fields(names: Iterable[str]) -> dict[str, object]:
    return {f"f:{name}": {} for name in names}


async def test_a_service_becomes_an_entry() -> None:
    report = await planned(service(), service("web-shop", 80))

    assert [found.key for found in report.candidates] == [PROMETHEUS]
    assert isinstance(report.verdicts[PROMETHEUS], Candidate)
    assert report.verdicts[Key("monitoring", "web-shop")] == Rejected(Reason.NO_MATCH)
    assert report.change is not None
    assert "prometheus-toolset.yaml" in report.change.written
    assert "+++ planned/prometheus-toolset.yaml" in report.diff
    assert "--- /dev/null" in report.diff


async def test_what_has_been_applied_needs_no_change() -> None:
    first = await planned(service())

    report = await planned(service(), current=live(first))

    assert (report.change, report.diff) == (None, ())


async def test_what_an_installation_has_applied_needs_no_change_from_elsewhere() -> None:
    first = await planned(service(), asked=settings(output__instance="system:serviceaccount:a:b"))

    report = await planned(service(), current=live(first))

    assert (report.change, report.diff) == (None, ())


SEPARATE = Key("kubernaut-system", "mine")


def mine(text: str | None) -> ConfigMap:
    metadata = ConfigMapMeta(name=SEPARATE.name, namespace=SEPARATE.namespace, uid="u", resource_version="1")
    return ConfigMap(metadata, {} if text is None else {"overrides.yaml": text})


async def test_overrides_come_from_the_config_map_that_the_settings_name() -> None:
    asked = settings(output__overrides_from=SEPARATE.name)
    found = Manifests((service(),), {SEPARATE: mine("suppress: [monitoring/prometheus]")})
    report = await plan_manifests(asked, found, assume_healthy=True)
    assert isinstance(rejected := report.verdicts[PROMETHEUS], Rejected)
    assert rejected.reason is Reason.SUPPRESSED
    assert (report.withheld, report.overrides_moved) == ("", ())


@pytest.mark.parametrize("stored", [None, mine(None), mine("suppress: {")], ids=["none", "no key", "not valid"])
async def test_a_service_that_would_write_nothing_without_overrides_plans_no_change(stored: ConfigMap | None) -> None:
    found = Manifests((service(),), {SEPARATE: stored} if stored else {})
    report = await plan_manifests(settings(output__overrides_from=SEPARATE.name), found, assume_healthy=True)
    assert (report.change, report.diff) == (None, ())
    assert report.withheld in printers.as_table(report, colour=False)
    assert report.withheld.startswith("nothing is written, because `output.overrides_from` names ConfigMap")
    assert "is ignored: " not in printers.as_table(report, colour=False)
    assert orjson.loads(printers.as_json(report))["withheld"] == report.withheld


async def test_overrides_that_are_ignored_or_lost_are_shown() -> None:
    first = await planned(service())
    written = live(first, {"overrides.yaml": "suppress: [monitoring/prometheus]"})
    found = Manifests((service(),), {TARGET: written, SEPARATE: mine("")})
    report = await plan_manifests(settings(output__overrides_from=SEPARATE.name), found, assume_healthy=True)
    (ignored,) = report.overrides_moved
    assert ignored in printers.as_table(report, colour=False)
    kept = {
        "kubernaut.io/overrides-kept": "true",
        "kubernaut.io/overrides-in-force": "suppress: [monitoring/prometheus]",
    }
    metadata = msgspec.structs.replace(written.metadata, annotations=kept, uid="u")
    report = await planned(service(), current=msgspec.structs.replace(written, metadata=metadata, data={}))
    (lost,) = report.overrides_moved
    assert "was deleted with overrides.yaml" in lost
    assert isinstance(report.verdicts[PROMETHEUS], Rejected)


async def test_a_cluster_is_read_with_the_config_map_of_the_admins_own(tmp_path: Path) -> None:
    async with EmbeddedCluster() as running:
        for name in ("monitoring", SEPARATE.namespace):
            running.create("Namespace", {"metadata": {"name": name}})
        spec = {"selector": {"app": "prometheus"}, "ports": [{"name": "web", "port": 9090}]}
        running.create("Service", {"metadata": {"name": "prometheus", "namespace": "monitoring"}, "spec": spec})
        metadata = {"name": SEPARATE.name, "namespace": SEPARATE.namespace}
        running.create(
            "ConfigMap", {"metadata": metadata, "data": {"overrides.yaml": "suppress: [monitoring/prometheus]"}}
        )
        file = tmp_path / "config"
        await anyio.Path(file).write_text(running.kubeconfig(), "utf-8")
        asked = settings(kube__kubeconfig=str(file), output__overrides_from=SEPARATE.name)
        report = await plan_cluster(asked, assume_healthy=True)
    assert isinstance(report.verdicts[PROMETHEUS], Rejected)


async def test_a_tool_that_is_gone_is_removed() -> None:
    first = await planned(service())

    report = await planned(current=live(first))

    assert report.change is not None
    assert report.change.removed == ("prometheus-toolset.yaml",)
    assert "--- live/prometheus-toolset.yaml" in report.diff
    assert "+++ /dev/null" in report.diff


async def test_a_changed_entry_shows_both_sides() -> None:
    first = await planned(service())
    data = live(first).entries | {"prometheus-toolset.yaml": "edited\n"}

    report = await planned(service(), current=live(first, data))

    assert "--- live/prometheus-toolset.yaml" in report.diff
    assert "-edited" in report.diff


async def test_candidates_are_in_the_order_of_their_keys() -> None:
    report = await planned(service("prometheus-server"), service())

    assert [found.key.name for found in report.candidates] == ["prometheus", "prometheus-server"]


async def test_settings_without_health_probe_nothing() -> None:
    report = await planned(service(), asked=settings(health__enabled=False), healthy=False)

    assert isinstance(report.verdicts[PROMETHEUS], Candidate)
    assert not report.health_enabled


@pytest.mark.parametrize(("code", "published"), [(200, True), (503, False)])
async def test_candidates_are_probed(code: int, *, published: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    async with ScriptedApiServer(Answer(vector, code)).serve() as backend:
        moved = {"prometheus.monitoring.svc.cluster.local:9090": backend.url.removeprefix("http://")}
        monkeypatch.setenv("TOOLSET_TEST_CONNECT_TO", orjson.dumps(moved).decode())
        report = await planned(service(), asked=settings(), healthy=False)

    verdict = report.verdicts[PROMETHEUS]
    assert isinstance(verdict, Candidate) is published
    assert published or verdict == Rejected(Reason.UNHEALTHY, f"answered {code}", "prometheus")


async def test_a_proxy_that_answers_for_every_host_leads_to_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedApiServer(*[Answer(b"no such page", 404)] * 20).serve() as proxy:
        moved = {"prometheus.monitoring.svc.cluster.local:9090": proxy.url.removeprefix("http://")}
        monkeypatch.setenv("TOOLSET_TEST_CONNECT_TO", orjson.dumps(moved).decode())
        report = await planned(service(), asked=settings(), healthy=False)

    assert report.unreachable.startswith("0 of 1 backend healthy as seen from this machine, so there is no plan")
    assert report.change is None


@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_a_machine_that_reaches_no_backend_plans_no_removal(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = tmp_path / "cluster.yaml"
    published = {"metadata": {"name": TARGET.name, "namespace": TARGET.namespace}, "kind": "ConfigMap"}
    names = ("prometheus", "prometheus-server")
    services = [
        {
            "kind": "Service",
            "metadata": {"name": name, "namespace": "monitoring"},
            "spec": {"clusterIP": "10.0.0.1", "selector": {"app": name}, "ports": [{"port": 9090}]},
        }
        for name in names
    ]
    cluster.write_bytes(b"\n---\n".join(orjson.dumps(each) for each in (*services, published)))
    closed = dict.fromkeys((f"{name}.monitoring.svc.cluster.local:9090" for name in names), "127.0.0.1:1")
    monkeypatch.setenv(TEST_CONNECT_TO, orjson.dumps(closed).decode())
    asked = ["plan", "-f", str(cluster), *([] if form == "table" else ["-o", form])]

    assert main(asked) == 1
    written = capsys.readouterr()
    remedy = "0 of 2 backends healthy as seen from this machine, so there is no plan: run `toolset plan` in the cluster"
    assert remedy in (written.err if form == "yaml" else written.out)
    assert (written.out == "") is (form == "yaml")
    assert main([*asked, "--assume-healthy"]) == 2


def reaching(folder: Path, url: str) -> Settings:
    """Return settings whose kubeconfig leads to ``url``."""
    file = folder / "config"
    file.write_text(kubeconfig(url))
    return settings(kube__kubeconfig=str(file))


@pytest.mark.parametrize("current", [None, {"foreign": "x"}], ids=["no ConfigMap", "a ConfigMap of somebody else"])
async def test_a_cluster_is_listed_page_by_page_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, current: dict[str, str] | None
) -> None:
    monkeypatch.setattr(plan, "PAGE_SIZE", 1)
    async with EmbeddedCluster() as cluster:
        for namespace in ("monitoring", TARGET.namespace):
            cluster.create("Namespace", {"metadata": {"name": namespace}})
        for name in ("prometheus-server", "prometheus"):
            spec = {"selector": {"app": name}, "ports": [{"port": 9090}]}
            cluster.create("Service", {"metadata": {"name": name, "namespace": "monitoring"}, "spec": spec})
        if current is not None:
            metadata = {"name": TARGET.name, "namespace": TARGET.namespace}
            cluster.create("ConfigMap", {"metadata": metadata, "data": current})
        version = cluster.store.version
        report = await plan_cluster(reaching(tmp_path, cluster.url), assume_healthy=True)

        assert cluster.store.version == version
    assert [found.key.name for found in report.candidates] == ["prometheus", "prometheus-server"]
    assert report.change is not None
    assert report.change.removed == ()


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        pytest.param([status_error(403, "Forbidden")], ForbiddenError, id="refuses"),
        pytest.param([page([], token="t"), status_error(410, "Expired")], OutOfSyncError, id="forgets half way"),
    ],
)
async def test_a_cluster_that_does_not_answer_is_an_error(
    tmp_path: Path, answers: list[Answer], error: type[ToolsetError]
) -> None:
    async with ScriptedApiServer(*answers).serve() as server:
        with pytest.raises(error):
            await plan_cluster(reaching(tmp_path, server.url), assume_healthy=True)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(page([{"metadata": {"name": "monitoring", "deletionTimestamp": "x"}}]), "Terminating", id="ends"),
        pytest.param(status_error(403, "Forbidden"), "Published", id="may not be seen"),
    ],
)
async def test_a_namespace_that_is_being_deleted_counts_where_it_may_be_seen(
    tmp_path: Path, answer: Answer, found: str
) -> None:
    spec = {"selector": {"app": "grafana"}, "ports": [{"port": 3000}]}
    service = {"metadata": {"name": "grafana", "namespace": "monitoring"}, "spec": spec}
    async with ScriptedApiServer(page([service]), answer, page([])).serve() as server:
        report = await plan_cluster(reaching(tmp_path, server.url), assume_healthy=True)

    (verdict,) = report.verdicts.values()
    assert (verdict.reason.word if isinstance(verdict, Rejected) else "Published") == found


async def test_a_cluster_without_credentials_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        await plan_cluster(settings(kube__kubeconfig="/nowhere"), assume_healthy=True)


def test_a_plan_holds_static_backends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    services, static = tmp_path / "services.yaml", tmp_path / "settings.yaml"
    services.write_text(
        "{kind: Service, metadata: {name: shop, namespace: default}, spec: {selector: {a: b}, ports: [{port: 80}]}}"
    )
    static.write_text("static: [{type: loki, name: outside, url: 'https://logs.example.com/loki'}]")
    assert main(["plan", "--config", str(static), "-f", str(services), "--assume-healthy", "-o", "wide"]) == 2
    printed = capsys.readouterr().out
    assert "outside  published  loki  settings  https://logs.example.com:443/loki\n" in printed
    assert "1 Service: 0 candidates, 1 not recognised; 1 static backend" in printed
    assert "+      api_url: https://logs.example.com:443/loki" in printed


class Below:
    """Serves Prometheus' query API below ``/prometheus``, and notes what is requested."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if request.path != "/prometheus/api/v1/query":
            return web.Response(status=404)
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})


def leading_to(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    place = {"prometheus.monitoring.svc.cluster.local:9090": url.removeprefix("http://")}
    monkeypatch.setenv(TEST_CONNECT_TO, orjson.dumps(place).decode())


async def test_a_plan_says_which_variant_answered_and_how_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Below()
    async with serving(server.handle) as url:
        leading_to(monkeypatch, url)
        report = await planned(service(), healthy=False)
        assert server.asked == ["/api/v1/query", "/prometheus/api/v1/query"]
        await planned(service(), current=live(report), healthy=False)
    assert server.asked[2:] == ["/prometheus/api/v1/query"]  # what is published is requested first

    found = "http://prometheus.monitoring.svc.cluster.local:9090/prometheus"
    assert [candidate.url for candidate in report.candidates] == [found]
    assert f"{PROMETHEUS}: /prometheus after / answered 404\n" in printers.as_table(report, colour=False)
    (described,) = orjson.loads(printers.as_json(report))["candidates"]
    assert described["url"] == found
    assert described["chosen"] == {"scheme": "http", "port": 9090, "path": "/prometheus"}
    assert described["variants"][0] == described["chosen"]
    assert (described["requests"], described["how"]) == (2, "/prometheus after / answered 404")


async def test_a_plan_names_what_each_variant_met(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedApiServer().serve() as server:
        leading_to(monkeypatch, server.url)
        report = await planned(service(), healthy=False)
    detail = "/: answered 404; /prometheus: answered 404; annotate it with kubernaut.io/toolset-path to decide"
    assert report.verdicts[PROMETHEUS] == Rejected(Reason.UNHEALTHY, detail, "prometheus")
    (described,) = orjson.loads(printers.as_json(report))["candidates"]
    assert (described["chosen"], described["requests"], described["detail"]) == (None, 2, detail)


async def test_a_service_is_explained_with_what_a_probe_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Below().handle) as url:
        leading_to(monkeypatch, url)
        (explanation,) = (await explain_all(settings(), Manifests((service(),), {}), probe=True)).services
    way = Variant("http", 9090, "/prometheus")
    assert (explanation.chosen, explanation.requests, explanation.path) == (way, 2, "/prometheus")
    assert (explanation.variants, way in explanation.fallbacks) == ((Variant("http", 9090, ""),), True)
    assert printers.explained(explanation, "kubernaut.io", TARGET) == (
        "monitoring/prometheus is recognised as prometheus: its selector app=prometheus says prometheus\n"
        "  published at http://prometheus.monitoring.svc.cluster.local:9090/prometheus now: it answers GET "
        "/api/v1/query?query=vector(1)\n"
        "  found by the probe: /prometheus after / answered 404\n"
    )


async def test_a_service_is_explained_with_what_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Below().handle) as url:
        leading_to(monkeypatch, url)
        current = live(await planned(service(), healthy=False))
    (explanation,) = explain_manifests(settings(), Manifests((service(),), {TARGET: current})).services
    assert (explanation.chosen, explanation.requests) == (Variant("http", 9090, "/prometheus"), None)
    printed = printers.explained(explanation, "kubernaut.io", TARGET)
    assert "the probe also tries http at /; https at /; https\n" in printed
