"""What a health probe costs: 1,000 backends that answer at once, 32 at a time, each over a connection of its own.

Next to our prober: httpx as it comes, aiohttp, and Go's net/http. The backend is Go's, in a process of its own; Go is
needed. CPU is that of the asking process alone.
"""

import resource
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import anyio
import httpx

from figures import Table, shown
from toolset.adapters.probe import HttpProber, ProberOptions
from toolset.core.candidate import Candidate, Evidence
from toolset.core.detection.checks import PROMETHEUS_API
from toolset.model import Key
from world import backend, peers

COUNT: Final = 1_000
LIMIT: Final = 32
ROUNDS: Final = 5
SIGN: Final = b'"resultType":"vector"'

Measure = tuple[float, float]


def spent_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def candidate(number: int, port: int) -> Candidate:
    return Candidate(
        key=Key("monitoring", f"prometheus-{number}"),
        type="prometheus",
        product="prometheus",
        evidence=Evidence.PORT,
        scheme="http",
        host=f"prometheus-{number}.monitoring.svc.cluster.local",
        port=port,
        path="",
        check=PROMETHEUS_API,
    )


async def best(ask: Callable[[int], Awaitable[None]], *, limit: int = LIMIT) -> Measure:
    """Return the least wall time and the least CPU time of several rounds."""
    rounds: list[Measure] = []
    for _ in range(ROUNDS):
        limiter = anyio.CapacityLimiter(limit)

        async def one(number: int, limiter: anyio.CapacityLimiter = limiter) -> None:
            async with limiter:
                await ask(number)

        began, cpu = time.perf_counter(), spent_s()
        async with anyio.create_task_group() as group:
            for number in range(COUNT):
                group.start_soon(one, number)
        rounds.append((time.perf_counter() - began, spent_s() - cpu))
    return min(wall for wall, _ in rounds), min(cpu for _, cpu in rounds)


async def ours(port: int) -> Measure:
    candidates = [candidate(number, port) for number in range(COUNT)]
    moved = {f"{each.host}:{each.port}": f"127.0.0.1:{port}" for each in candidates}
    prober = HttpProber(ProberOptions(concurrency=LIMIT, connect_to=moved))

    async def ask(number: int) -> None:
        if not (await prober.probe(candidates[number])).alive:
            raise RuntimeError("no healthy answer")

    return await best(ask, limit=COUNT)  # it keeps its own limit


async def plain_httpx(port: int) -> Measure:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(trust_env=False, timeout=5.0, limits=limits) as client:

        async def ask(_: int) -> None:
            if SIGN not in (await client.get(f"http://127.0.0.1:{port}{PROMETHEUS_API.path}")).content:
                raise RuntimeError("no healthy answer")

        return await best(ask)


async def plain_aiohttp(port: int) -> Measure:
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=5.0)) as session:

        async def ask(_: int) -> None:
            async with session.get(f"http://127.0.0.1:{port}{PROMETHEUS_API.path}") as answer:
                if SIGN not in await answer.read():
                    raise RuntimeError("no healthy answer")

        return await best(ask)


def go(binary: Path, port: int) -> Measure:
    command = [str(binary), "ask", str(port), str(COUNT), str(LIMIT)]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()  # noqa: S603
    rounds = [tuple(map(float, line.split())) for line in lines]
    return min(wall for wall, _ in rounds), min(cpu for _, cpu in rounds)


def _row(name: str, found: Measure, target: str = "") -> tuple[str, ...]:
    wall, cpu = found
    return name, shown(wall, "s"), shown(cpu / COUNT * 1000, "ms"), target


def measure() -> Table:
    """Return what was found, next to the target."""
    binary = peers() / "probes"
    with backend(binary) as port:
        rows = (
            _row("our prober (httpx over its own transport)", anyio.run(ours, port), "2 s, 1.5 ms"),
            _row("httpx as it comes", anyio.run(plain_httpx, port)),
            _row("aiohttp", anyio.run(plain_aiohttp, port)),
            _row("Go's net/http", go(binary, port)),
        )
    return Table(
        f"{COUNT:,} probes of a backend that answers at once",
        f"{LIMIT} at a time, each over a connection of its own; the best of {ROUNDS} rounds.",
        ("", "in all", "processor time each", "target"),
        rows,
    )
