"""The demo and what stands on the embedded cluster: real requests over a loopback socket, nothing else needed."""

import io
import itertools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

import anyio
import anyio.to_thread
import httpx
import pytest
from typing_extensions import override

import picture
from toolset import cli
from toolset.demo import stage, story
from toolset.errors import UnavailableError
from toolset.sim import EmbeddedCluster

NAMESPACE, NAME = "kubernaut-system", "kubernaut-toolset-config"
PROMETHEUS = {
    "metadata": {"name": "prometheus", "namespace": "monitoring", "labels": {"app": "prometheus"}},
    "spec": {"selector": {"app": "prometheus"}, "ports": [{"name": "web", "port": 9090}]},
}


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
def test_the_demo_leaves_the_cluster_up_until_it_is_stopped() -> None:
    with demo() as running:
        assert running.stdout is not None
        said: list[str] = []
        while not (said and said[-1].startswith("   log of the service")):
            said.append(running.stdout.readline())
            assert said[-1], said
        urls = re.findall(r"http://127\.0\.0\.1:\d+\S*", said[-2])
        folder = Path(said[-1].split()[-1]).parent
        answers = [
            httpx.get(url.rstrip(","), trust_env=False).status_code for url in (f"{urls[0].rstrip(',')}/api", *urls[1:])
        ]
        assert answers == [200, 200, 200]
        assert str(folder / "kubeconfig") in "".join(said)
        running.terminate()
        assert running.wait(20) == 0
    assert not folder.exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(urls[1], trust_env=False)


def test_a_demo_that_is_ended_early_takes_the_service_along() -> None:
    with demo() as running:
        assert running.stdout is not None
        while not running.stdout.readline().startswith("3."):
            pass
        running.terminate()
        assert running.wait(20) == 128 + SIGTERM


async def test_a_service_that_ends_ends_the_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UnavailableError, match=r"^the service ended with exit code 1: no word$"):
        await story.run(once=True, colours=False)


async def test_a_config_map_that_does_not_follow_ends_the_story_and_the_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "PATIENCE_S", 0.02)
    with pytest.raises(UnavailableError, match=r"^the ConfigMap did not follow within 0.02 s: it holds \[\]$"):
        await story.run(once=True, colours=False)


@contextmanager
def demo() -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "toolset", "demo"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.timeout(90)
def test_the_demo_shows_the_story_that_its_picture_shows() -> None:
    shown = picture.PICTURE.read_text("utf-8")
    reported = picture.drawn(picture.output())
    assert picture.said(reported) == picture.said(shown), "docs/demo.svg is stale: run `make docs`"


OWNED: Final[dict[str, Any]] = {
    "metadata": {"name": NAME, "namespace": NAMESPACE, "annotations": {"kubernaut.io/owned-keys": "a.yaml"}},
    "data": {"a.yaml": "1"},
}


async def test_a_purge_removes_what_is_ours_and_nothing_else(
    embedded: EmbeddedCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("purge") == 0
    assert capsys.readouterr().out == f"ConfigMap {NAMESPACE}/{NAME} contains nothing that this service owns\n"
    ours = {
        "metadata": {"name": NAME, "namespace": NAMESPACE, "annotations": {"kubernaut.io/owned-keys": "a.yaml,b.yaml"}},
        "data": {"a.yaml": "1", "b.yaml": "2", "overrides.yaml": "suppress: []", "notes": "theirs"},
    }
    embedded.create("ConfigMap", ours)
    gone = "a.yaml, b.yaml, kubernaut.io/owned-keys"

    assert await command("purge", "--dry-run") == 2
    assert capsys.readouterr().out == f"ConfigMap {NAMESPACE}/{NAME} would lose: {gone}\n"
    assert await command("purge") == 1
    assert "nothing is removed: not confirmed" in capsys.readouterr().err
    assert await command("purge", "--yes") == 0
    assert capsys.readouterr().out == f"ConfigMap {NAMESPACE}/{NAME} has lost: {gone}\n"

    left = embedded.get("ConfigMap", NAMESPACE, NAME)
    assert left is not None
    assert left["data"] == {"overrides.yaml": "suppress: []", "notes": "theirs"}


async def test_a_purge_needs_the_name_of_the_installation_that_keeps_the_config_map(
    embedded: EmbeddedCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations = {"kubernaut.io/owned-keys": "a.yaml", "kubernaut.io/instance": "blue"}
    metadata = {"name": NAME, "namespace": NAMESPACE, "annotations": annotations}
    embedded.create("ConfigMap", {"metadata": metadata, "data": {"a.yaml": "1"}})
    version = embedded.store.version
    for instance in ("", "green"):
        monkeypatch.setenv("TOOLSET_OUTPUT__INSTANCE", instance)
        assert await command("purge", "--dry-run") == 2
        assert await command("purge") == 1
        printed = capsys.readouterr()
        assert "is kept by the installation 'blue'" in printed.err
        assert printed.err.endswith(
            "nothing is removed. To purge that installation, set TOOLSET_OUTPUT__INSTANCE=blue\n"
        )
    assert embedded.store.version == version
    monkeypatch.setenv("TOOLSET_OUTPUT__INSTANCE", "blue")
    assert await command("purge", "--yes") == 0
    left = embedded.get("ConfigMap", NAMESPACE, NAME)
    assert left is not None
    assert "data" not in left or not left["data"]


@pytest.mark.parametrize(("answer", "is_removed"), [("y\n", True), ("yes\n", True), ("\n", False), ("no\n", False)])
async def test_a_purge_asks_on_a_terminal(
    embedded: EmbeddedCluster,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    is_removed: bool,
) -> None:
    class Terminal(io.StringIO):
        @override
        def isatty(self) -> bool:
            return True

    embedded.create("ConfigMap", OWNED)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert await command("purge") == (0 if is_removed else 1)
    asked = f"ConfigMap {NAMESPACE}/{NAME} will lose: a.yaml, kubernaut.io/owned-keys\nRemove this? [y/N] "
    assert asked in capsys.readouterr().err
    left = embedded.get("ConfigMap", NAMESPACE, NAME)
    assert left is not None
    assert bool(left.get("data")) is not is_removed


async def test_a_purge_next_to_a_running_service_is_refused(
    embedded: EmbeddedCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.create("ConfigMap", OWNED)
    name = "kubernaut-dynamic-toolset"
    lease = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"holderIdentity": "pod-1"}}
    embedded.create("Lease", lease)
    monkeypatch.setenv("TOOLSET_ELECTION__RETRY_PERIOD", "100ms")
    monkeypatch.setenv("TOOLSET_ELECTION__RENEW_DEADLINE", "1s")
    monkeypatch.setenv("TOOLSET_ELECTION__LEASE_DURATION", "3s")

    async def renew() -> None:
        for number in itertools.count():
            embedded.patch("Lease", NAMESPACE, name, {"spec": {"leaseTransitions": number}})
            await anyio.sleep(0.05)

    async with anyio.create_task_group() as group:
        group.start_soon(renew)
        assert await command("purge", "--yes") == 1
        refused = capsys.readouterr().err
        assert "nothing is removed: the service is running" in refused
        assert f"(pod-1 renews Lease {NAMESPACE}/{name}); stop it first, or add --force" in refused
        assert await command("purge", "--yes", "--force") == 0
        group.cancel_scope.cancel()


async def test_a_purge_is_not_kept_from_its_work_by_the_lease_of_the_dead(embedded: EmbeddedCluster) -> None:
    embedded.create("ConfigMap", OWNED)
    lease = {"metadata": {"name": "kubernaut-dynamic-toolset", "namespace": NAMESPACE}, "spec": {"holderIdentity": "x"}}
    embedded.create("Lease", lease)
    assert await command("purge", "--yes") == 0


async def test_a_service_is_named_as_for_kubectl(embedded: EmbeddedCluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert embedded.get("Service", "monitoring", "prometheus")
    for named in (("monitoring/prometheus",), ("prometheus", "-n", "monitoring")):
        assert await command("explain", *named) == 0
        assert capsys.readouterr().out.startswith("monitoring/prometheus is recognised as prometheus: ")


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
