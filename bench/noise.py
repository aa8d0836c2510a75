"""What it costs to hear of a thousand changes a second that are nothing to the service.

The API server is the embedded one, in a process of its own: a real one with etcd cannot change that much on two cores.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Final

import anyio
import httpx
from prometheus_client.parser import text_string_to_metric_families

from figures import Table, shown
from idle import SETTLED_S
from toolset.sim import EmbeddedCluster
from world import NAMESPACE, ROOT, Measured, said

SERVICES: Final = 1_000
CHANGES_A_SECOND: Final = 1_000
SECONDS: Final = 20
BATCH: Final = 20


async def serve(folder: Path) -> None:
    """Change Services all the time, until killed; say how many changes there were, once a second."""
    async with EmbeddedCluster() as cluster:
        for name in (NAMESPACE, "shop"):
            cluster.create("Namespace", {"metadata": {"name": name}})
        for number in range(SERVICES):
            spec = {"selector": {"app": "checkout"}, "ports": [{"name": "http", "port": 8080}]}
            cluster.create("Service", {"metadata": {"namespace": "shop", "name": f"checkout-{number}"}, "spec": spec})
        await anyio.Path(folder / "kubeconfig").write_text(cluster.kubeconfig(NAMESPACE), "utf-8")
        print("ready", flush=True)
        began, made = anyio.current_time(), 0
        while True:
            for _ in range(BATCH):
                note = {"metadata": {"annotations": {"deployed": str(made)}}}
                cluster.patch("Service", "shop", f"checkout-{made % SERVICES}", note)
                made += 1
            await anyio.sleep(max(0.0, began + made / CHANGES_A_SECOND - anyio.current_time()))
            if made % CHANGES_A_SECOND == 0:
                print(f"made {made} {anyio.current_time() - began:.3f}", flush=True)


def measure(python: Path) -> Table:
    """Return what was measured.

    Args:
        python: An interpreter that has what the service needs.
    """
    inherited = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'hack/controlplane'}"}
    with (
        tempfile.TemporaryDirectory() as name,
        Measured([sys.executable, __file__, name], inherited) as noisy,
    ):
        noisy.line("ready")
        words = ["run", "--log-format=json", "--host=127.0.0.1", "--port=0", f"--kubeconfig={name}/kubeconfig"]
        with Measured([str(python), "-m", "toolset", *words], inherited) as service:
            port = said(service.line('"http server started"'))["port"]
            service.line('"config map written"')
            _settle(noisy)
            (made, began), spent_s, asked = _made(noisy), service.cpu_s(), _asked(port)
            last = (made, began)
            while last[1] - began < SECONDS:
                last = _made(noisy)
            took_s = last[1] - began
            share, requests = (service.cpu_s() - spent_s) / took_s, _asked(port) - asked
            return table((last[0] - made) / took_s, share, requests)


def table(rate: float, share: float, requests: float) -> Table:
    """Return the measurements and their targets."""
    return Table(
        f"{CHANGES_A_SECOND:,} changes a second of Services that are nothing to the service",
        f"For {SECONDS} seconds, from the embedded API server.",
        ("", "measured", "target"),
        (
            ("changes a second", shown(rate), f"{CHANGES_A_SECOND:,}"),
            ("of a core", f"{share:.1%}", "20 %"),
            ("requests to the API server", f"{requests:.0f}", "0"),
        ),
    )


def _settle(noisy: Measured) -> None:
    """Return once the service has asked for its permissions, which it does once."""
    _, began = _made(noisy)
    while _made(noisy)[1] - began < SETTLED_S:
        pass


def _made(noisy: Measured) -> tuple[int, float]:
    _, made, at = noisy.line("made ").split()
    return int(made), float(at)


def _asked(port: int) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    families = text_string_to_metric_families(text)
    return sum(each.value for family in families if family.name == "rest_client_requests" for each in family.samples)


if __name__ == "__main__":
    anyio.run(serve, Path(sys.argv[1]))
