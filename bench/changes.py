"""How soon a change of a Service is published; also with a collector of traces that is slow, silent, or dead."""

import random
import socket
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from typing_extensions import override

from figures import Figure, Table, shown
from tools import CHANGES, complete, create, delete, names, reach, url, watching
from world import World

LOOPBACK: Final = "127.0.0.1"


class _Collector(BaseHTTPRequestHandler):
    """Takes everything."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    @override
    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def collectors() -> Generator[Mapping[str, str]]:
    """Give endpoints by what becomes of traces that are sent there; the first is none."""
    with ExitStack() as stack:
        silent, closed = (stack.enter_context(socket.socket()) for _ in range(2))
        for each in (silent, closed):
            each.bind((LOOPBACK, 0))
        silent.listen(128)  # and never accepts
        server = stack.enter_context(ThreadingHTTPServer((LOOPBACK, 0), _Collector))
        stack.callback(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = {
            "takes traces": server.server_address[1],
            "hangs": silent.getsockname()[1],
            "is dead": closed.getsockname()[1],
        }
        yield {"none": "", **{f"a collector that {what}": f"http://{LOOPBACK}:{port}" for what, port in ports.items()}}


def measure(place: World, port: int, collector: str, endpoint: str) -> Figure:
    """Return how long it takes from the request that changes a Service until a watcher has the new ConfigMap."""
    place.forget()
    chance = random.Random(1)  # noqa: S311 - reproducible, not secret
    taken: list[float] = []
    export = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if endpoint else {}
    with place.service(**reach(port), **export) as process:
        complete(process)
        threading.Thread(target=process.drain, daemon=True).start()
        with watching(place) as watcher:
            for name in names("change", CHANGES):
                for there in (True, False):
                    threading.Event().wait(0.2 + chance.random() / 4)
                    began = time.monotonic()
                    (create if there else delete)(place, name)
                    taken.append(watcher.sees(url(name), there=there) - began)
    return Figure(collector, "s", tuple(taken))


def table(found: list[Figure]) -> Table:
    """Return what was found, beside the targets."""
    first = found[0].percentile(0.99)
    return Table(
        "From the change of a Service to the ConfigMap that another client sees",
        f"{2 * CHANGES} changes each: a backend's Service is created, and deleted. Default debounce.",
        ("exporter of traces", "p50", "p99", "p99, to the first row", "targets"),
        tuple(
            (
                each.name,
                shown(each.percentile(0.5), "s"),
                shown(each.percentile(0.99), "s"),
                f"{shown(each.percentile(0.99) / first)} x",
                "0.3 s, 0.8 s" if each is found[0] else "1.1 x",
            )
            for each in found
        ),
    )
