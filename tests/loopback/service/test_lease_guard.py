"""A process without an election meets the Lease of a leader, on the embedded API server."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import orjson
import pytest

from support.waiting import until
from toolset.sim.cluster import EmbeddedCluster

NAMESPACE, TARGET, LEASE = "kubernaut-system", "kubernaut-toolset-config", "kubernaut-dynamic-toolset"
SETTINGS: Final = {
    "TOOLSET_ELECTION__ENABLED": "false",
    "TOOLSET_ELECTION__RETRY_PERIOD": "100ms",
    "TOOLSET_SERVER__HOST": "127.0.0.1",
    "TOOLSET_SERVER__PORT": "0",
    "TOOLSET_SHUTDOWN__DELAY": "0s",
    "TOOLSET_LOG__FORMAT": "json",
}


class Run:
    """``toolset run``, seen through its log and its HTTP server."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def logged(self, message: str) -> list[dict[str, Any]]:
        lines = [
            orjson.loads(line) for line in self._log.read_text("utf-8").splitlines(keepends=True) if line[-1] == "\n"
        ]
        return [line for line in lines if line["message"] == message]

    async def readiness(self) -> tuple[int, str]:
        port = self.logged("http server started")[0]["port"]
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/readyz")
            return answer.status_code, answer.text


@asynccontextmanager
async def run(cluster: EmbeddedCluster, folder: Path) -> AsyncGenerator[Run]:
    config, log = folder / "kubeconfig", folder / "log"
    config.write_text(cluster.kubeconfig(NAMESPACE), "utf-8")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("TOOLSET_", "KUBE", "OTEL_"))}
    environment = inherited | SETTINGS | {"TOOLSET_KUBE__KUBECONFIG": str(config)}
    with log.open("wb") as out:
        command = [sys.executable, "-m", "toolset", "run"]
        async with await anyio.open_process(command, env=environment, stdout=out, stderr=out) as process:
            try:
                yield Run(log)
            finally:
                process.terminate()
                with anyio.fail_after(20, shield=True):
                    await process.wait()


@pytest.mark.timeout(60)
async def test_a_process_without_an_election_writes_nothing_while_a_leader_renews_its_lease(tmp_path: Path) -> None:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "pod-1", "leaseDurationSeconds": 3600, "renewTime": now}
    async with EmbeddedCluster() as cluster:
        cluster.create("Namespace", {"metadata": {"name": NAMESPACE}})
        cluster.create("Lease", {"metadata": {"namespace": NAMESPACE, "name": LEASE}, "spec": spec})
        async with run(cluster, tmp_path) as service:
            await until(lambda: service.logged("nothing is written: another process leads"), within_s=30)
            assert service.logged("nothing is written: another process leads")[0]["leader"] == "pod-1"
            status, text = await service.readiness()
            assert status == 503
            assert f"pod-1 holds Lease {NAMESPACE}/{LEASE}" in text
            assert "`election.enabled` is off" in text
            assert cluster.get("ConfigMap", NAMESPACE, TARGET) is None
            cluster.patch("Lease", NAMESPACE, LEASE, {"spec": {"holderIdentity": ""}})
            await until(lambda: cluster.get("ConfigMap", NAMESPACE, TARGET), within_s=30)
            assert (await service.readiness())[0] == 200
