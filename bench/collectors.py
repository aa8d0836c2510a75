"""What a collector in trouble does to the time from a change of a Service to the ConfigMap: nothing.

The real service, every reconcile traced, against the embedded API server: without an exporter, with a collector that
takes spans, one that hangs, and one that is not there, over both protocols. Cases take turns, so that whatever else the
machine does happens to all of them.
"""

import os
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import orjson
from aiohttp import web

from figures import Figure, Table, shown
from toolset.sim.backends import Backends
from toolset.sim.cluster import EmbeddedCluster

CHANGES: Final = 20
TURNS: Final = 15
TARGET: Final = ("kubernaut-system", "kubernaut-toolset-config")
SERVICE: Final = ("Service", "monitoring", "prometheus")
PORTS: Final = (9090, 9099)
PROTOCOLS: Final = ("http/protobuf", "grpc")
TRACED: Final = {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_BSP_SCHEDULE_DELAY": "200"}


class Stage:
    """One service over one cluster of its own."""

    def __init__(self, cluster: EmbeddedCluster) -> None:
        self._cluster = cluster
        self._port = 0

    async def change(self) -> float:
        """Move the Service to its other port; return how long the ConfigMap took to follow, seconds."""
        self._port = 1 - self._port
        port = PORTS[self._port]
        self._cluster.patch(*SERVICE, {"spec": {"ports": [{"name": "web", "port": port, "protocol": "TCP"}]}})
        began = anyio.current_time()
        with anyio.fail_after(30):
            while f":{port}" not in self._document():  # noqa: ASYNC110 - looking is a part of what is measured
                await anyio.sleep(0.0005)
        return anyio.current_time() - began

    def _document(self) -> str:
        stored = self._cluster.get("ConfigMap", *TARGET)
        return stored["data"].get("prometheus-toolset.yaml", "") if stored else ""


@asynccontextmanager
async def stage(environment: Mapping[str, str]) -> AsyncGenerator[Stage]:
    """Run the service inside the block."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = await stack.enter_async_context(EmbeddedCluster())
        backends = await stack.enter_async_context(Backends())
        for name in (TARGET[0], SERVICE[1]):
            cluster.create("Namespace", {"metadata": {"name": name}})
        for port in PORTS:
            backends.put(f"{SERVICE[2]}.{SERVICE[1]}.svc.cluster.local:{port}", "prometheus")
        metadata = {"namespace": SERVICE[1], "name": SERVICE[2], "labels": {"app": "prometheus"}}
        spec = {"selector": {"app": "prometheus"}, "ports": [{"name": "web", "port": PORTS[0], "protocol": "TCP"}]}
        cluster.create("Service", {"metadata": metadata, "spec": spec})
        config = folder / "kubeconfig"
        config.write_text(cluster.kubeconfig(TARGET[0]))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TOOLSET_", "OTEL_"))}
        given = {
            "TOOLSET_KUBE__KUBECONFIG": str(config),
            "TOOLSET_TEST_CONNECT_TO": orjson.dumps(backends.connect_to()).decode(),
            "TOOLSET_SERVER__HOST": "127.0.0.1",
            "TOOLSET_SERVER__PORT": "0",
            "TOOLSET_ELECTION__ENABLED": "false",
            "TOOLSET_SHUTDOWN__DELAY": "0s",
            **environment,
        }
        command = [sys.executable, "-m", "toolset", "run"]
        with (folder / "log").open("wb") as log:
            async with await anyio.open_process(command, env=inherited | given, stdout=log, stderr=log) as process:
                try:
                    made = Stage(cluster)
                    await made.change()
                    yield made
                finally:
                    process.kill()


@asynccontextmanager
async def taker() -> AsyncGenerator[str]:
    """Give the address of a collector that takes everything at once."""

    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def exporting(endpoint: str, protocol: str) -> dict[str, str]:
    return TRACED | {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


async def _compare() -> list[Figure]:
    """Return how long each change took, by case."""
    async with AsyncExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        hangs = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            gone = f"http://127.0.0.1:{free.getsockname()[1]}"
        cases: dict[str, Mapping[str, str]] = {"none": {}}
        cases["a collector that takes spans, http/protobuf"] = exporting(
            await stack.enter_async_context(taker()), PROTOCOLS[0]
        )
        for name, endpoint in (("hangs", hangs), ("is gone", gone)):
            for protocol in PROTOCOLS:
                cases[f"a collector that {name}, {protocol}"] = exporting(endpoint, protocol)
        stages = {name: await stack.enter_async_context(stage(given)) for name, given in cases.items()}
        taken: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(TURNS):
            for name, each in stages.items():
                taken[name] += [await each.change() for _ in range(CHANGES)]
        return [Figure(name, "s", tuple(times)) for name, times in taken.items()]


def measure() -> Table:
    """Return what was found, next to the target."""
    found = anyio.run(_compare)
    base = found[0].percentile(0.99)
    return Table(
        "From the change of a Service to the ConfigMap, while traces are exported",
        f"{TURNS * CHANGES} changes each, {CHANGES} in a row and in turn with the others. Every reconcile is traced; "
        "the API server is the embedded one.",
        ("exporter of traces", "p50", "p99", "p99, to the first row", "target"),
        tuple(
            (
                each.name,
                shown(each.median, "s"),
                shown(each.percentile(0.99), "s"),
                f"{shown(each.percentile(0.99) / base)} x",
                "1.1 x" if each is not found[0] else "",
            )
            for each in found
        ),
    )
