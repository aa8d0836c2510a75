import gzip
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest
import trustme
from anyio.abc import SocketStream
from hypothesis import given
from hypothesis import strategies as st

from support.api_server import (
    Answer,
    FixedCredentials,
    ScriptedApiServer,
    Stream,
    raw_server,
    request_head,
    saying,
    silence,
    status_error,
)
from support.tls import server_tls
from toolset.adapters.kube.body import BODY_LIMIT_BYTES, INFLATE_BYTES, GzipBody, LineReader
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    OutOfSyncError,
    ToolsetError,
    TransientError,
    UnavailableError,
)

GET = Request("GET", "/api/v1/services")
OPEN_BODY = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
LONG_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


class ChunkedBody:
    """A body that arrives in the given chunks."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)

    async def readany(self) -> bytes:
        return next(self._chunks, b"")


@asynccontextmanager
async def connected(url: str, headers: dict[str, str] | None = None) -> AsyncGenerator[KubeTransport]:
    async with KubeTransport(FixedCredentials(url, headers), "test/1") as transport:
        yield transport


async def every_line(reader: LineReader) -> list[bytes]:
    lines: list[bytes] = []
    while batch := await reader.next():
        lines += batch
    return lines


async def lines_of(pieces: tuple[bytes, ...]) -> list[bytes]:
    async with (
        raw_server(saying(*pieces)) as port,
        connected(f"http://127.0.0.1:{port}") as transport,
        transport.lines(GET, idle_s=5) as reader,
    ):
        return await every_line(reader)


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=20)),
    cuts=st.lists(st.integers(0, 400)),
    tail=st.sampled_from([b"", b'{"half"']),
)
async def test_lines_are_the_same_however_the_body_is_cut(lines: list[str], cuts: list[int], tail: bytes) -> None:
    body = "".join(f"{line}\n" for line in lines).encode() + tail
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[a:b] for a, b in pairwise(edges) if a < b]

    assert await every_line(LineReader(ChunkedBody(chunks))) == [line.encode() for line in lines if line]


async def test_a_character_split_between_two_packets_arrives_whole() -> None:
    name = "größe".encode()

    assert await lines_of((OPEN_BODY, name[:3], name[3:], b"\n")) == [name]


async def test_blank_lines_are_not_lines() -> None:
    assert await lines_of((OPEN_BODY, b"\n\n", b"a\n\n", b"\n", b"b\n")) == [b"a", b"b"]


async def test_a_last_line_without_an_end_is_dropped() -> None:
    assert await lines_of((OPEN_BODY, b"a\nb")) == [b"a"]


async def test_a_line_of_more_than_four_megabytes_arrives_whole() -> None:
    long = b"x" * (5 * 2**20)

    assert await lines_of((OPEN_BODY, long + b"\n" + b"short\n")) == [long, b"short"]


async def test_lines_come_as_soon_as_they_are_complete() -> None:
    read = anyio.Event()

    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(OPEN_BODY + b"first\nsec")
        await read.wait()
        await stream.send(b"ond\n")

    async with (
        raw_server(talk) as port,
        connected(f"http://127.0.0.1:{port}") as transport,
        transport.lines(GET, idle_s=5) as reader,
    ):
        assert await reader.next() == [b"first"]
        read.set()
        assert await reader.next() == [b"second"]
        assert await reader.next() == []


async def test_a_cut_connection_is_unavailable() -> None:
    async with (
        raw_server(saying(LONG_BODY, b"half a li")) as port,
        connected(f"http://127.0.0.1:{port}") as transport,
        transport.lines(GET, idle_s=5) as reader,
    ):
        with pytest.raises(UnavailableError, match="the watch broke") as caught:
            await every_line(reader)
        assert not caught.value.silent


async def test_a_cut_chunked_stream_is_unavailable() -> None:
    async with (
        ScriptedApiServer(Stream([b"whole\n", b"ha"], end="cut")).serve() as server,
        connected(server.url) as transport,
        transport.lines(GET, idle_s=5) as reader,
    ):
        with pytest.raises(UnavailableError, match="the watch broke") as caught:
            await every_line(reader)
        assert not caught.value.silent


async def test_a_stream_that_falls_silent_is_unavailable() -> None:
    async with (
        ScriptedApiServer(Stream([b"a\n"], end="silent")).serve() as server,
        connected(server.url) as transport,
        transport.lines(GET, idle_s=0.1) as reader,
    ):
        assert await reader.next() == [b"a"]
        with pytest.raises(UnavailableError, match="the watch broke: Timeout") as caught:
            await reader.next()
        assert caught.value.silent


async def test_leaving_a_stream_closes_its_connection() -> None:
    closed = anyio.Event()

    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(OPEN_BODY + b"a\n")
        try:
            await silence(stream)
        finally:
            closed.set()

    async with raw_server(talk) as port, connected(f"http://127.0.0.1:{port}") as transport:
        async with transport.lines(GET, idle_s=5) as reader:
            await reader.next()
        with anyio.fail_after(5):
            await closed.wait()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, InvalidError),
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, InvalidError),
        (406, InvalidError),
        (408, UnavailableError),
        (409, ConflictError),
        (410, OutOfSyncError),
        (413, InvalidError),
        (415, InvalidError),
        (418, UnavailableError),
        (422, InvalidError),
        (429, UnavailableError),
        (500, OutOfSyncError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
    ],
)
async def test_every_code_has_its_error(code: int, expected: type[ToolsetError]) -> None:
    server = ScriptedApiServer(status_error(code, "Reason", "what happened"), status_error(code))
    async with server.serve(), connected(server.url) as transport:
        with pytest.raises(expected, match=f"answered {code} Reason: what happened") as sent:
            await transport.send(GET)
        with pytest.raises(expected) as streamed:
            async with transport.lines(GET, idle_s=5):
                pass

    assert (type(sent.value), type(streamed.value)) == (expected, expected)


@pytest.mark.parametrize(("code", "unusable"), [(410, True), (500, False)])
async def test_only_gone_makes_the_version_unusable(code: int, *, unusable: bool) -> None:
    async with ScriptedApiServer(status_error(code)).serve() as server, connected(server.url) as transport:
        with pytest.raises(OutOfSyncError) as caught:
            await transport.send(GET)

    assert caught.value.version_unusable is unusable


@pytest.mark.parametrize(
    ("message", "details"),
    [
        pytest.param("Timeout: Too large resource version: 9, current: 5", None, id="message"),
        pytest.param("late", {"causes": [{"reason": "ResourceVersionTooLarge"}], "retryAfterSeconds": 1}, id="cause"),
        pytest.param("Too large resource version", {"causes": []}, id="message without causes"),
    ],
)
async def test_a_version_that_the_server_has_not_reached_is_unusable(message: str, details: object) -> None:
    answer = status_error(504, "Timeout", message, details=details)
    async with ScriptedApiServer(answer).serve() as server, connected(server.url) as transport:
        with pytest.raises(OutOfSyncError) as caught:
            await transport.send(GET)

    assert caught.value.version_unusable


async def test_a_status_that_comes_in_pieces_is_read_whole() -> None:
    content = status_error(504, details={"causes": [{"reason": "ResourceVersionTooLarge"}]}).body
    head = f"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    half_sent = anyio.Event()

    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(head + content[:20])
        await anyio.wait_all_tasks_blocked()
        half_sent.set()
        await stream.send(content[20:])

    async with raw_server(talk) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(OutOfSyncError):
            await transport.send(GET)
    assert half_sent.is_set()


async def test_a_proxys_page_is_not_repeated() -> None:
    answer = Answer(b"<html><h1>502 Bad Gateway</h1></html>", 502, {"Content-Type": "text/html"})
    async with ScriptedApiServer(answer).serve() as server, connected(server.url) as transport:
        with pytest.raises(UnavailableError, match=r"answered 502 : no Status in the answer$"):
            await transport.send(GET)


async def test_json_that_is_no_status_is_not_repeated() -> None:
    answer = Answer(b'{"message": "from somebody else"}', 503)
    async with ScriptedApiServer(answer).serve() as server, connected(server.url) as transport:
        with pytest.raises(UnavailableError, match=r"no Status in the answer$"):
            await transport.send(GET)


async def test_a_refusal_that_breaks_off_keeps_its_code() -> None:
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 1000\r\n\r\n{"
    async with raw_server(saying(head)) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(ForbiddenError):
            await transport.send(GET)


async def test_a_refusal_without_end_is_read_to_a_bound() -> None:
    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n")
        while True:
            await stream.send(b"x" * 65536)

    async with raw_server(talk) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnavailableError, match="no Status"):
            await transport.send(GET)


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [
        pytest.param({"Retry-After": "7"}, None, 7.0, id="header"),
        pytest.param({}, {"retryAfterSeconds": 3}, 3.0, id="details"),
        pytest.param({"Retry-After": "7"}, {"retryAfterSeconds": 3}, 7.0, id="header before details"),
        pytest.param({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None, 0.0, id="date"),
        pytest.param({"Retry-After": "-1"}, None, 0.0, id="negative"),
        pytest.param({"Retry-After": "9" * 20}, None, 0.0, id="absurd"),
        pytest.param({}, None, 0.0, id="none"),
    ],
)
async def test_the_server_may_ask_for_patience(headers: dict[str, str], details: object, expected: float) -> None:
    answer = status_error(429, details=details, headers=headers)
    async with ScriptedApiServer(answer).serve() as server, connected(server.url) as transport:
        with pytest.raises(UnavailableError) as caught:
            await transport.send(GET)

    assert (caught.value.retry_after_s, caught.value.throttled) == (expected, True)


@pytest.mark.parametrize("code", [401, 403, 409, 410, 500, 503, 504])
async def test_every_answer_that_may_be_retried_keeps_its_retry_after(code: int) -> None:
    answers = [status_error(code, headers={"Retry-After": "30"}), status_error(code, details={"retryAfterSeconds": 30})]
    async with ScriptedApiServer(*answers).serve() as server, connected(server.url) as transport:
        for _ in answers:
            with pytest.raises(TransientError) as caught:
                await transport.send(GET)
            assert caught.value.retry_after_s == 30.0


async def fetched(transport: KubeTransport, *, limit_bytes: int = 2**20, idle_s: float = 5.0) -> tuple[bytes, int]:
    """Return a body, and how often a part of it was heard of."""
    parts: list[None] = []
    body = await transport.fetch(GET, limit_bytes=limit_bytes, heard=lambda: parts.append(None), idle_s=idle_s)
    return body, len(parts)


async def test_a_large_answer_may_take_its_time_as_long_as_it_arrives() -> None:
    slow = Stream([b"x" * 10] * 10, pause_s=0.1)
    async with ScriptedApiServer(slow).serve() as server, connected(server.url) as transport:
        assert await fetched(transport, idle_s=0.5) == (b"x" * 100, 10)


async def test_a_large_answer_that_falls_silent_is_incomplete() -> None:
    stream = Stream([b"x"], end="silent")
    async with ScriptedApiServer(stream).serve() as server, connected(server.url) as transport:
        with pytest.raises(UnavailableError, match="the answer broke") as caught:
            await fetched(transport, idle_s=0.1)
        assert caught.value.incomplete


async def test_a_large_answer_that_does_not_begin_is_incomplete_and_a_refused_connection_is_not() -> None:
    async with raw_server(silence) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnavailableError) as caught:
            await fetched(transport, idle_s=0.1)
        assert caught.value.incomplete
    async with connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnavailableError) as caught:
            await fetched(transport)
        assert not caught.value.incomplete


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_an_answer_larger_than_its_bound_is_refused_and_the_session_goes_on(*, packed: bool) -> None:
    content = b"x" * 300_000
    large = Answer(gzip.compress(content), headers={"Content-Encoding": "gzip"}) if packed else Answer(content)
    async with ScriptedApiServer(large, large, Answer(b"small")).serve() as server, connected(server.url) as transport:
        with pytest.raises(UnavailableError, match="larger than 100000 bytes") as caught:
            await fetched(transport, limit_bytes=100_000)
        assert caught.value.incomplete
        assert (await fetched(transport, limit_bytes=300_000))[0] == content
        assert await transport.send(GET) == b"small"


async def test_a_line_longer_than_its_bound_is_refused() -> None:
    sent = [b"x" * 60, b"\n" + b"y" * 60, b"y" * 60, b"\n"]
    reader = LineReader(ChunkedBody(sent), limit_bytes=100)

    assert await reader.next() == [b"x" * 60]
    with pytest.raises(OutOfSyncError, match="a line of the watch is longer than 100 bytes"):
        await reader.next()


async def test_of_a_line_of_600_mb_no_more_is_read_than_its_bound() -> None:
    sent: list[int] = []

    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(OPEN_BODY + b"first\n")
        for _ in range(600):
            await stream.send(b"x" * 10**6)
            sent.append(10**6)

    async with (
        raw_server(talk) as port,
        connected(f"http://127.0.0.1:{port}") as transport,
        transport.lines(GET, idle_s=5) as reader,
    ):
        with pytest.raises(OutOfSyncError, match="longer than 16777216 bytes"):
            await every_line(reader)
    assert sum(sent) < 4 * BODY_LIMIT_BYTES


@pytest.mark.parametrize("size", [8_191, 1_000_000])
async def test_headers_may_be_as_large_as_go_takes_them(size: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: %s\r\n\r\n{}" % (b"x" * size)
    async with raw_server(saying(head)) as port, connected(f"http://127.0.0.1:{port}") as transport:
        assert await transport.send(GET) == b"{}"


async def test_headers_may_be_as_many_as_go_takes_them() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n%s\r\n{}" % b"".join(b"X-%d: x\r\n" % n for n in range(5000))
    async with raw_server(saying(head)) as port, connected(f"http://127.0.0.1:{port}") as transport:
        assert await transport.send(GET) == b"{}"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
async def test_an_answer_that_a_gateway_compressed_is_decompressed(encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    refusal = Answer(gzip.compress(status_error(409, "Conflict", "changed meanwhile").body), 409, headers)
    async with (
        ScriptedApiServer(Answer(gzip.compress(b"{}"), headers=headers), refusal).serve() as server,
        connected(server.url) as transport,
    ):
        assert await transport.send(GET) == b"{}"
        with pytest.raises(ConflictError, match="changed meanwhile"):
            await transport.send(GET)


async def test_a_compressed_stream_is_read_line_by_line() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    first = packer.compress(b"first\nsec") + packer.flush(zlib.Z_SYNC_FLUSH)
    rest = packer.compress(b"ond\n") + packer.flush()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    read = anyio.Event()

    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        await stream.send(head + first)
        await read.wait()
        await stream.send(rest)

    async with (
        raw_server(talk) as port,
        connected(f"http://127.0.0.1:{port}") as transport,
        transport.lines(GET, idle_s=5) as reader,
    ):
        assert await reader.next() == [b"first"]
        read.set()
        assert await every_line(reader) == [b"second"]


@given(
    parts=st.lists(st.binary(max_size=50).map(lambda part: part * 20_000), max_size=3),
    cuts=st.lists(st.integers(0, 4000)),
)
async def test_compressed_bytes_are_the_same_however_they_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    packed = b"".join(gzip.compress(part) for part in parts)
    edges = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    body = GzipBody(ChunkedBody([packed[a:b] for a, b in pairwise(edges) if a < b]))
    found: list[bytes] = []
    while piece := await body.readany():
        found.append(piece)

    assert b"".join(found) == b"".join(parts)
    assert all(len(piece) <= INFLATE_BYTES for piece in found)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(Answer(b"{}", headers={"Content-Encoding": "gzip"}), "it is not valid gzip", id="no gzip"),
        pytest.param(Answer(b"{}", headers={"Content-Encoding": "br"}), "encoded as 'br' although", id="unknown"),
    ],
)
async def test_an_answer_in_an_encoding_that_cannot_be_read_is_unavailable(answer: Answer, problem: str) -> None:
    async with ScriptedApiServer(answer).serve() as server, connected(server.url) as transport:
        with pytest.raises(UnavailableError, match=problem):
            await transport.send(GET)


async def test_a_refusal_in_an_unknown_encoding_keeps_its_code() -> None:
    answer = Answer(b"??", 403, {"Content-Encoding": "br"})
    async with ScriptedApiServer(answer).serve() as server, connected(server.url) as transport:
        with pytest.raises(ForbiddenError):
            await transport.send(GET)


async def test_a_redirect_is_not_followed() -> None:
    server = ScriptedApiServer(Answer(b"", 302, {"Location": "/elsewhere"}), Answer())
    async with server.serve(), connected(server.url) as transport:
        with pytest.raises(UnavailableError, match="answered 302"):
            await transport.send(GET)

    assert len(server.asked) == 1


async def test_every_request_carries_the_authorization() -> None:
    server = ScriptedApiServer(Answer(), Answer(), Stream([b"a\n"]))
    patch = Request("PATCH", "/api/v1/x", {"force": "true"}, b"{}", "application/apply-patch+yaml")
    async with server.serve(), connected(server.url, {"Authorization": "Bearer secret"}) as transport:
        await transport.send(GET)
        await transport.send(patch)
        async with transport.lines(GET, idle_s=5) as reader:
            await every_line(reader)

    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer secret"] * 3
    assert [asked.headers["user-agent"] for asked in server.asked] == ["test/1"] * 3
    assert (server.asked[1].params, server.asked[1].body) == ({"force": "true"}, b"{}")
    assert server.asked[1].headers["content-type"] == "application/apply-patch+yaml"


async def test_credentials_hear_of_a_401_and_of_no_other_refusal() -> None:
    server = ScriptedApiServer(status_error(403), status_error(401))
    async with server.serve():
        credentials = FixedCredentials(server.url)
        async with KubeTransport(credentials, "test/1") as transport:
            await transport.check_credentials()
            for refusals in (False, True):
                with pytest.raises(ForbiddenError) as caught:
                    await transport.send(GET)
                assert credentials.refusals == refusals
                assert ("the credentials are expired, revoked, or of another cluster" in str(caught.value)) is refusals


async def test_a_stream_that_does_not_begin_is_unavailable() -> None:
    async with raw_server(silence) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnavailableError, match="the API server did not answer: TimeoutError"):
            async with transport.lines(GET, idle_s=3600, begin_s=0.1):
                pass


async def test_a_refused_connection_is_unavailable() -> None:
    async with raw_server(silence) as port:
        pass
    async with connected(f"http://127.0.0.1:{port}") as transport:
        why = f"^the API server did not answer: cannot connect to 127.0.0.1:{port}: connection refused$"
        with pytest.raises(UnavailableError, match=why):
            await transport.send(GET)


async def test_a_host_that_does_not_exist_is_named() -> None:
    async with connected("https://nowhere.invalid:6443") as transport:
        with pytest.raises(UnavailableError, match=r"cannot connect to nowhere.invalid:6443: no such host$"):
            await transport.send(GET)


async def test_a_server_without_tls_is_named() -> None:
    async with ScriptedApiServer().serve() as server, connected(server.url.replace("http:", "https:")) as transport:
        with pytest.raises(UnavailableError, match=r"cannot connect to 127.0.0.1:\d+: TLS failed: [a-z ]+$"):
            await transport.send(GET)


async def test_a_certificate_that_is_not_accepted_is_named() -> None:
    async with ScriptedApiServer().serve(server_tls(trustme.CA())) as server, connected(server.url) as transport:
        why = "cannot connect to [a-z0-9.:]+: its certificate is not accepted: [a-z -]+$"
        with pytest.raises(UnavailableError, match=why):
            await transport.send(GET)


async def test_an_answer_that_never_comes_is_unavailable() -> None:
    async with raw_server(silence) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnavailableError, match="the API server did not answer: TimeoutError"):
            await transport.send(GET, timeout_s=0.1)


async def test_an_answer_that_breaks_off_is_unavailable() -> None:
    async with raw_server(saying(LONG_BODY, b"{")) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnavailableError, match="the answer broke"):
            await transport.send(GET)


async def test_bytes_that_are_not_http_are_unavailable() -> None:
    async with raw_server(saying(b"SSH-2.0-OpenSSH\r\n")) as port, connected(f"http://127.0.0.1:{port}") as transport:
        with pytest.raises(UnavailableError):
            await transport.send(GET)


async def test_a_proxy_in_the_environment_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with ScriptedApiServer(Answer(b"direct")).serve() as server, connected(server.url) as transport:
        assert await transport.send(GET) == b"direct"


async def test_a_transport_outside_its_context_is_a_bug() -> None:
    transport = KubeTransport(FixedCredentials("http://127.0.0.1:1"), "test/1")

    with pytest.raises(RuntimeError, match="outside its context"):
        await transport.send(GET)
    await transport.__aexit__(None, None, None)
