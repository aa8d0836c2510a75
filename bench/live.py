"""What it costs when somebody follows the status: 10,000 Services, 500 tools, 50 clients of the event stream."""

import random
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final

import httpx
import msgspec

from figures import Figure, Table, shown
from tools import SERVICES, complete, create, delete, names, reach, url, watching
from world import Measured, World, said

TOOLS: Final = 500
CLIENTS: Final = 50
BLOCKS: Final = 6
"""Half of them with clients, in turn."""
CHANGED: Final = 16
"""Services that are created and deleted in a block; each block has others, because writes of one Service are paced."""
READS: Final = 20
READ_PAUSE_S: Final = 1.2
"""Longer than a snapshot is kept when nothing has changed."""
_SETTINGS: Final = {
    "TOOLSET_OUTPUT__MAX_PER_TYPE": "1000",
    "TOOLSET_STATUS__LISTEN": "127.0.0.1:0",
}


class _Costs(msgspec.Struct):
    """What was measured."""

    alone: list[float]
    followed: list[float]
    page: list[float]
    whole: list[float]
    resident_mib: float = 0.0
    followed_mib: float = 0.0


def measure(place: World, port: int) -> Table:
    """Return the cost of clients and its targets."""
    place.forget()
    costs = _Costs([], [], [], [])
    with place.service(**reach(port, TOOLS), **_SETTINGS) as process:
        address = str(said(process.line('"status served"'))["address"])
        complete(process, TOOLS)
        threading.Thread(target=process.drain, daemon=True).start()
        with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
            _whole(client)  # loads what the first request loads
            _change(place, process, costs, address)
            with _following(address):
                for _ in range(READS):
                    threading.Event().wait(READ_PAUSE_S)
                    costs.page.append(_timed(client, "/api/v1/services"))
                    threading.Event().wait(READ_PAUSE_S)
                    began = time.monotonic()
                    _whole(client)
                    costs.whole.append(time.monotonic() - began)
    return _table(costs)


def _change(place: World, process: Measured, costs: _Costs, address: str) -> None:
    """Change Services, in turn without and with clients."""
    chance = random.Random(1)  # noqa: S311 - reproducible, not secret
    with watching(place) as watcher:
        changed = iter(names("change", BLOCKS * CHANGED))

        def block() -> list[float]:
            taken: list[float] = []
            for name in islice(changed, CHANGED):
                for there in (True, False):
                    threading.Event().wait(0.5 + chance.random() / 4)
                    began = time.monotonic()
                    (create if there else delete)(place, name)
                    taken.append(watcher.sees(url(name), there=there) - began)
            return taken

        for _ in range(BLOCKS // 2):
            costs.alone += block()
            costs.resident_mib = max(costs.resident_mib, process.resident_mib())
            with _following(address):
                costs.followed += block()
                costs.followed_mib = max(costs.followed_mib, process.resident_mib())


def _timed(client: httpx.Client, path: str) -> float:
    began = time.monotonic()
    client.get(path).raise_for_status()
    return time.monotonic() - began


def _whole(client: httpx.Client) -> None:
    """Read everything, page by page, as `toolset status -o json` does."""
    for path in ("status", "toolsets"):
        client.get(f"/api/v1/{path}").raise_for_status()
    more = ""
    while more is not None:
        answer = client.get(f"/api/v1/services?limit=500{more and f'&continue={more}'}").raise_for_status()
        more = answer.json()["next"]


@contextmanager
def _following(address: str) -> Generator[None]:
    """Let clients in another process follow the events."""
    command = [sys.executable, str(Path(__file__)), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("the clients could not follow the events")
            yield
        finally:
            process.kill()


def _follow(address: str) -> None:
    """Follow the events with so many connections, until killed."""
    host, _, port = address.rpartition(":")
    selector = selectors.DefaultSelector()
    request = f"GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n".encode()
    for _ in range(CLIENTS):
        made = socket.create_connection((host, int(port)))
        made.sendall(request)
        if not made.recv(4096).startswith(b"HTTP/1.1 200"):
            raise SystemExit("the events are refused")
        selector.register(made, selectors.EVENT_READ)
    print("following", flush=True)
    while True:
        for key, _ in selector.select():
            if isinstance(key.fileobj, socket.socket) and not key.fileobj.recv(65536):
                raise SystemExit("a stream has ended")


def _table(costs: _Costs) -> Table:
    alone, followed = Figure("alone", "s", tuple(costs.alone)), Figure("followed", "s", tuple(costs.followed))
    page, whole = Figure("page", "s", tuple(costs.page)), Figure("whole", "s", tuple(costs.whole))
    ratio = followed.percentile(0.99) / alone.percentile(0.99)
    half = followed.median / alone.median
    return Table(
        f"The status with {CLIENTS} clients of the event stream",
        f"{SERVICES:,} Services, {TOOLS} tools. {len(costs.alone)} changes without clients and {len(costs.followed)} "
        f"with them, in turn; {READS} requests of each kind, with a new snapshot for each, over HTTP.",
        ("", "measured", "target"),
        (
            ("first page of `/api/v1/services`, median", shown(page.median, "s"), "0.05 s"),
            ("everything, page by page, median", shown(whole.median, "s"), "0.2 s"),
            ("change to ConfigMap without clients, half / 99 %", _pair(alone), "-"),
            ("change to ConfigMap with clients, half / 99 %", _pair(followed), "-"),
            ("with clients to without, half / 99 %", f"{half:.2f} x / {ratio:.2f} x", "1.1 x of the 99 %"),
            ("memory with clients", f"+ {costs.followed_mib - costs.resident_mib:.1f} MiB", "+ 10 MiB"),
        ),
    )


def _pair(figure: Figure) -> str:
    return f"{shown(figure.median, 's')} / {shown(figure.percentile(0.99), 's')}"


if __name__ == "__main__":
    _follow(sys.argv[1])
