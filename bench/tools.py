"""The backends of the benchmarks: their Services, and the ConfigMap as another client sees it."""

import queue
import socket
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx
import msgspec

from world import TARGET, Measured, World, said

SERVICES: Final = 10_000
"""How many there are that are nothing to the service."""
TOOLS: Final = 20
CHANGES: Final = 100
PATIENCE_S: Final = 30.0
NAMESPACE: Final = "bench"
COLLECTION: Final = f"/api/v1/namespaces/{NAMESPACE}/services"


def names(kind: str, count: int) -> list[str]:
    """Return the names of Services."""
    return [f"{kind}-{number:03}" for number in range(count)]


def url(name: str) -> str:
    """Return what is published of a Service."""
    return f"http://{name}.{NAMESPACE}.svc.cluster.local:9090"


def create(place: World, name: str) -> None:
    """Create a Service that is recognised."""
    spec = {"selector": {"of": name}, "ports": [{"name": "web", "port": 9090}]}
    manifest = {"metadata": {"name": name, "labels": {"app": "prometheus"}}, "spec": spec}
    place.admin.post(COLLECTION, json=manifest).raise_for_status()


def delete(place: World, name: str) -> None:
    """Delete a Service."""
    place.admin.delete(f"{COLLECTION}/{name}").raise_for_status()


def furnish(place: World, tools: int = TOOLS) -> None:
    """Create the Services of so many backends."""
    place.admin.post("/api/v1/namespaces", json={"metadata": {"name": NAMESPACE}}).raise_for_status()
    for name in names("tool", tools):
        create(place, name)


def reach(port: int, tools: int = TOOLS) -> dict[str, str]:
    """Return the setting that leads every backend to a port of this machine."""
    every = [*names("tool", tools), *names("change", CHANGES)]
    routes = {url(name).removeprefix("http://"): f"127.0.0.1:{port}" for name in every}
    return {"TOOLSET_TEST_CONNECT_TO": msgspec.json.encode(routes).decode()}


def complete(process: Measured, tools: int = TOOLS) -> None:
    """Return when the service has written all of so many backends."""
    while said(process.line('"config map written"'))["tools"] != tools:
        pass


class Watcher:
    """Sees the ConfigMap as any other client does; use :func:`watching`."""

    def __init__(self) -> None:
        self._seen: queue.Queue[tuple[float, str]] = queue.Queue()

    def follow(self, lines: Iterator[str]) -> None:
        """Note every state of the ConfigMap, until the watch ends."""
        for line in lines:
            event: dict[str, Any] = msgspec.json.decode(line)
            self._seen.put((time.monotonic(), str(event["object"].get("data", {}))))

    def sees(self, text: str, *, there: bool) -> float:
        """Return when the ConfigMap first had ``text`` in it, or had it no more, on the monotonic clock.

        Raises:
            queue.Empty: It did not come to that within PATIENCE_S seconds.
        """
        while True:
            at, data = self._seen.get(timeout=PATIENCE_S)
            if (text in data) == there:
                return at


@contextmanager
def watching(place: World) -> Generator[Watcher]:
    """Give a watcher of the ConfigMap, from its present state on."""
    collection, _, name = TARGET.rpartition("/")
    params = {"watch": "1", "fieldSelector": f"metadata.name={name}"}
    watcher = Watcher()
    with place.plane.client() as client, client.stream("GET", collection, params=params, timeout=None) as answer:
        following = threading.Thread(target=_follow, args=(watcher, answer))
        following.start()
        try:
            yield watcher
        finally:  # not closed before nobody reads from it: its number may be that of another file at once
            answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            following.join()


def _follow(watcher: Watcher, answer: httpx.Response) -> None:
    with suppress(httpx.HTTPError, httpx.StreamError):  # it was shut down
        watcher.follow(answer.iter_lines())
