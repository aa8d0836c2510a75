import gzip
import ssl
from pathlib import Path

import anyio
import msgspec
import pytest
import trustme
from anyio.abc import SocketStream
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from support.api_server import (
    Answer,
    ScriptedApiServer,
    raw_server,
    request_head,
    saying,
    silence,
)
from support.tls import server_tls
from support.waiting import until
from toolset.adapters.probe import AddressGuard, HttpProber, ProberOptions, Resolver
from toolset.adapters.probe.limits import BODY_LIMIT_BYTES
from toolset.core.candidate import Candidate, Evidence, HealthCheck
from toolset.core.detection.checks import LOKI_API, PROMETHEUS_API
from toolset.core.health.thresholds import Failure, Outcome
from toolset.model import Key

ALIVE = Outcome(alive=True, status=200)
REFUSED = Outcome(alive=False, detail="connection refused or host not found", failure=Failure.REFUSED)
OK = b"HTTP/1.1 200 OK\r\n\r\n"
HOST = "prometheus.monitoring.svc.cluster.local"


class Loopback(AddressGuard):
    """Lets servers of tests be dialled at the address where they are; what it refuses else is tested elsewhere."""

    @override
    def objection(self, address: str) -> str:
        return "" if address in {"127.0.0.1", "::1"} else super().objection(address)


def timeout(after_s: float) -> Outcome:
    return Outcome(alive=False, detail=f"no answer within {after_s:g} s", failure=Failure.TIMEOUT)


def candidate(
    port: int = 9090,
    *,
    address: str = "127.0.0.1",
    host: str = HOST,
    scheme: str = "http",
    path: str = "",
    check: HealthCheck | None = None,
) -> Candidate:
    return Candidate(
        key=Key("monitoring", "prometheus"),
        type="prometheus",
        product="prometheus",
        evidence=Evidence.LABEL,
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        check=check or HealthCheck("/-/healthy"),
        address=address,
    )


def port_of(server: ScriptedApiServer) -> int:
    return int(server.url.rpartition(":")[2])


async def probe(asked: Candidate, options: ProberOptions | None = None) -> Outcome:
    return await HttpProber(options or ProberOptions(timeout_s=5), guard=Loopback()).probe(asked)


async def test_the_health_path_is_asked_below_the_base_path_under_the_services_own_name() -> None:
    server = ScriptedApiServer(Answer(b"Prometheus is Healthy."))
    async with server.serve():
        asked = candidate(port_of(server), path="/base")
        assert await probe(asked) == ALIVE

    (request,) = server.asked
    assert (request.method, request.path) == ("GET", "/base/-/healthy")
    assert request.headers["host"] == f"{HOST}:{asked.port}"
    assert request.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("code", "statuses", "alive"),
    [
        (200, (), True),
        (204, (), True),
        (299, (), True),
        (301, (), False),
        (402, (), False),
        (401, (401, 403), True),
        (403, (401, 403), True),
        (404, (401, 403), False),
        (503, (), False),
    ],
)
async def test_the_status_decides(code: int, statuses: tuple[int, ...], *, alive: bool) -> None:
    server = ScriptedApiServer(Answer(b"", code))
    async with server.serve():
        outcome = await probe(candidate(port_of(server), check=HealthCheck("/", statuses)))

    if alive:
        assert outcome == Outcome(alive=True, status=code)
    else:
        assert outcome == Outcome(alive=False, detail=f"answered {code}", failure=Failure.STATUS, status=code)


@pytest.mark.parametrize("check", [LOKI_API, PROMETHEUS_API], ids=["Loki", "Mimir"])
async def test_a_backend_with_tenants_is_alive_and_asks_for_one(check: HealthCheck) -> None:
    async with ScriptedApiServer(Answer(b"no org id\n", 401)).serve() as server:
        outcome = await probe(candidate(port_of(server), check=check))
    assert outcome == Outcome(alive=True, status=401, unauthorized=True, wants_tenant=True)
    assert outcome.word == "unauthorized"


@pytest.mark.parametrize("code", [401, 403])
async def test_a_challenge_is_alive_and_asks_for_credentials(code: int) -> None:
    async with ScriptedApiServer(Answer(b"", code)).serve() as server:
        outcome = await probe(candidate(port_of(server)))
    assert outcome == Outcome(alive=True, status=code, unauthorized=True)


@pytest.mark.parametrize(
    ("body", "code", "proven"),
    [
        pytest.param(b"Prometheus Server is Healthy.\n", 200, True, id="a Prometheus"),
        pytest.param(b"OK", 200, False, id="an Alertmanager"),
        pytest.param(b"", 200, False, id="an empty answer"),
        pytest.param(b"x" * BODY_LIMIT_BYTES + b"Prometheus", 200, False, id="beyond what is read"),
        pytest.param(b"", 401, False, id="alive behind authentication, whatever it is"),
    ],
)
async def test_weak_evidence_has_to_be_proven_by_the_answer(body: bytes, code: int, *, proven: bool) -> None:
    check = HealthCheck("/-/healthy", statuses=(401,), identity="Prometheus")
    async with ScriptedApiServer(Answer(body, code)).serve() as server:
        outcome = await probe(candidate(port_of(server), check=check))

    detail = "the answer does not identify prometheus"
    identity_mismatch = Outcome(
        alive=False, detail=detail, identity_mismatch=True, failure=Failure.IDENTITY, status=code
    )
    assert outcome == (ALIVE if proven else identity_mismatch)


async def test_a_redirect_is_not_followed() -> None:
    server = ScriptedApiServer(Answer(b"", 302, {"Location": "/-/healthy"}), Answer())
    async with server.serve():
        outcome = await probe(candidate(port_of(server)))
        assert outcome == Outcome(alive=False, detail="answered 302", failure=Failure.STATUS, status=302)

    assert len(server.asked) == 1


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_in_the_environment_does_not_count(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:1")
    async with ScriptedApiServer(Answer()).serve() as server:
        assert await probe(candidate(port_of(server))) == ALIVE


async def test_a_compressed_body_is_not_decompressed() -> None:
    bomb = gzip.compress(b"\0" * 100_000_000, compresslevel=1)[:BODY_LIMIT_BYTES]
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    async with raw_server(saying(head, b"\xff" * len(bomb))) as port:  # would not even decode
        assert await probe(candidate(port)) == ALIVE


async def test_a_body_of_ten_gigabytes_is_read_to_a_bound() -> None:
    sent = 0
    hung_up = anyio.Event()

    async def talk(stream: SocketStream) -> None:
        nonlocal sent
        await request_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        try:
            while True:
                await stream.send(b"x" * 65536)
                sent += 65536
        finally:
            hung_up.set()

    async with raw_server(talk) as port:
        assert await probe(candidate(port)) == ALIVE
        with anyio.fail_after(5):
            await hung_up.wait()

    assert sent < 50_000_000  # what the kernel's buffers took


async def test_a_body_that_drips_for_ever_runs_out_of_time() -> None:
    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(OK)
        while True:
            await stream.send(b".")
            await anyio.sleep(0.01)

    async with raw_server(talk) as port:
        outcome = await probe(candidate(port), ProberOptions(timeout_s=0.2))

    assert outcome == timeout(0.2)


async def test_headers_that_drip_for_ever_run_out_of_time() -> None:
    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await stream.send(b"A: b\r\n")
            await anyio.sleep(0.01)

    async with raw_server(talk) as port:
        outcome = await probe(candidate(port), ProberOptions(timeout_s=0.2))

    assert outcome == timeout(0.2)


async def test_a_backend_that_says_nothing_runs_out_of_time() -> None:
    async with raw_server(silence) as port:
        outcome = await probe(candidate(port), ProberOptions(timeout_s=0.1))

    assert outcome == timeout(0.1)


async def test_a_refused_connection_is_not_alive() -> None:
    async with raw_server(silence) as port:
        pass

    assert await probe(candidate(port)) == REFUSED


async def test_a_backend_that_dies_while_it_answers_is_not_alive() -> None:
    async with raw_server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")) as port:
        outcome = await probe(candidate(port))

    assert outcome == Outcome(alive=False, detail="it does not speak HTTP", failure=Failure.PROTOCOL)


@pytest.mark.parametrize(
    "spoken",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"SSH-2.0-OpenSSH_9\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 999999 What\r\n\r\n", id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000 + b"\r\n\r\n", id="endless header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="broken chunk"),
    ],
)
async def test_bytes_that_are_not_http_are_no_life(spoken: bytes) -> None:
    async with raw_server(saying(spoken)) as port:
        assert not (await probe(candidate(port))).alive


@settings(max_examples=30)
@given(spoken=st.binary(max_size=200), ok=st.booleans())
async def test_no_bytes_make_a_probe_raise(spoken: bytes, *, ok: bool) -> None:
    async with raw_server(saying(OK[:-2] * ok + spoken)) as port:
        assert isinstance(await probe(candidate(port)), Outcome)


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(candidate(address="", host="no such host"), id="host with spaces"),
        pytest.param(candidate(address="", host="é" * 300), id="host without an IDNA form"),
        pytest.param(candidate(address="", host="nowhere.invalid"), id="unknown host"),
        pytest.param(candidate(host="a\r\nb"), id="line break in the host"),
        pytest.param(candidate(path="/?a#b"), id="query in the path"),
        pytest.param(candidate(scheme="gopher"), id="unknown scheme"),
    ],
)
async def test_a_candidate_that_cannot_be_asked_makes_no_probe_raise(asked: Candidate) -> None:
    assert not (await probe(asked, ProberOptions(timeout_s=2))).alive


async def test_connect_to_dials_elsewhere_under_the_same_name() -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve():
        moved = {f"{HOST}:9090": f"127.0.0.1:{port_of(server)}"}
        assert await probe(candidate(address="192.0.2.1"), ProberOptions(5, connect_to=moved)) == ALIVE

    assert server.asked[0].headers["host"] == f"{HOST}:9090"


@pytest.mark.parametrize("place", ["nowhere", ":", "host:port", "127.0.0.1:", "127.0.0.1:99999"])
async def test_connect_to_a_place_that_is_none_makes_no_probe_raise(place: str) -> None:
    assert not (await probe(candidate(), ProberOptions(1, connect_to={f"{HOST}:9090": place}))).alive


async def test_a_backend_without_a_cluster_ip_is_reached_by_name() -> None:
    async with ScriptedApiServer(Answer()).serve() as server:
        looked_up: list[str] = []

        def look_up(host: str) -> tuple[str]:
            looked_up.append(host)
            return ("127.0.0.1",)

        prober = HttpProber(ProberOptions(), guard=Loopback(), resolver=Resolver(look_up))
        assert await prober.probe(candidate(port_of(server), address="")) == ALIVE

    assert looked_up == [f"{HOST}."]


async def test_a_certificate_that_nobody_trusts_is_not_alive() -> None:
    async with ScriptedApiServer(Answer()).serve(server_tls(trustme.CA())) as server:
        outcome = await probe(candidate(port_of(server), scheme="https"))

    assert outcome == Outcome(alive=False, detail="TLS failed: the certificate is not trusted", failure=Failure.TLS)


async def test_a_handshake_that_hangs_runs_out_of_time_and_leaves_no_socket_open() -> None:
    begun, hung_up = anyio.Event(), anyio.Event()

    async def talk(stream: SocketStream) -> None:
        begun.set()
        try:
            await silence(stream)
        finally:
            hung_up.set()

    async with raw_server(talk) as port:
        prober, outcome = HttpProber(ProberOptions(0.1), guard=Loopback()), None
        while not begun.is_set():  # on a busy machine the time may be over before the handshake begins
            outcome = await prober.probe(candidate(port, scheme="https"))
        await until(hung_up.is_set)

    assert outcome == timeout(0.1)


async def test_a_handshake_without_end_is_read_to_a_bound() -> None:
    """OpenSSL skips a HelloRequest, and over the next: that took a whole core for as long as a probe lasts."""
    sent = 0

    async def talk(stream: SocketStream) -> None:
        nonlocal sent
        await stream.receive()
        while True:
            await stream.send(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 4096)
            sent += 9 * 4096

    async with raw_server(talk) as port:
        outcome = await HttpProber(ProberOptions(), guard=Loopback()).probe(candidate(port, scheme="https"))

    assert outcome == Outcome(alive=False, detail="it sends too much", failure=Failure.PROTOCOL)
    assert sent > 64 * 1024


async def test_a_server_that_speaks_no_tls_is_distinguished_from_a_refusal() -> None:
    async def talk(stream: SocketStream) -> None:
        await stream.receive()
        await stream.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_server(talk) as port:
        outcome = await probe(candidate(port, scheme="https"))

    assert outcome == Outcome(alive=False, detail="it does not speak TLS", failure=Failure.PROTOCOL)


async def test_the_certificate_is_checked_against_the_services_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    right, wrong = (server_tls(authority, host=host) for host in (HOST, "other.example.org"))
    assert isinstance(right, ssl.SSLContext)
    async with (
        ScriptedApiServer(Answer()).serve(right) as good,
        ScriptedApiServer(Answer()).serve(wrong) as bad,
    ):
        assert await probe(candidate(port_of(good), scheme="https")) == ALIVE
        assert not (await probe(candidate(port_of(bad), scheme="https"))).alive


def prober_of_hosts(count: int, port: int, options: ProberOptions) -> HttpProber:
    """Return a prober to which ``p0``, ``p1`` and so on are hosts of their own, all at ``port``."""
    moved = {f"p{number}:{port}": f"127.0.0.1:{port}" for number in range(count)}
    return HttpProber(msgspec.structs.replace(options, connect_to=moved))


async def test_no_more_probes_are_in_flight_than_allowed() -> None:
    in_flight, most = 0, 0
    full, leave = anyio.Event(), anyio.Event()

    async def talk(stream: SocketStream) -> None:
        nonlocal in_flight, most
        await request_head(stream)
        in_flight += 1
        most = max(most, in_flight)
        if in_flight == 3:
            full.set()
        await leave.wait()
        in_flight -= 1
        await stream.send(OK)

    outcomes: list[Outcome] = []
    async with raw_server(talk) as port:
        prober = prober_of_hosts(10, port, ProberOptions(5, concurrency=3))

        async def one(number: int) -> None:
            outcomes.append(await prober.probe(candidate(port, host=f"p{number}")))

        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(one, number)
            await full.wait()
            await anyio.wait_all_tasks_blocked()
            leave.set()

    assert (most, outcomes) == (3, [ALIVE] * 10)


async def test_time_begins_once_a_slot_is_free() -> None:
    async def slow(stream: SocketStream) -> None:
        await request_head(stream)
        await anyio.sleep(0.45)
        await stream.send(OK)

    outcomes: list[Outcome] = []
    async with raw_server(slow) as port:
        prober = HttpProber(ProberOptions(1.2, concurrency=1), guard=Loopback())

        async def one() -> None:
            outcomes.append(await prober.probe(candidate(port)))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(one)

    assert outcomes == [ALIVE] * 3
