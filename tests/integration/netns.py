"""A network namespace in which every Service address of the cluster is local: real cluster IPs, without a node."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import httpx

import controlplane
from controlplane import Child
from integration.service import ALONE, TOOLSET, Service, environment
from support.waiting import eventually

T = TypeVar("T")

_CLONE_NEWNET: Final = 0x4000_0000
_LOOPBACK: Final = "127.0.0.1"


def missing() -> str:
    """Return why there can be no namespace here; empty when there can."""
    if os.geteuid() != 0:
        return "only root can make a network namespace"
    name = f"toolset-try-{os.getpid()}"
    try:
        done = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no `ip` here: install iproute2"
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return done.stderr.strip()


class Netns:
    """One namespace; everything in it talks over its loopback device. Use :func:`namespace`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._forwards: list[_Forward] = []

    def close(self) -> None:
        """End what leads in or out."""
        for each in self._forwards:
            each.close()

    def command(self, *words: str) -> list[str]:
        """Return a command that runs inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def run(self, *words: str) -> None:
        """Run a command inside, to its end."""
        subprocess.run(self.command(*words), check=True, capture_output=True, text=True)

    def listener(self, address: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """Return a socket inside, used from outside; a stream socket listens."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, kind)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((address, port))
            if kind is socket.SOCK_STREAM:
                made.listen(128)
            return made

        return self._inside(make)

    def lead_to(self, port: int) -> None:
        """Let connections to the loopback ``port`` inside reach the same port outside."""
        server = self.listener(_LOOPBACK, port)
        self._forwards.append(_Forward(server, lambda: socket.create_connection((_LOOPBACK, port))))

    def lead_in(self, port: int, path: Path) -> None:
        """Let connections to a Unix socket outside reach the loopback ``port`` inside."""
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(8)
        dial = partial(self._inside, lambda: socket.create_connection((_LOOPBACK, port)))
        self._forwards.append(_Forward(server, dial))

    def _inside(self, make: Callable[[], T]) -> T:
        """Call ``make`` in a thread of its own that has moved into the namespace; a socket stays where it was made."""
        made: list[T] = []

        def work() -> None:
            with Path("/run/netns", self.name).open() as file:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(file.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(make())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return made[0]


@contextmanager
def namespace(api_url: str) -> Generator[Netns]:
    """Give a namespace from which the API server can be reached at its usual address."""
    netns = Netns(f"toolset-{os.getpid()}")
    resolver = Path("/etc/netns", netns.name)
    subprocess.run(["ip", "netns", "add", netns.name], check=True)
    try:
        resolver.mkdir(parents=True)
        (resolver / "resolv.conf").write_text(f"nameserver {_LOOPBACK}\noptions ndots:0 attempts:1\n")
        netns.run("ip", "link", "set", "lo", "up")
        netns.run("ip", "route", "add", "local", controlplane.SERVICE_CIDR, "dev", "lo")
        netns.lead_to(int(api_url.rpartition(":")[2]))
        yield netns
    finally:
        netns.close()
        shutil.rmtree(resolver)
        subprocess.run(["ip", "netns", "delete", netns.name], check=True)


class Confined(Service):
    """``toolset run`` inside a namespace; its connections are written down by the interpreter itself.

    Attributes:
        connections: The file that has every address a socket of it was asked to connect to, one a line.
    """

    def __init__(self, netns: Netns, kubeconfig: str, folder: Path, **settings: str) -> None:
        """Start it and return when its HTTP server listens."""
        folder.mkdir()
        self.connections = folder / "connections"
        self.connections.touch()
        (folder / "sitecustomize.py").write_text(_HOOK.format(path=str(self.connections)))
        port = controlplane.free_ports()
        defaults = ALONE | {"SERVER__HOST": "127.0.0.1", "SERVER__PORT": str(port), "SHUTDOWN__DELAY": "0s"}
        variables = environment(kubeconfig, {**defaults, **settings}) | {"PYTHONPATH": str(folder)}
        Child.__init__(self, netns.command(*TOOLSET, "run"), folder / "log", variables)
        eventually(lambda: self.logged("http server started") or self.exit_code is not None, within_s=15)
        assert self.exit_code is None, self._log.read_text("utf-8")
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(folder / "http")), base_url="http://toolset", trust_env=False
        )
        netns.lead_in(port, folder / "http")

    def dialled(self) -> set[str]:
        """Return the addresses that it connected to, or tried to."""
        return set(self.connections.read_text("utf-8").split())

    def memory_kib(self, what: str) -> int:
        """Return a line of its ``/proc/PID/status``: ``VmRSS`` for now, ``VmHWM`` for the most ever."""
        for line in Path("/proc", str(self._process.pid), "status").read_text("utf-8").splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1])
        raise AssertionError(what)

    def open_files(self) -> int:
        """Return how many files and sockets it has open."""
        return len(list(Path("/proc", str(self._process.pid), "fd").iterdir()))

    def stop(self) -> None:
        """End it."""
        self.end(signal.SIGTERM)
        self.close()


_HOOK: Final = """
import os, sys
_file = os.open({path!r}, os.O_WRONLY | os.O_APPEND)
def _note(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        os.write(_file, f"{{arguments[1][0]}}\\n".encode())
sys.addaudithook(_note)
"""


class Names:
    """The DNS of a namespace: IPv4 addresses by name, which a test may change at any time.

    Attributes:
        addresses: What is answered from now on.
        asked: How often each name was asked for.
    """

    def __init__(self, netns: Netns) -> None:
        self.addresses: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self._socket = netns.listener(_LOOPBACK, 53, socket.SOCK_DGRAM)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while query := self._socket.recvfrom(512):
                if query[0]:
                    self._socket.sendto(self._answer(query[0]), query[1])
                else:
                    return

    def _answer(self, query: bytes) -> bytes:
        labels, at = list[str](), 12
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        name, question = ".".join(labels), query[12 : at + 5]
        address = self.addresses.get(name)
        wanted = question[-4:-2] == b"\0\1"  # an A record
        self.asked[name] += wanted
        answers = b""
        if address and wanted:
            answers = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address)
        flags = b"\x81\x80" if address else b"\x81\x83"  # no such name
        counts = b"\0\1" + (b"\0\1" if answers else b"\0\0") + b"\0\0\0\0"
        return query[:2] + flags + counts + question + answers


class _Forward:
    """Passes connections on until it is closed; nothing of it outlives that."""

    def __init__(self, server: socket.socket, dial: Callable[[], socket.socket]) -> None:
        self._server = server
        self._dial = dial
        self._open: set[socket.socket] = {server}
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def close(self) -> None:
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inner, _ = self._server.accept()
                thread = threading.Thread(target=self._serve, args=(inner,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, inner: socket.socket) -> None:
        with inner, suppress(OSError), self._dial() as outer:
            both = {inner, outer}
            self._open |= both
            back = threading.Thread(target=_pump, args=(outer, inner))
            back.start()
            _pump(inner, outer)
            back.join()
            self._open -= both


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
