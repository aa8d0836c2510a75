"""The status of a pod is reached through the API server and the kubelet, and nothing has to be exposed for it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from tempfile import TemporaryFile

import httpx
import pytest

from e2e.cluster import Cluster
from integration.cluster import SERVICE_ACCOUNT, Tool
from support.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@contextmanager
def forwarded(cluster: Cluster, pod: str) -> Generator[str]:
    """Yield the URL of the pod's status behind `kubectl port-forward`."""
    with (
        TemporaryFile("w+") as out,
        subprocess.Popen(cluster.command("port-forward", f"pod/{pod}", ":8081"), stdout=out) as process,
    ):
        found: list[str] = []

        def listens() -> bool:
            out.seek(0)
            found[:] = re.findall(r"127\.0\.0\.1:(\d+) ->", out.read())
            return bool(found)

        try:
            eventually(listens, within_s=20)
            yield f"http://127.0.0.1:{found[0]}"
        finally:
            process.terminate()


def test_kubectl_port_forward_shows_the_page(cluster: Cluster, tool: Tool) -> None:
    eventually(lambda: tool.url in cluster.urls(tool.namespace), within_s=30)
    with forwarded(cluster, cluster.leader()) as url:
        page = httpx.get(url, trust_env=False)
        assert (page.status_code, f"{tool.namespace}/{tool.name}" in page.text) == (200, True)
        status = httpx.get(f"{url}/api/v1/status", trust_env=False).json()
    assert status["installation"]["role"] == "leader"


def test_toolset_status_finds_the_leader_and_what_it_publishes(cluster: Cluster, tool: Tool) -> None:
    eventually(lambda: tool.url in cluster.urls(tool.namespace), within_s=30)
    command = [sys.executable, "-m", "toolset", "status", "--kubeconfig", cluster.kubeconfig, "-o", "json"]
    others = {name: value for name, value in os.environ.items() if not name.startswith("TOOLSET_")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=others)
    assert done.returncode == 0, done.stderr
    snapshot = json.loads(done.stdout)
    assert tool.url in [each["url"] for each in snapshot["services"] if each["published"]]
    assert snapshot["summary"]["installation"]["identity"].startswith(SERVICE_ACCOUNT)


def test_in_the_pod_the_command_asks_the_process_next_to_it(cluster: Cluster, tool: Tool) -> None:
    eventually(lambda: tool.url in cluster.urls(tool.namespace), within_s=30)
    shown = cluster.kubectl("exec", f"pod/{cluster.leader()}", "--", "toolset", "status", "-o", "wide")
    assert tool.url in shown
