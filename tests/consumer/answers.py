"""One server that is many backends: the Host header says which one is asked, and every request is remembered."""

import json
import ssl
import threading
from collections.abc import Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec
from typing_extensions import override

LOOPBACK: Final = "127.0.0.1"
_HEALTH: Final = {"cluster_name": "logs", "status": "green", "number_of_nodes": 1}
_ROOT: Final = {"cluster_name": "logs", "cluster_uuid": "QlXk1sZyTmW3vRb0aJcE5g", "version": {"number": "8.15.0"}}
_UP: Final = {"metric": {"__name__": "up", "job": "shop"}, "value": [1700000000, "1"]}
ANSWERS: Final[Mapping[str, Mapping[str, object]]] = {
    "prometheus": {"/api/v1/query": {"status": "success", "data": {"resultType": "vector", "result": [_UP]}}},
    "grafana": {"/api/dashboards/tags": [], "/api/search": [], "/api/health": {"database": "ok"}},
    "jaeger": {"/api/services": {"data": ["shop"], "total": 1}},
    "elasticsearch": {"/": _ROOT, "/_cluster/health": _HEALTH, "/_cat/indices/*": [{"index": "logs-1"}]},
    "loki": {"/loki/api/v1/query_range": {"status": "success", "data": {"resultType": "streams", "result": []}}},
    "tempo": {"/api/search": {"traces": []}},
    "victorialogs": {"/health": "OK", "/select/logsql/query": {"_msg": "shop is open"}},
    "alertmanager": {"/api/v2/status": {"versionInfo": {"version": "0.28.1"}}},
    "zipkin": {"/api/v2/services": ["shop"]},
    "custom": {"/ready": {"ready": True}},
}
"""By kind of backend, what it answers by path below its base path; any other path is not found."""


class Backend(msgspec.Struct, frozen=True):
    """One backend.

    Attributes:
        kind: Which of the answers it gives.
        base: The path below which it answers.
        authorization: The header without which it answers 401; empty when it wants none.
        hangs: Whether it never answers.
    """

    kind: str
    base: str = ""
    authorization: str = ""
    hangs: bool = False


class Request(msgspec.Struct, frozen=True):
    """What was asked."""

    method: str
    authority: str
    path: str
    headers: Mapping[str, str]


class Server:
    """The server; use it as a context manager."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._lock = threading.Lock()
        self._backends: dict[str, Backend] = {}
        self._requests: list[Request] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer((LOOPBACK, 0), partial(_Handler, self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.default_port = 80 if tls is None else 443
        self.address = f"{LOOPBACK}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def put(self, backends: Mapping[str, Backend]) -> None:
        """Be these backends, by host and port, and no others; forget what was asked."""
        with self._lock:
            self._backends = dict(backends)
            self._requests.clear()

    def requests(self, authority: str = "") -> list[Request]:
        """Return what was asked of one backend, or of all."""
        with self._lock:
            return [each for each in self._requests if authority in ("", each.authority)]

    def answer(self, request: Request) -> tuple[int, object]:
        with self._lock:
            self._requests.append(request)
            backend = self._backends.get(request.authority)
        if backend is None:
            return 404, {"error": "nobody is here"}
        if backend.hangs:
            self._closing.wait(60)
        if backend.authorization and request.headers.get("authorization") != backend.authorization:
            return 401, {"error": "missing login"}
        path = urlsplit(request.path).path
        found = ANSWERS[backend.kind].get(path.removeprefix(backend.base)) if path.startswith(backend.base) else None
        return (404, {"error": "not found"}) if found is None else (200, found)


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, server: Server, *arguments: object) -> None:
        self._answers = server
        super().__init__(*arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] # the server's own

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._respond()

    def _respond(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = headers.get("host", "")
        authority = host if ":" in host else f"{host}:{self._answers.default_port}"
        request = Request(self.command, authority, self.path, headers)
        status, content = self._answers.answer(request)
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""
