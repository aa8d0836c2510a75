"""The demo and what stands on the embedded cluster: real requests over a loopback socket, nothing else needed."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

import picture
from toolset import cli
from toolset.sim.cluster import EmbeddedCluster

NAMESPACE, NAME = "kubernaut-system", "kubernaut-toolset-config"
PROMETHEUS = {
    "metadata": {"name": "prometheus", "namespace": "monitoring", "labels": {"app": "prometheus"}},
    "spec": {"selector": {"app": "prometheus"}, "ports": [{"name": "web", "port": 9090}]},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedCluster]:
    async with EmbeddedCluster() as cluster:
        for name in (NAMESPACE, "monitoring"):
            cluster.create("Namespace", {"metadata": {"name": name}})
        cluster.create("Service", PROMETHEUS)
        file = tmp_path / "kubeconfig"
        await anyio.Path(file).write_text(cluster.kubeconfig(), "utf-8")
        monkeypatch.setenv("TOOLSET_KUBE__KUBECONFIG", str(file))
        monkeypatch.setenv("TOOLSET_HEALTH__ENABLED", "false")
        yield cluster


async def command(*arguments: str) -> int:
    """Run the program in a thread, as it runs an event loop of its own."""
    return await anyio.to_thread.run_sync(cli.main, arguments)


@pytest.mark.timeout(90)
def test_the_demo_tells_the_story_that_its_picture_shows() -> None:
    shown = picture.PICTURE.read_text("utf-8")
    told = picture.drawn(picture.output())
    assert picture.said(told) == picture.said(shown), "docs/demo.svg is stale: run `make docs`"


async def test_a_purge_removes_what_is_ours_and_nothing_else(
    embedded: EmbeddedCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("purge") == 0
    assert capsys.readouterr().out == f"ConfigMap {NAMESPACE}/{NAME} holds nothing of ours\n"
    ours = {
        "metadata": {"name": NAME, "namespace": NAMESPACE, "annotations": {"kubernaut.io/owned-keys": "a.yaml,b.yaml"}},
        "data": {"a.yaml": "1", "b.yaml": "2", "overrides.yaml": "suppress: []", "notes": "theirs"},
    }
    embedded.create("ConfigMap", ours)
    gone = "a.yaml, b.yaml, kubernaut.io/owned-keys"

    assert await command("purge", "--dry-run") == 2
    assert capsys.readouterr().out == f"ConfigMap {NAMESPACE}/{NAME} would lose: {gone}\n"
    assert await command("purge") == 0
    assert capsys.readouterr().out == f"ConfigMap {NAMESPACE}/{NAME} has lost: {gone}\n"

    left = embedded.get("ConfigMap", NAMESPACE, NAME)
    assert left is not None
    assert left["data"] == {"overrides.yaml": "suppress: []", "notes": "theirs"}


async def test_a_plan_says_what_overrides_do(embedded: EmbeddedCluster, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = "tools: {monitoring/prometheus: {url: 'http://elsewhere.example:9090'}}\n"
    embedded.create(
        "ConfigMap", {"metadata": {"name": NAME, "namespace": NAMESPACE}, "data": {"overrides.yaml": overrides}}
    )
    assert await command("plan") == 2
    assert "overrides.yaml sets of monitoring/prometheus: url" in capsys.readouterr().out
    embedded.patch("ConfigMap", NAMESPACE, NAME, {"data": {"overrides.yaml": "tools: ["}})
    assert await command("plan") == 2
    assert "what overrides.yaml says is ignored: overrides.yaml, line 2" in capsys.readouterr().out
