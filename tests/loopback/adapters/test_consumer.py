from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketStream

from support.api_server import Answer, ScriptedApiServer, raw_server, request_head
from support.hanging import hanging
from toolset.adapters import consumer
from toolset.adapters.consumer import HttpConsumer
from toolset.errors import InvalidError, UnavailableError


async def test_a_reader_is_asked_to_read_again_with_the_headers_of_its_files(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("Bearer abc\n", "utf-8")
    server = ScriptedApiServer(Answer(b'{"status": "ok"}'))
    async with server.serve():
        await HttpConsumer(f"{server.url}/api/admin/reload/toolsets", {"Authorization": str(token)}).notify("hash")

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/admin/reload/toolsets")
    assert asked.headers["authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        pytest.param(500, UnavailableError, id="it failed"),
        pytest.param(429, UnavailableError, id="it is busy"),
        pytest.param(404, InvalidError, id="there is no such endpoint"),
        pytest.param(302, InvalidError, id="a redirect is not followed"),
    ],
)
async def test_what_it_answers_says_whether_a_retry_may_help(code: int, error: type[Exception]) -> None:
    server = ScriptedApiServer(Answer(b"", code))
    async with server.serve():
        with pytest.raises(error, match=f"the reader answered {code}"):
            await HttpConsumer(server.url, {}).notify("hash")


async def test_a_reader_that_is_not_there_may_come_back() -> None:
    with pytest.raises(UnavailableError, match="did not answer: ConnectError"):
        await HttpConsumer("http://127.0.0.1:9", {}).notify("hash")


async def test_a_header_that_cannot_be_read_yet_is_tried_again() -> None:
    with pytest.raises(UnavailableError, match=r"a header of `notify.headers_from` cannot be read"):
        await HttpConsumer("http://127.0.0.1:9", {"Authorization": "/nowhere/token"}).notify("hash")


async def test_a_header_whose_read_hangs_does_not_keep_the_process(tmp_path: Path) -> None:
    with hanging(tmp_path / "token"), anyio.move_on_after(0.05) as patience:
        await HttpConsumer("http://127.0.0.1:9", {"Authorization": str(tmp_path / "token")}).notify("hash")
    assert patience.cancelled_caught


async def test_the_body_of_an_answer_is_not_read_however_large_it_is() -> None:
    sent_bytes = 0

    async def talk(stream: SocketStream) -> None:
        nonlocal sent_bytes
        await request_head(stream)
        await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n")
        for _ in range(400):
            await stream.send(b"x" * 1_000_000)
            sent_bytes += 1_000_000

    async with raw_server(talk) as port:
        await HttpConsumer(f"http://127.0.0.1:{port}", {}).notify("hash")
    assert sent_bytes < 20_000_000  # what fits into the buffers of both sockets


async def test_a_reader_whose_answer_drips_runs_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "TIMEOUT_S", 0.3)

    async def talk(stream: SocketStream) -> None:
        await request_head(stream)
        while True:
            await stream.send(b"HTTP/1.1 102 Processing\r\n\r\n")
            await anyio.sleep(0.05)

    async with raw_server(talk) as port:
        with pytest.raises(UnavailableError, match="did not answer: TimeoutError"):
            await HttpConsumer(f"http://127.0.0.1:{port}", {}).notify("hash")
