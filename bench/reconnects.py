"""What 10,000 reconnects of a watch leave behind: the memory of a process before and after, through a real socket.

The server, in a process of its own, ends every watch after one bookmark, as a load balancer with a short patience does.
"""

import gc
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Self

import anyio
from aiohttp import web

from figures import Table, shown
from toolset.adapters.kube.credentials.rest_config import RestConfig
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, services
from toolset.core.detection.reduction import Reduction
from toolset.errors import ToolsetError
from toolset.model import Service
from toolset.runtime.backoff import Backoff, TokenBucket
from toolset.runtime.reflector import Reflector, ReflectorOptions
from toolset.runtime.store import Store

RECONNECTS: Final = 10_000
WARM_UP: Final = 1_000
PATIENCE_S: Final = 120.0
LIST: Final = b'{"kind": "ServiceList", "metadata": {"resourceVersion": "1"}, "items": []}'
BOOKMARK: Final = b'{"type": "BOOKMARK", "object": {"kind": "Service", "metadata": {"resourceVersion": "1"}}}\n'


class Anonymous:
    """No credentials at all."""

    def __init__(self, url: str) -> None:
        self._access = RestConfig(base_url=url, tls=None, headers=())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def current(self) -> RestConfig:
        return self._access

    def refused(self, value: RestConfig) -> None:
        del value


class Count:
    """Counts watches, and says when there were enough."""

    def __init__(self) -> None:
        self.watches = 0
        self.enough = anyio.Event()
        self.wanted = WARM_UP

    def listed(self, items: int, took_s: float, reason: str) -> None:
        pass

    def watch_ended(self, events: int, took_s: float) -> None:
        self.watches += 1
        if self.watches >= self.wanted:
            self.enough.set()

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        pass


def serve(ready: Connection) -> None:
    """Be the server."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=BOOKMARK if "watch" in request.query else LIST, content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.get("/api/v1/services", answer)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await anyio.sleep_forever()

    anyio.run(run)


def fail(error: Exception) -> None:
    """Let a handler's error out; there is no handler."""
    raise error


def memory_mib() -> float:
    """Return the resident memory of this process."""
    gc.collect()
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


async def _grown(port: int) -> tuple[float, float]:
    """Return how long the reconnects took, seconds, and by how much the memory grew over them, MiB."""
    count = Count()
    store: Store[Service] = Store(fail)
    before = after = took_s = 0.0
    async with KubeTransport(Anonymous(f"http://127.0.0.1:{port}"), "bench") as transport:
        reflector = Reflector(
            KubeSource(transport, services("", Reduction("kubernaut.io")), jitter=lambda: 0.0),
            store,
            count,
            jitter=lambda: 0.0,
            options=ReflectorOptions(backoff=Backoff(base_s=1e-6, cap_s=1e-6, spread=0.0)),
            starts=TokenBucket(rate_per_s=1e9, burst=10**9),
        )
        async with anyio.create_task_group() as group:
            group.start_soon(reflector.run)
            with anyio.fail_after(PATIENCE_S):
                await count.enough.wait()
            before = memory_mib()
            count.wanted, count.enough = WARM_UP + RECONNECTS, anyio.Event()
            started = anyio.current_time()
            with anyio.fail_after(PATIENCE_S):
                await count.enough.wait()
            took_s = anyio.current_time() - started
            after = memory_mib()
            group.cancel_scope.cancel()
    return took_s, after - before


def measure() -> Table:
    """Return what was found, next to the target."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        took_s, grown_mib = anyio.run(_grown, ours.recv())
    finally:
        server.terminate()
    return Table(
        f"What {RECONNECTS:,} reconnects of a watch leave behind",
        f"After {WARM_UP:,} that do not count; the server ends each watch after one bookmark.",
        ("", "measured", "target"),
        (("in all", shown(took_s, "s"), ""), ("growth of memory", f"{grown_mib:+.2f} MiB", "2 MiB")),
    )
