import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import anyio
import pytest
import yaml

from support.api_server import Answer, ScriptedApiServer, page, status_error
from toolset.cli import main
from toolset.commands.explain import explain_service
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.errors import SettingsError
from toolset.model import Key
from toolset.sim import EmbeddedCluster
from toolset.sim.cluster import kubeconfig

CLUSTER = """
apiVersion: v1
kind: List
items:
- kind: Service
  metadata: {name: prometheus, namespace: monitoring, labels: {app: prometheus}}
  spec: {clusterIP: 10.96.0.1, selector: {app: prometheus}, ports: [{name: web, port: 9090}]}
- kind: Service
  metadata: {name: prometheus-operated, namespace: monitoring, labels: {app: prometheus}}
  spec: {clusterIP: None, selector: {app: prometheus}, ports: [{name: web, port: 9090}]}
- kind: Service
  metadata: {name: jaeger-collector, namespace: tracing, labels: {app: jaeger}}
  spec: {selector: {app: jaeger}, ports: [{name: otlp, port: 4317}]}
- kind: Service
  metadata: {name: shop, namespace: default}
  spec: {selector: {app: shop}, ports: [{port: 80}]}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> str:
    file = tmp_path / "services.yaml"
    file.write_text(CLUSTER, "utf-8")
    return str(file)


def test_every_service_of_a_file_is_explained_in_sentences(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", cluster]) == 0
    assert capsys.readouterr().out == (
        "default/shop is not published: no detector recognises it [NoMatch]\n"
        "  to publish it anyway, annotate it with kubernaut.io/toolset=enabled and "
        "kubernaut.io/toolset-type=TYPE\n"
        "monitoring/prometheus is recognised as prometheus: its label app=prometheus says prometheus\n"
        "  published at http://prometheus.monitoring.svc.cluster.local:9090 once it answers GET "
        "/api/v1/query?query=vector(1) and proves to be prometheus\n"
        "  if an answer suggests it, the probe also tries https; http at /prometheus; https at /prometheus\n"
        "monitoring/prometheus-operated is not published: another Service leads to the same backend: "
        "monitoring/prometheus [Duplicate]\n"
        "  nothing is lost: both lead to the same backend\n"
        "tracing/jaeger-collector is not published: it has no usable port (label matched jaeger) [NoUsablePort]\n"
        "  nearly recognised as jaeger; to choose a port, annotate it with kubernaut.io/toolset-port\n"
    )


def test_json_is_one_object_a_line(cluster: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "-f", cluster, "-o", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["namespace"], line["name"], line["type"], line["reason"]) for line in lines] == [
        ("default", "shop", None, "NoMatch"),
        ("monitoring", "prometheus", "prometheus", None),
        ("monitoring", "prometheus-operated", None, "Duplicate"),
        ("tracing", "jaeger-collector", None, "NoUsablePort"),
    ]
    assert lines[1] | {"detail": ""} == {
        "namespace": "monitoring",
        "name": "prometheus",
        "type": "prometheus",
        "product": "prometheus",
        "reason": None,
        "detail": "",
        "near": None,
        "evidence": "label",
        "matched": "label app=prometheus",
        "scheme": "http",
        "port": 9090,
        "path": "",
        "url": "http://prometheus.monitoring.svc.cluster.local:9090",
        "probed_url": "http://prometheus.monitoring.svc.cluster.local:9090",
        "health_path": "/api/v1/query?query=vector(1)",
        "to_prove": True,
        "variants": [{"scheme": "http", "port": 9090, "path": ""}],
        "fallbacks": [
            {"scheme": "https", "port": 9090, "path": ""},
            {"scheme": "http", "port": 9090, "path": "/prometheus"},
            {"scheme": "https", "port": 9090, "path": "/prometheus"},
        ],
        "chosen": None,
        "requests": None,
        "how": "",
        "overridden": [],
        "overridden_at": None,
        "note": None,
        "now": None,
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        pytest.param([], "either one Service as NAMESPACE/NAME, or manifests with -f FILE", id="nothing named"),
        pytest.param(["a/b", "-n", "c"], "`a/b` is not in namespace c: leave out one of the two", id="two namespaces"),
        pytest.param(["-n", "c"], "explain takes either one Service", id="a namespace alone"),
        pytest.param(["-n", "c", "-f", "x"], "-n is the namespace of a Service: name the Service too", id="-n and -f"),
        pytest.param(["a/b/c"], "`a/b/c` names no Service: write it as NAMESPACE/NAME, or add -n", id="two slashes"),
        pytest.param(["prometheus"], "`prometheus` names no Service: write it as NAMESPACE/NAME", id="no namespace"),
        pytest.param(["-f", "/nowhere/x.yaml"], "/nowhere/x.yaml: No such file or directory", id="no file"),
    ],
)
def test_a_mistake_gets_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *arguments]) == 1
    reported = capsys.readouterr().err
    assert sentence in reported
    assert reported.count("\n") == 1


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Settings]:
    """Give settings for an embedded cluster that holds the first two Services of the file."""
    async with EmbeddedCluster() as running:
        running.create("Namespace", {"metadata": {"name": "monitoring"}})
        for each in yaml.safe_load(CLUSTER)["items"][:2]:
            running.create("Service", each)
        file = tmp_path / "config"
        await anyio.Path(file).write_text(running.kubeconfig(), "utf-8")
        yield load("", {}, {"kube.kubeconfig": str(file)})


async def test_a_service_of_the_cluster_is_explained_with_its_duplicates(asked: Settings) -> None:
    (explained,) = (await explain_service(asked, Key("monitoring", "prometheus-operated"))).services
    assert (explained.reason, explained.near) == ("Duplicate", "prometheus")


ENDING = {"metadata": {"name": "monitoring", "deletionTimestamp": "2026-01-01T00:00:00Z"}}
SENTENCE = "it is being deleted (its namespace is being deleted)"


def test_a_namespace_in_the_file_that_ends_takes_its_services_with_it(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ending = tmp_path / "namespace.yaml"
    ending.write_text(yaml.safe_dump({"kind": "Namespace", **ENDING}), "utf-8")
    assert main(["explain", "-f", cluster, "-f", str(ending)]) == 0
    reported = capsys.readouterr().out
    assert f"monitoring/prometheus is not published: {SENTENCE} [Terminating]\n" in reported
    assert "tracing/jaeger-collector is not published: it has no usable port" in reported


@pytest.mark.parametrize(
    ("answer", "followed", "reason"),
    [
        pytest.param(page([ENDING]), "[]", "Terminating", id="a namespace that ends"),
        pytest.param(page([]), "[]", None, id="no namespace"),
        pytest.param(status_error(403, "Forbidden"), "[]", None, id="no right to know"),
        pytest.param(None, "[monitoring]", None, id="a service that does not ask"),
    ],
)
async def test_the_namespace_of_a_service_is_asked_for_where_the_service_would_know(
    tmp_path: Path, answer: Answer | None, followed: str, reason: str | None
) -> None:
    services = page(yaml.safe_load(CLUSTER)["items"][:1])
    async with ScriptedApiServer(services, *([answer] if answer else []), page([])).serve() as server:
        file = tmp_path / "config"
        await anyio.Path(file).write_text(kubeconfig(server.url), "utf-8")
        settings = load(f"discovery: {{watch_namespaces: {followed}}}", {}, {"kube.kubeconfig": str(file)})
        (explained,) = (await explain_service(settings, Key("monitoring", "prometheus"))).services

    assert explained.reason == reason
    about = [asked.params.get("fieldSelector") for asked in server.asked if asked.path == "/api/v1/namespaces"]
    assert about == (["metadata.name=monitoring"] if answer else [])


async def test_a_service_that_is_not_there_gets_one_sentence(asked: Settings) -> None:
    with pytest.raises(SettingsError, match="there is no Service monitoring/nothing; `kubectl get services"):
        await explain_service(asked, Key("monitoring", "nothing"))


TARGET = {"name": "kubernaut-toolset-config", "namespace": "kubernaut-system"}
NAME = "kubernaut-system/kubernaut-toolset-config"
URL = "http://prometheus.monitoring.svc.cluster.local:9090"
MOVED = "tools:\n  monitoring/prometheus: {url: https://prometheus.example.com/base, priority: 7}\n"


def test_a_misspelt_annotation_is_shown_of_a_service_that_nothing_recognises(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop.yaml").write_text(
        "{apiVersion: v1, kind: Service, metadata: {name: shop, namespace: team, annotations:"
        " {kubernaut.io/tolset: enabled}}, spec: {selector: {app: shop}, ports: [{port: 80}]}}"
    )
    assert main(["explain", "-f", str(tmp_path / "shop.yaml")]) == 0
    assert "did you mean `kubernaut.io/toolset`?" in capsys.readouterr().out


HIDDEN = "an override hides it (overrides.yaml, line 1)"


def target(overrides: str, annotations: dict[str, str] | None = None) -> dict[str, object]:
    """Return the ConfigMap that is kept, with these overrides in it."""
    metadata = {**TARGET, "annotations": annotations or {}}
    return {"kind": "ConfigMap", "metadata": metadata, "data": {"overrides.yaml": overrides}}


def reported(cluster: str, folder: Path, overrides: str, *more: str) -> list[str]:
    """Return the arguments that explain ``cluster`` with these overrides in force."""
    file = folder / "target.yaml"
    file.write_text(yaml.safe_dump(target(overrides)), "utf-8")
    return ["explain", "-f", cluster, "-f", str(file), *more]


def test_a_tool_that_an_override_hides_is_not_published(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(reported(cluster, tmp_path, "suppress: [monitoring/prometheus]")) == 0
    assert (
        f"monitoring/prometheus is not published: {HIDDEN} [Suppressed]\n"
        f"  to publish it again, change overrides.yaml in ConfigMap {NAME}\n"
    ) in capsys.readouterr().out


PENDING_SETTINGS = "discovery: {trusted_namespaces: [ops], untrusted: pending}"
OPTED_IN = """\
kind: Service
metadata: {name: grafana, namespace: team, annotations: {kubernaut.io/toolset: enabled}}
spec: {selector: {app: grafana}, ports: [{name: http, port: 3000}]}
---
kind: Namespace
metadata: {name: team, labels: {kubernaut.io/toolset-trust: maybe}}
"""


def test_what_waits_for_an_admin_is_explained_with_the_remedy_and_an_ignored_label_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "settings.yaml").write_text(PENDING_SETTINGS, "utf-8")
    (tmp_path / "team.yaml").write_text(OPTED_IN, "utf-8")
    arguments = ["--config", str(tmp_path / "settings.yaml")]
    assert main([*reported(str(tmp_path / "team.yaml"), tmp_path, "approve: [team/other]"), *arguments]) == 0
    printed = capsys.readouterr()
    assert printed.out == (
        "team/grafana is not published: it awaits an admin's approval (`approve: [team/grafana]` in overrides.yaml "
        "does it, or the label kubernaut.io/toolset-trust=trusted on its namespace) [Pending]\n"
    )
    assert "label kubernaut.io/toolset-trust=maybe of namespace team is ignored" in printed.err
    assert main([*reported(str(tmp_path / "team.yaml"), tmp_path, "approve: [team/grafana]"), *arguments]) == 0
    assert capsys.readouterr().out.startswith("team/grafana is recognised as grafana")


def test_an_annotation_that_is_not_read_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near = "annotation `kubernaut.io/toolset-prot` is not read; did you mean `kubernaut.io/toolset-port`?"
    for name in ("grafana", "shop"):
        misspelt = OPTED_IN.replace("toolset: enabled", "toolset-prot: '80'").replace("name: grafana", f"name: {name}")
        (tmp_path / f"{name}.yaml").write_text(misspelt, "utf-8")
        assert main(["explain", "-f", str(tmp_path / f"{name}.yaml")]) == 0
        assert capsys.readouterr().out.endswith(f"\n  {near}\n")


def test_a_url_that_an_override_sets_is_reported_with_its_place_and_with_what_is_probed(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(reported(cluster, tmp_path, MOVED)) == 0
    assert (
        "monitoring/prometheus is recognised as prometheus: its label app=prometheus says prometheus\n"
        f"  published at https://prometheus.example.com:443/base once {URL} answers GET "
        "/api/v1/query?query=vector(1) and proves to be prometheus\n"
        "  overrides.yaml, line 2, sets its url, priority\n"
    ) in capsys.readouterr().out


def test_json_reports_what_an_override_sets(cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(reported(cluster, tmp_path, MOVED, "-o", "json")) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[1])
    assert (found["url"], found["probed_url"]) == ("https://prometheus.example.com:443/base", URL)
    assert (found["overridden"], found["overridden_at"]) == (["url", "priority"], "overrides.yaml, line 2")


def test_overrides_in_another_config_map_are_nothing_to_us(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = reported(cluster, tmp_path, "suppress: [monitoring/prometheus]", "--name", "another")
    assert main(command) == 0
    assert "monitoring/prometheus is recognised as prometheus" in capsys.readouterr().out


def test_overrides_that_are_not_valid_are_reported_and_those_in_force_count(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    in_force = {"kubernaut.io/overrides-in-force": "suppress: [monitoring/prometheus]"}
    file = tmp_path / "target.yaml"
    file.write_text(yaml.safe_dump(target("supress: []", in_force)), "utf-8")
    assert main(["explain", "-f", cluster, "-f", str(file)]) == 0
    printed = capsys.readouterr()
    assert f"monitoring/prometheus is not published: {HIDDEN} [Suppressed]\n" in printed.out
    assert printed.err.startswith("toolset: what overrides.yaml says is ignored: overrides.yaml, line 1, column 1: ")
    assert printed.err.count("\n") == 1


def test_a_patch_that_is_dropped_and_a_key_of_somebody_else_are_reported(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = target("tools: {monitoring/prometheus: {holmesgpt: {max_retries: 1}}}")
    cast("dict[str, str]", stored["data"])["prometheus-toolset.yaml"] = "mine"
    file = tmp_path / "target.yaml"
    file.write_text(yaml.safe_dump(stored), "utf-8")
    assert main(["explain", "-f", cluster, "-f", str(file)]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("toolset: a patch in overrides.yaml is ignored: overrides.yaml, line 1, column 45: ")
    assert "  data key prometheus-toolset.yaml in the ConfigMap is not owned by this service and stays" in printed.out


def test_what_a_limit_leaves_out_is_not_published(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = tmp_path / "second.yaml"
    second.write_text(
        "kind: Service\nmetadata: {name: prometheus, namespace: team-a}\n"
        "spec: {selector: {app: a}, ports: [{name: web, port: 9090}]}",
        "utf-8",
    )
    monkeypatch.setenv("TOOLSET_OUTPUT__MAX_PER_TYPE", "1")
    assert main(["explain", "-f", cluster, "-f", str(second)]) == 0
    sentence = "there are more tools than may be published (output.max_per_type is 1) [OverLimit]\n"
    assert f"team-a/prometheus is not published: {sentence}" in capsys.readouterr().out


def test_where_nothing_is_probed_no_answer_is_waited_for(
    cluster: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOOLSET_HEALTH__ENABLED", "false")
    assert main(["explain", "-f", cluster]) == 0
    assert f"  published at {URL} unprobed, because health.enabled is false\n" in capsys.readouterr().out
    assert main(["explain", "-f", cluster, "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[1])
    assert (found["url"], found["probed_url"], found["health_path"]) == (URL, None, None)


@pytest.mark.parametrize("text", ["", "hello", "kind: Deployment\nmetadata: {name: a}", "- kind: Service"])
def test_a_file_without_a_service_is_a_mistake(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text, "utf-8")
    assert main(["explain", "-f", str(file)]) == 1
    printed = capsys.readouterr()
    remedy = "give what `kubectl get services -A -o yaml` prints"
    assert (printed.out, printed.err) == ("", f"toolset: {file} holds no Service; {remedy}\n")


def test_a_service_that_is_not_of_the_core_is_passed_over_with_a_sentence(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "knative.yaml"
    file.write_text("{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: grafana}}", "utf-8")
    assert main(["explain", "-f", cluster, "-f", str(file)]) == 0
    printed = capsys.readouterr()
    assert "grafana" not in printed.out
    sentence = "a Service of serving.knative.dev/v1 is skipped; only v1 is read"
    assert printed.err == f"toolset: {file}: {sentence}\n"


async def test_a_service_of_the_cluster_is_explained_under_the_overrides_there(tmp_path: Path) -> None:
    async with EmbeddedCluster() as running:
        for name in ("monitoring", TARGET["namespace"]):
            running.create("Namespace", {"metadata": {"name": name}})
        running.create("Service", yaml.safe_load(CLUSTER)["items"][0])
        running.create("ConfigMap", target("suppress: [monitoring/prometheus]"))
        version = running.store.version
        file = tmp_path / "config"
        await anyio.Path(file).write_text(running.kubeconfig(), "utf-8")
        settings = load("", {}, {"kube.kubeconfig": str(file)})
        found = await explain_service(settings, Key("monitoring", "prometheus"))
        assert running.store.version == version
    (explained,) = found.services
    assert (explained.reason, explained.detail, found.notes) == ("Suppressed", HIDDEN, ())


def test_overrides_in_the_config_map_that_the_settings_name_are_explained(
    cluster: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLSET_OUTPUT__OVERRIDES_FROM", "mine")
    assert main(reported(cluster, tmp_path, "suppress: [default/shop]")) == 0
    printed = capsys.readouterr()
    assert "nothing is written, because `output.overrides_from` names ConfigMap kubernaut-system/mine" in printed.err
    assert f"overrides.yaml in ConfigMap {NAME} is ignored" in printed.err
    mine = target("suppress: [monitoring/prometheus]")
    mine["metadata"] = {"name": "mine", "namespace": TARGET["namespace"]}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine), "utf-8")
    assert main(["explain", "-f", cluster, "-f", str(tmp_path / "mine.yaml")]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "to publish it again, change overrides.yaml in ConfigMap kubernaut-system/mine" in printed.out


async def test_who_may_not_read_the_config_map_of_the_admins_own_is_shown_what_is_missing(tmp_path: Path) -> None:
    services = page(yaml.safe_load(CLUSTER)["items"][:1])
    answers = (services, page([]), page([]), status_error(403, "Forbidden"))
    async with ScriptedApiServer(*answers).serve() as server:
        file = tmp_path / "config"
        await anyio.Path(file).write_text(kubeconfig(server.url), "utf-8")
        settings = load("", {}, {"kube.kubeconfig": str(file), "output.overrides_from": "mine"})
        found = await explain_service(settings, Key("monitoring", "prometheus"))
    (note,) = found.notes
    assert note.startswith("you may not list ConfigMap kubernaut-system/mine, so this is what detection says")


async def test_who_may_not_read_the_config_map_is_shown_what_is_missing(tmp_path: Path) -> None:
    services = page(yaml.safe_load(CLUSTER)["items"][:1])
    async with ScriptedApiServer(services, page([]), status_error(403, "Forbidden")).serve() as server:
        file = tmp_path / "config"
        await anyio.Path(file).write_text(kubeconfig(server.url), "utf-8")
        settings = load("", {}, {"kube.kubeconfig": str(file)})
        found = await explain_service(settings, Key("monitoring", "prometheus"))
    (explained,) = found.services
    assert explained.url == URL
    (note,) = found.notes
    assert note == f"you may not list ConfigMap {NAME}, so this is what detection says, without overrides.yaml"


STATIC = "static: [{type: prometheus, name: outside, url: 'https://metrics.example.com/prom'}]"


@pytest.fixture
def static(tmp_path: Path) -> str:
    file = tmp_path / "static.yaml"
    file.write_text(STATIC, "utf-8")
    return str(file)


def test_static_backends_are_explained_with_the_services_of_a_file(
    cluster: str, static: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--config", static, "-f", cluster]) == 0
    assert capsys.readouterr().out.startswith(
        "outside is recognised as prometheus: the settings list it as static\n"
        "  published at https://metrics.example.com:443/prom once it answers GET "
    )


async def test_a_static_backend_of_a_cluster_is_explained_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EmbeddedCluster() as running:
        file = tmp_path / "kubeconfig"
        await anyio.Path(file).write_text(running.kubeconfig(), "utf-8")
        monkeypatch.setenv("KUBECONFIG", str(file))
        (explanation,) = (await explain_service(load(STATIC, {}, {}), Key("", "outside"))).services
        assert (explanation.namespace, explanation.name, explanation.evidence) == ("", "outside", "settings")
        with pytest.raises(SettingsError, match="the settings list no static backend other"):
            await explain_service(load(STATIC, {}, {}), Key("", "other"))


def test_a_name_without_a_namespace_is_that_of_a_static_backend(
    static: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--config", static, "inside"]) == 1
    assert "`inside` names no Service: write it as NAMESPACE/NAME" in capsys.readouterr().err
