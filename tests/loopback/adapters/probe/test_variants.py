"""Which variant of a candidate answers, asked over real connections."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio
import pytest
import trustme
from aiohttp import web
from anyio.abc import SocketStream

from support.api_server import Answer, FixedCredentials, ScriptedApiServer, raw_server, serving, status_error
from support.tls import server_tls
from toolset.adapters.probe import HttpProber, ProberOptions
from toolset.core.candidate import Candidate, Evidence, HealthCheck, Variant
from toolset.core.detection.checks import ELASTICSEARCH_API, PROMETHEUS_API
from toolset.core.health.http_config import HttpConfig
from toolset.core.health.thresholds import Failure, Outcome
from toolset.model import Key

HOST: Final = "prometheus.monitoring.svc.cluster.local"
PORT: Final = 9090
PLAIN, TLS = Variant("http", PORT, ""), Variant("https", PORT, "")
BELOW, TLS_BELOW = Variant("http", PORT, "/prometheus"), Variant("https", PORT, "/prometheus")
VECTOR: Final = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
UUID: Final = "4ebJRnOKQvW7WbwXyAu_Rw"


def prometheus(
    first: Variant = PLAIN, *, check: HealthCheck = PROMETHEUS_API, health_path: str = "", pinned: bool = False
) -> Candidate:
    """Return a candidate of which nothing is stated, or all."""
    found = Candidate(
        key=Key("monitoring", "prometheus"),
        type="prometheus",
        product="prometheus",
        evidence=Evidence.LABEL,
        scheme="http",
        host=HOST,
        port=PORT,
        path="",
        check=check,
        health_path=health_path,
        fallbacks=(TLS, BELOW, TLS_BELOW),
    )
    return found.at(first).alone() if pinned else found.at(first)


def prober(url: str, config: HttpConfig | None = None, *, timeout_s: float = 5.0) -> HttpProber:
    moved = {f"{HOST}:{PORT}": url.rpartition("//")[2]}
    return HttpProber(ProberOptions(timeout_s, connect_to=moved, http_configs={"prometheus": config or HttpConfig()}))


class Below:
    """Serves the API of Prometheus below a base path; notes what was requested."""

    def __init__(self, base: str = "", body: bytes = VECTOR) -> None:
        self._base = base
        self._body = body
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, dict(request.headers)))
        if request.path == f"{self._base}/api/v1/query" and request.query.get("query") == "vector(1)":
            return web.Response(body=self._body)
        return web.Response(status=404)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, str]:
    made, path = trustme.CA(), tmp_path_factory.mktemp("ca") / "ca.pem"
    made.cert_pem.write_to_path(str(path))
    return made, str(path)


async def test_tls_behind_a_port_that_says_nothing_is_found(authority: tuple[trustme.CA, str]) -> None:
    server = Below()
    async with serving(server.handle, server_tls(authority[0], host=HOST)) as url:
        asking = prober(url, HttpConfig(ca_file=authority[1]))
        outcome = await asking.probe(prometheus())
        assert (outcome.alive, outcome.variant, outcome.requests) == (True, TLS, 2)
        assert outcome.how == "https after http did not speak HTTP"
        again = await asking.probe(prometheus().at(TLS).alone())
    assert (again.alive, again.variant, again.requests) == (True, None, 1)
    assert len(server.asked) == 2  # the plain request was none of its


async def test_a_server_that_answers_400_to_plain_http_is_found_over_tls(authority: tuple[trustme.CA, str]) -> None:
    """As Go's net/http does, and so Prometheus."""
    context, server = server_tls(authority[0], host=HOST), Below()

    async def talk(stream: SocketStream) -> None:
        head = await stream.receive()
        if not head.startswith(b"\x16"):
            await stream.send(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
            return
        async with await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2])) as inner:
            await inner.send(head)
            async with anyio.create_task_group() as group:
                group.start_soon(_pipe, stream, inner)
                await _pipe(inner, stream)
                group.cancel_scope.cancel()

    async with serving(server.handle, context) as url, raw_server(talk) as port:
        outcome = await prober(f"//127.0.0.1:{port}", HttpConfig(ca_file=authority[1])).probe(prometheus())
    assert (outcome.alive, outcome.variant) == (True, TLS)
    assert outcome.how == "https after http answered 400"


async def _pipe(source: SocketStream, sink: SocketStream) -> None:
    try:
        async for piece in source:
            await sink.send(piece)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        return


async def test_plain_http_where_tls_was_likely_is_found() -> None:
    async with serving(Below().handle) as url:
        outcome = await prober(url).probe(prometheus(TLS))
    assert (outcome.alive, outcome.variant) == (True, PLAIN)
    assert outcome.how == "http after https did not speak TLS"


async def test_a_certificate_that_is_not_trusted_never_leads_to_plain_http(authority: tuple[trustme.CA, str]) -> None:
    async def talk(stream: SocketStream) -> None:
        """Answer both, as a trap would."""
        opened.append((await stream.receive())[:1])
        await stream.send(b"HTTP/1.1 200 OK\r\n\r\n" + VECTOR)

    opened: list[bytes] = []
    server = Below()
    async with serving(server.handle, server_tls(authority[0], host=HOST)) as url:
        outcome = await prober(url).probe(prometheus(TLS))
    assert (outcome.alive, outcome.failure, outcome.requests) == (False, Failure.TLS, 1)
    assert server.asked == []

    async with raw_server(talk) as port:  # it is not TLS that fails here: plain HTTP it is
        assert (await prober(f"//127.0.0.1:{port}").probe(prometheus(TLS))).variant == PLAIN
    assert opened == [b"\x16", b"G"]


async def test_a_tls_alert_never_leads_to_plain_http() -> None:
    async def talk(stream: SocketStream) -> None:
        opened.append((await stream.receive())[:1])
        await stream.send(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal: handshake_failure

    opened: list[bytes] = []
    async with raw_server(talk) as port:
        outcome = await prober(f"//127.0.0.1:{port}").probe(prometheus(TLS))
    assert outcome == Outcome(alive=False, detail="TLS failed", failure=Failure.TLS)
    assert opened == [b"\x16"]


async def test_a_known_sub_path_is_found() -> None:
    server = Below("/prometheus")
    async with serving(server.handle) as url:
        outcome = await prober(url).probe(prometheus())
    assert (outcome.variant, outcome.how) == (BELOW, "/prometheus after / answered 404")
    assert [path for path, _ in server.asked] == [
        "/api/v1/query?query=vector(1)",
        "/prometheus/api/v1/query?query=vector(1)",
    ]


async def test_an_unknown_sub_path_says_what_was_met_and_what_decides() -> None:
    async with serving(Below("/elsewhere").handle) as url:
        outcome = await prober(url).probe(prometheus())
    assert (
        outcome.detail
        == "/: answered 404; /prometheus: answered 404; annotate it with kubernaut.io/toolset-path to decide"
    )


async def test_a_redirect_is_not_followed_and_leads_to_the_known_sub_path() -> None:
    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path.startswith("/prometheus/"):
            return web.Response(body=VECTOR)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    asked: list[str] = []
    async with serving(handle) as url:
        outcome = await prober(url).probe(prometheus())
    assert outcome.variant == BELOW
    assert asked == ["/api/v1/query", "/prometheus/api/v1/query"]


@pytest.mark.parametrize(
    ("status", "body", "requests"),
    [
        pytest.param(200, b"<html><form>Sign in</form></html>", 2, id="a login page that answers everything"),
        pytest.param(200, b'{"status":"success","data":{}}', 2, id="something that says success"),
        pytest.param(200, b"Prometheus Server is Healthy.", 2, id="a health page"),
        pytest.param(404, b"404 page not found", 2, id="a Thanos sidecar or an Alertmanager"),
        pytest.param(
            422, b'{"status":"error","error":"unavailable with Prometheus Agent"}', 1, id="a Prometheus agent"
        ),
        pytest.param(503, b"Service Unavailable", 1, id="a server that replays its log"),
    ],
)
async def test_what_answers_no_query_is_not_alive(status: int, body: bytes, requests: int) -> None:
    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, body=body)

    asked: list[str] = []
    async with serving(handle) as url:
        outcome = await prober(url).probe(prometheus())
    assert not outcome.alive
    assert outcome.identity_mismatch is (status == 200)
    assert len(asked) == requests


async def test_headers_never_follow_to_another_scheme(tmp_path: Path, authority: tuple[trustme.CA, str]) -> None:
    token, server = tmp_path / "token", Below()
    token.write_text("Bearer secret")
    config = HttpConfig(
        ca_file=authority[1], headers_from={"Authorization": str(token)}, services=("monitoring/prometheus",)
    )
    async with serving(server.handle, server_tls(authority[0], host=HOST)) as url:
        asking = prober(url, config)
        assert (await asking.probe(prometheus())).variant == TLS
        assert (await asking.probe(prometheus().at(TLS).alone())).alive  # nor when it is what answered last
        assert (await asking.probe(prometheus(TLS).at(PLAIN))).variant == TLS
    assert [headers.get("Authorization") for _, headers in server.asked] == [None, None, None]


async def test_headers_follow_to_another_path(tmp_path: Path) -> None:
    token, server = tmp_path / "token", Below("/prometheus")
    token.write_text("Bearer secret")
    config = HttpConfig(headers_from={"Authorization": str(token)}, services=("monitoring/prometheus",))
    async with serving(server.handle) as url:
        assert (await prober(url, config).probe(prometheus())).variant == BELOW
    assert [headers.get("Authorization") for _, headers in server.asked] == ["Bearer secret"] * 2


async def test_all_variants_share_one_deadline() -> None:
    async def talk(stream: SocketStream) -> None:
        if (await stream.receive()).startswith(b"GET "):
            await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        await anyio.sleep_forever()

    async with raw_server(talk) as port:
        began = anyio.current_time()
        outcome = await prober(f"//127.0.0.1:{port}", timeout_s=0.3).probe(prometheus())
        took_s = anyio.current_time() - began
    assert outcome.failure is Failure.TIMEOUT
    assert outcome.detail.startswith("http: answered 400; https: no answer within 0.3 s; annotate it with ")
    assert took_s < 5.0


@pytest.mark.parametrize(
    ("status", "headers", "body", "unauthorized"),
    [
        pytest.param(401, {"WWW-Authenticate": 'Basic realm="OpenSearch Security"'}, b"Unauthorized", True, id="realm"),
        pytest.param(403, {}, b'{"error":{"type":"security_exception"}}', True, id="body"),
        pytest.param(401, {"WWW-Authenticate": 'Basic realm="proxy"'}, b"", False, id="a proxy's"),
        pytest.param(403, {}, b"RBAC: access denied", False, id="a mesh's"),
    ],
)
async def test_a_challenge_of_the_product_is_a_state_of_its_own(
    status: int, headers: dict[str, str], body: bytes, unauthorized: bool
) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers, body=body)

    async with serving(handle) as url:
        outcome = await prober(url).probe(prometheus(check=ELASTICSEARCH_API))
    if unauthorized:
        assert outcome == Outcome(alive=True, status=status, unauthorized=True)
        assert outcome.word == "unauthorized"
    else:
        detail = f"answered {status}"
        assert outcome == Outcome(alive=False, detail=detail, failure=Failure.STATUS, status=status)


async def test_a_cluster_reports_its_name() -> None:
    root = Answer(b'{"cluster_name":"logs","cluster_uuid":"%s","version":{}}' % UUID.encode())
    async with ScriptedApiServer(root).serve() as server:
        outcome = await prober(server.url).probe(prometheus(check=ELASTICSEARCH_API))
    assert outcome == Outcome(alive=True, status=200, backend_id=UUID)


async def test_the_health_path_of_an_annotation_is_requested_as_well() -> None:
    async with ScriptedApiServer(Answer(VECTOR), Answer(b"Ready")).serve() as server:
        assert (await prober(server.url).probe(prometheus(health_path="/-/ready"))).alive
    assert [asked.path for asked in server.asked] == ["/api/v1/query", "/-/ready"]


async def test_a_health_path_that_fails_leads_to_no_other_variant() -> None:
    async with ScriptedApiServer(Answer(VECTOR), Answer(b"", 404)).serve() as server:
        outcome = await prober(server.url).probe(prometheus(health_path="/-/ready"))
    detail = "answered 404, at the health path of its annotation"
    assert outcome == Outcome(alive=False, detail=detail, failure=Failure.STATUS)
    assert len(server.asked) == 2


async def test_many_services_in_one_answer_prove_a_jaeger_that_is_read_in_part() -> None:
    names = b",".join(b'"service-%05d"' % number for number in range(6_000))
    jaeger = HealthCheck("/api/services", fields=("data",))
    async with ScriptedApiServer(Answer(b'{"data":[%s],"total":6000}' % names)).serve() as server:
        assert (await prober(server.url).probe(prometheus(check=jaeger))).alive


@pytest.mark.parametrize(
    "message",
    [
        "error trying to reach service: http: server gave HTTP response to HTTPS client",
        "error trying to reach service: EOF",
        'error trying to reach service: net/http: HTTP/1.x transport connection broken: malformed HTTP response "x"',
    ],
)
async def test_the_api_server_reports_the_other_scheme_too(message: str) -> None:
    refusal = status_error(503, "ServiceUnavailable", message)
    async with ScriptedApiServer(refusal, Answer(VECTOR)).serve() as server:
        asking = HttpProber(ProberOptions(5), api_server=FixedCredentials(server.url))
        outcome = await asking.probe(prometheus())
    assert outcome.variant == TLS
    assert [asked.path.split("/")[6] for asked in server.asked] == ["http:prometheus:9090", "https:prometheus:9090"]
    assert server.asked[1].params == {"query": "vector(1)"}
