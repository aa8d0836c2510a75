"""A thousand candidates, many of which mean harm: the healthy ones are published soon, and nothing else happens."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from integration import hostile, netns
from integration.cluster import Cluster, Tool, urls_in
from integration.netns import Confined, Netns
from support.lacking import lack
from support.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.alone]

TIMEOUT_S: Final = 5.0
GROWTH_LIMIT_KIB: Final = 32 * 1024
MEAN: Final = {"hangs": 50, "drips": 50, "floods": 20, "bombs": 20, "redirects": 20, "never ends its headers": 20}
COUNT: Final = 1_000
SLOTS: Final = 32


@pytest.fixture
def inside(cluster: Cluster) -> Iterator[Netns]:
    if reason := netns.missing():
        lack(reason)
    with netns.namespace(cluster.plane.url) as made:
        yield made


@pytest.fixture
def backends_that_mean_harm(inside: Netns) -> Iterator[None]:
    command = inside.command(sys.executable, hostile.__file__)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield
        process.kill()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def tools() -> list[Tool]:
    """Return the candidates, kinds mixed, in the order of their names."""
    kinds = [kind for kind, count in MEAN.items() for _ in range(count)]
    kinds += ["healthy"] * (COUNT - len(kinds))
    step = 389  # shares no factor with COUNT: mixes, and always the same way
    return [
        Tool(
            "", "fleet", f"p{position:04}", hostile.KINDS[kinds[position * step % COUNT]], labels={"app": "prometheus"}
        )
        for position in range(COUNT)
    ]


def create_all(cluster: Cluster, wanted: list[Tool]) -> None:
    cluster.create(wanted[0])
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cluster.create, wanted[1:]))


def delete_all(cluster: Cluster, gone: list[Tool]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cluster.delete, gone))


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("backends_that_mean_harm")
def test_a_thousand_candidates_of_which_many_mean_harm_cost_neither_time_nor_memory_nor_safety(
    cluster: Cluster, inside: Netns, tmp_path: Path, stack: ExitStack
) -> None:
    wanted = tools()
    stack.callback(delete_all, cluster, wanted)
    create_all(cluster, wanted)
    healthy = {tool.url for tool in wanted if tool.port == hostile.HEALTHY}
    inside.run("ip", "address", "add", f"{hostile.METADATA}/32", "dev", "lo")
    settings = {"HEALTH__INTERVAL": "5s", "OUTPUT__MAX_PER_TYPE": "0"}
    service = Confined(inside, cluster.kubeconfig(), tmp_path / "service", **settings)
    trap = stack.enter_context(inside.listener(hostile.METADATA, 80))
    trap.settimeout(0)
    try:
        before_kib, files = service.memory_kib("VmRSS"), service.open_files()
        eventually(lambda: healthy <= set(urls_in(cluster.data()).values()), within_s=2 * TIMEOUT_S)
        published = set(urls_in(cluster.data()).values())
        threading.Event().wait(3 * TIMEOUT_S)  # some more rounds of all of it
        most_kib = service.memory_kib("VmHWM")
        eventually(lambda: service.open_files() <= files + SLOTS, within_s=5)
    finally:
        service.stop()

    mean = {tool.url for tool in wanted if tool.port in bad_ports()}
    assert not published & mean
    assert set(urls_in(cluster.data()).values()) >= healthy
    assert most_kib - before_kib < GROWTH_LIMIT_KIB
    assert [address for address in service.dialled() if not address.startswith(("10.", "127.0.0.1"))] == []
    with pytest.raises(BlockingIOError):
        trap.accept()
    assert service.bugs() == []


def bad_ports() -> set[int]:
    """Return the ports of those that never give a healthy answer; floods and bombs do, beyond what is read."""
    return {hostile.KINDS[kind] for kind in ("hangs", "drips", "redirects", "never ends its headers")}
