"""What stands behind the Services: real Prometheus and VictoriaMetrics, and the answers of the other products."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Self

import httpx
import msgspec
from typing_extensions import override

import controlplane
from controlplane import Child
from integration.cluster import Tool

ROOT: Final = Path(__file__).resolve().parents[2]
LOOPBACK: Final = "127.0.0.1"


class Answer(msgspec.Struct, frozen=True):
    """What a product says at one path."""

    status: int
    content_type: str
    body: str


_JSON: Final = "application/json; charset=UTF-8"
PRODUCTS: Final[Mapping[str, Mapping[str, Answer]]] = {
    "prometheus": {
        "/api/v1/query": Answer(
            200, _JSON, '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}'
        ),
    },
    "grafana": {
        "/": Answer(302, "text/html; charset=utf-8", '<a href="/login">Found</a>.'),
        "/api/health": Answer(200, _JSON, '{"commit": "af8d5d9c", "database": "ok", "version": "11.6.0"}'),
    },
    "grafana below /a and /b": {
        f"{base}/api/health": Answer(200, _JSON, '{"database": "ok"}') for base in ("", "/a", "/b")
    },
    "jaeger": {
        "/": Answer(200, "text/html; charset=utf-8", "<!doctype html><title>Jaeger UI</title>"),
        "/api/services": Answer(
            200, _JSON, '{"data": ["checkout"], "total": 1, "limit": 0, "offset": 0, "errors": null}'
        ),
    },
    "elasticsearch": {
        "/": Answer(200, _JSON, '{"cluster_name": "logs", "cluster_uuid": "%CLUSTER%", "version": {}}'),
        "/_cluster/health": Answer(200, _JSON, '{"cluster_name": "logs", "status": "green"}'),
    },
    "elasticsearch behind a login": {
        "/": Answer(401, _JSON, '{"error": {"type": "security_exception"}, "status": 401}')
    },
    "failing": {"/": Answer(503, _JSON, '{"error": {"reason": "no master"}}')},
    "custom": {"/ready": Answer(200, "text/plain", "ready\n")},
}
"""By product, what it answers by path; any other path is not found."""


def _of(answer: Answer, authority: str) -> Answer:
    """Return ``answer`` as the cluster at ``authority`` gives it, which is a cluster of its own."""
    name = hashlib.sha256(authority.encode()).hexdigest()[:22]
    return msgspec.structs.replace(answer, body=answer.body.replace("%CLUSTER%", name))


class Answers:
    """One HTTP server that is many products: the Host header says which one is asked.

    Attributes:
        requests: How often each was asked.
        arrivals: When, on the monotonic clock.
        takes_s: How long an answer takes, seconds.
        authorizations: The values of the header ``Authorization``.
    """

    def __init__(self) -> None:
        self._products: dict[str, Mapping[str, Answer]] = {}
        self._failing: dict[str, int] = {}
        self._lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.arrivals: list[float] = []
        self.authorizations: set[str] = set()
        self.takes_s = 0.0
        self._server = _Server((LOOPBACK, 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self.address = f"{LOOPBACK}:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def put(self, authority: str, product: str) -> None:
        """Let ``authority`` (host and port) be a ``product``."""
        with self._lock:
            self._products[authority] = {path: _of(answer, authority) for path, answer in PRODUCTS[product].items()}

    def fail(self, authority: str, times: int = 1_000_000) -> None:
        """Answer 503 to the next requests for ``authority``, as a proxy without a backend does."""
        with self._lock:
            self._failing[authority] = times

    def heal(self) -> None:
        """Let everything that fails answer again, and at once."""
        with self._lock:
            self.takes_s = 0.0
            self._failing.clear()

    def answer(self, authority: str, path: str) -> Answer:
        with self._lock:
            self.arrivals.append(time.monotonic())
            self.requests[authority] += 1
            if left := self._failing.get(authority, 0):
                self._failing[authority] = left - 1
                return Answer(503, "text/plain", "no healthy upstream")
            return self._products.get(authority, {}).get(path.partition("?")[0], Answer(404, "text/plain", "not found"))


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # with five, a sixth that comes at once waits a second for its next try


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, answers: Answers, *arguments: object) -> None:
        self._answers = answers
        super().__init__(*arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the server's own

    def do_GET(self) -> None:
        if (authorization := self.headers["Authorization"]) is not None:
            self._answers.authorizations.add(authorization)
        answer = self._answers.answer(self.headers["Host"], self.path)
        threading.Event().wait(self._answers.takes_s)
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


class Daemon:
    """A real product on a loopback port of its own; it can die and come back."""

    def __init__(self, directory: Path, port: int, healthy: str, command: Sequence[str]) -> None:
        directory.mkdir()
        self.address = f"{LOOPBACK}:{port}"
        self._command = [word.format(address=self.address, directory=directory) for word in command]
        self._log = directory / "log"
        self._healthy = healthy
        self._child: Child | None = None

    def start(self) -> None:
        self._child = Child(self._command, self._log)
        with httpx.Client(base_url=f"http://{self.address}", trust_env=False) as client:
            self._child.wait_for(client, self._healthy)

    def kill(self) -> None:
        """End it with SIGKILL; a no-op when it does not run."""
        if self._child is not None:
            self._child.end(signal.SIGKILL)
            self._child = None


def prometheus(directory: Path, port: int, program: str = "prometheus") -> Daemon:
    """Return a Prometheus that scrapes nothing, not started yet; ``directory`` is made."""
    command = [
        binary(program),
        "--config.file=/dev/null",
        "--storage.tsdb.path={directory}/data",
        "--web.listen-address={address}",
    ]
    return Daemon(directory, port, "/-/ready", command)


def prometheus_3(directory: Path, port: int) -> Daemon:
    """Return a Prometheus 3 that scrapes nothing, not started yet; ``directory`` is made."""
    return prometheus(directory, port, "prometheus-3")


def victoria_metrics(directory: Path, port: int) -> Daemon:
    """Return a VictoriaMetrics, not started yet; ``directory`` is made."""
    command = [
        binary("victoria-metrics"),
        "-storageDataPath={directory}/data",
        "-httpListenAddr={address}",
        "-memory.allowedBytes=64MB",
    ]
    return Daemon(directory, port, "/health", command)


def prometheus_agent(directory: Path, port: int, program: str = "prometheus") -> Daemon:
    """Return a Prometheus that only forwards what it scrapes, not started yet: it answers no query."""
    directory.mkdir()
    config = directory / "agent.yaml"
    config.write_text("remote_write: [{url: 'http://127.0.0.1:1/write'}]\n", "utf-8")
    command = [
        binary(program),
        "--enable-feature=agent" if program == "prometheus" else "--agent",  # since version 3
        f"--config.file={config}",
        "--storage.agent.path={directory}/data",
        "--web.listen-address={address}",
    ]
    return Daemon(directory / "agent", port, "/-/ready", command)


def alertmanager(directory: Path, port: int) -> Daemon:
    """Return an Alertmanager, not started yet; ``directory`` is made."""
    directory.mkdir()
    config = directory / "alertmanager.yaml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n", "utf-8")
    command = [
        binary("alertmanager"),
        f"--config.file={config}",
        "--storage.path={directory}/data",
        "--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    return Daemon(directory / "alertmanager", port, "/-/ready", command)


def victoria_logs(directory: Path, port: int) -> Daemon:
    """Return a VictoriaLogs, not started yet; ``directory`` is made."""
    command = [
        binary("victoria-logs"),
        "-storageDataPath={directory}/data",
        "-httpListenAddr={address}",
        "-memory.allowedBytes=64MB",
    ]
    return Daemon(directory, port, "/health", command)


def opensearch(directory: Path, port: int) -> Daemon:
    """Return an OpenSearch without plugins, not started yet; ``directory`` is made."""
    return Daemon(directory, port, "/", [binary("opensearch"), str(port), "{directory}"])


def jaeger(directory: Path, port: int) -> Daemon:
    """Return a Jaeger that keeps traces in memory, not started yet; it takes three ports from ``port`` on."""
    directory.mkdir()
    config = directory / "jaeger.yaml"
    config.write_text(
        f"""\
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines: {{traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  jaeger_storage: {{backends: {{memory: {{memory: {{max_traces: 100}}}}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "{LOOPBACK}:{port}"}}
    grpc: {{endpoint: "{LOOPBACK}:{port + 1}"}}
receivers: {{otlp: {{protocols: {{http: {{endpoint: "{LOOPBACK}:{port + 2}"}}}}}}}}
exporters: {{jaeger_storage_exporter: {{trace_storage: memory}}}}
""",
        "utf-8",
    )
    return Daemon(directory / "jaeger", port, "/api/services", [binary("jaeger"), f"--config={config}"])


def missing() -> list[str]:
    """Return the real products that this machine does not have."""
    return [name for name in ("prometheus", "victoria-metrics", "prometheus-alertmanager") if find(name) is None]


class Backends:
    """Every backend of the tests; use it as a context manager."""

    def __init__(self, directory: Path) -> None:
        port = controlplane.free_ports()
        self._daemons = {
            "prometheus": prometheus(directory / "prometheus", port),
            "victoria-metrics": victoria_metrics(directory / "victoria-metrics", port + 1),
        }

    def __enter__(self) -> Self:
        self.answers = Answers()
        self._closed = socket.socket()  # bound and never listening: nobody else can take the port, and it refuses
        self._closed.bind((LOOPBACK, 0))
        for daemon in self._daemons.values():
            daemon.start()
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._daemons.values():
            daemon.kill()
        self._closed.close()
        self.answers.close()

    def connect_to(self, tools: Iterable[Tool]) -> dict[str, str]:
        """Put a backend behind each of ``tools``; return where it listens, by the host and port of its Service."""
        return {tool.authority: self._address(tool) for tool in tools}

    def _address(self, tool: Tool) -> str:
        if tool.backend in self._daemons:
            return self._daemons[tool.backend].address
        if tool.backend in PRODUCTS:
            self.answers.put(tool.authority, tool.backend)
            return self.answers.address
        if tool.backend == "nothing":
            return f"{LOOPBACK}:{self._closed.getsockname()[1]}"
        return tool.backend


def find(name: str) -> str | None:
    """Return where the program ``name`` is."""
    done = subprocess.run(
        [ROOT / "hack" / "backends" / "debian", "--where"], stdout=subprocess.PIPE, text=True, check=True
    )
    return shutil.which(name, path=f"{done.stdout.strip()}{os.pathsep}{os.environ['PATH']}")


def binary(name: str) -> str:
    """Return where the program ``name`` is, which has to be here."""
    found = find(name)
    assert found is not None, f"there is no {name}: run hack/backends/all"
    return found
