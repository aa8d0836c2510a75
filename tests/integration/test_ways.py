"""The way through the API server's proxy, and that nothing a backend says is repeated anywhere."""

import json
import socketserver
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import httpx
import pytest
from typing_extensions import override

from integration.cluster import CONFIG_MAPS, IS_OLDER, NAMESPACE, SERVICE_ACCOUNT, Cluster, Tool
from integration.service import Start
from support.waiting import eventually, settles

pytestmark = pytest.mark.integration

CANARY: Final = "c4n4ry"
ROLES: Final = "/apis/rbac.authorization.k8s.io/v1/namespaces/ways"


class _Server(socketserver.ThreadingTCPServer):
    """Says the same to everybody."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, words: bytes) -> None:
        self.words = words
        super().__init__(("127.0.0.1", 0), _Talk)


class _Talk(socketserver.StreamRequestHandler):
    @override
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        self.request.recv(65_536)  # a request, or the hello of TLS: where it speaks no HTTP, that is tried too
        self.wfile.write(self.server.words)


@contextmanager
def saying(words: bytes) -> Generator[int]:
    """Give the port of a server that answers with ``words``."""
    with _Server(words) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def granted(admin: httpx.Client) -> Generator[None]:
    """Let the service use the proxy inside the block."""
    rules = [{"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["get"]}]
    subject = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": NAMESPACE}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "proxy"}
    role = {"metadata": {"name": "proxy"}, "rules": rules}
    binding = {"metadata": {"name": "proxy"}, "subjects": [subject], "roleRef": reference}
    admin.post(f"{ROLES}/roles", json=role).raise_for_status()
    admin.post(f"{ROLES}/rolebindings", json=binding).raise_for_status()
    try:
        yield
    finally:
        admin.delete(f"{ROLES}/rolebindings/proxy").raise_for_status()
        admin.delete(f"{ROLES}/roles/proxy").raise_for_status()


def test_from_outside_the_cluster_the_api_server_is_asked_and_its_own_answers_are_distinguished_from_a_backends(
    cluster: Cluster, start: Start
) -> None:
    tool = Tool("", "ways", "elasticsearch", 9200, labels={"app": "elasticsearch"})  # 401 and 403 mean alive
    cluster.create(tool)
    service = start(cluster, (), HEALTH__VIA="apiserver-proxy", HEALTH__INTERVAL="500ms")

    def details() -> set[str]:
        return {line["detail"] for line in service.logged("probe failed")}

    refused = "the API server refuses services/proxy with 403"
    settles(details, {refused}, within_s=10)
    missed = f"the API server reached nothing there and answered {404 if IS_OLDER else 503}"
    with granted(cluster.admin):  # there are no pods here, and older releases miss the Endpoints first
        settles(details, {refused, missed}, within_s=15)
    assert cluster.urls() == {}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(b"HTTP/1.1 503 %c\r\nX-%c: %c\r\nContent-Length: 6\r\n\r\n%c", id="a failure"),
        pytest.param(b"HTTP/1.1 302 %c\r\nLocation: http://%c/%c\r\nSet-Cookie: %c=%c\r\n\r\n", id="a redirect"),
        pytest.param(b"HTTP/1.1 200 OK\r\nServer: %c\r\nContent-Length: 6\r\n\r\n%c", id="another identity"),
        pytest.param(b"%c %c %c\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\n%c\r\n\r\n", id="a broken header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%c\r\n", id="a broken chunk"),
    ],
)
def test_nothing_that_a_backend_says_is_repeated_anywhere(cluster: Cluster, start: Start, words: bytes) -> None:
    with saying(words.replace(b"%c", CANARY.encode())) as port:
        tool = Tool(f"127.0.0.1:{port}", "ways", "metrics", 9090, "web", annotations={"toolset-path": f"{CANARY}\n!"})
        plain = Tool(f"127.0.0.1:{port}", "ways", "other", 9090, "web")
        cluster.create(tool, plain)
        service = start(cluster, (tool, plain), HEALTH__INTERVAL="200ms", LOG__LEVEL="debug")
        eventually(lambda: len(service.logged("probe failed")) >= 4, within_s=10)
        reported = json.dumps(service.lines()) + service._http.get("/metrics").text + json.dumps(cluster.data())
        reported += cluster.admin.get(f"/apis/events.k8s.io/v1/namespaces/{NAMESPACE}/events").text
        reported += cluster.admin.get(CONFIG_MAPS).text
    assert CANARY not in reported
