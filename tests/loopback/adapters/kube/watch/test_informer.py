"""Reflector, store, source and transport together on real sockets: what breaks there recovers without a list."""

import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import orjson
import pytest
from anyio.abc import SocketAttribute, SocketStream

from support.api_server import (
    Answer,
    FixedCredentials,
    ScriptedApiServer,
    Stream,
    line,
    page,
    raw_server,
    request_head,
    status,
    status_error,
)
from support.background import running
from support.stores import unexpected
from support.waiting import until
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, services
from toolset.adapters.kube.watch.wire import END_OF_LIST
from toolset.core.detection.reduction import Reduction
from toolset.errors import ToolsetError
from toolset.model import Service
from toolset.runtime.backoff import Backoff
from toolset.runtime.reflector import Reflector, ReflectorOptions
from toolset.runtime.store import Delta, Store

CANNOT_STREAM = status_error(422, "Invalid", "sendInitialEvents is forbidden")
QUICKLY = ReflectorOptions(backoff=Backoff(base_s=0.01, cap_s=0.01, spread=0.0))


def service(name: str, version: str) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default", "resourceVersion": version, "uid": f"u-{name}"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def bookmark(version: str, *, end: bool = False) -> bytes:
    annotations = {END_OF_LIST: "true"} if end else {}
    return line("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": version, "annotations": annotations}})


class Heard:
    """An observer that notes why lists were made, and what failed."""

    def __init__(self) -> None:
        self.lists: list[str] = []
        self.errors: list[ToolsetError] = []

    def listed(self, items: int, took_s: float, reason: str) -> None:
        del items, took_s
        self.lists.append(reason)

    def watch_ended(self, events: int, took_s: float) -> None:
        """Ignore it."""

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        del retry_in_s
        self.errors.append(error)


class Informer:
    """A reflector of the Services of one server, with its store."""

    def __init__(self, transport: KubeTransport) -> None:
        self.heard = Heard()
        self.store: Store[Service] = Store(unexpected)
        source: KubeSource[Service] = KubeSource(
            transport, services("", Reduction("x")), jitter=lambda: 0.0, idle_s=0.3
        )
        self.reflector = Reflector(source, self.store, self.heard, jitter=lambda: 0.0, options=QUICKLY)

    @property
    def names(self) -> set[str]:
        return {key.name for key in self.store.snapshot()}


@asynccontextmanager
async def informer(url: str) -> AsyncGenerator[Informer]:
    async with KubeTransport(FixedCredentials(url), "test/1") as transport:
        yield Informer(transport)


async def test_a_streamed_list_goes_on_as_the_watch_and_the_next_one_resumes_after_it() -> None:
    server = ScriptedApiServer(
        Stream([line("ADDED", service("a", "1")), bookmark("7", end=True), line("ADDED", service("b", "8"))]),
        Stream([line("ADDED", service("c", "9"))], end="silent"),
    )
    async with server.serve(), informer(server.url) as opened, running(opened.reflector.run):
        await until(lambda: "c" in opened.names)

    assert [asked.params.get("resourceVersion") for asked in server.asked] == [None, "8"]
    assert opened.heard.lists == ["start"]
    assert opened.names == {"a", "b", "c"}


async def test_a_server_that_cannot_stream_is_listed_by_pages_consistently_and_watched_from_there() -> None:
    server = ScriptedApiServer(
        CANNOT_STREAM,
        page([service("a", "1")], "7", "t"),
        page([service("b", "2")], "7"),
        Stream([line("ADDED", service("c", "8"))], end="silent"),
    )
    async with server.serve(), informer(server.url) as opened, running(opened.reflector.run):
        await until(lambda: "c" in opened.names)

    assert [asked.params for asked in server.asked[1:3]] == [{"limit": "500"}, {"limit": "500", "continue": "t"}]
    assert server.asked[3].params["resourceVersion"] == "7"
    assert "sendInitialEvents" not in server.asked[3].params


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        pytest.param(status_error(410, "Expired"), None, id="410 at the start"),
        pytest.param(Stream([line("ERROR", status(410, "Expired"))]), None, id="410 in the stream"),
        pytest.param(Stream([line("ERROR", status(500, "InternalError"))]), "7", id="500 in the stream"),
        pytest.param(Stream([line("ERROR", status(403, "Forbidden"))]), "7", id="403 in the stream"),
        pytest.param(
            status_error(504, "Timeout", "Timeout: Too large resource version: 9, current: 5"), None, id="too large"
        ),
        pytest.param(Stream([b"<html>\n"]), "7", id="a line that is no JSON"),
    ],
)
async def test_what_cannot_be_resumed_from_is_listed_again_and_a_ghost_goes(
    answer: Answer | Stream, version: str | None
) -> None:
    server = ScriptedApiServer(
        Stream([line("ADDED", service("ghost", "1")), line("ADDED", service("kept", "2")), bookmark("7", end=True)]),
        answer,
        Stream([line("ADDED", service("kept", "2")), line("ADDED", service("new", "8")), bookmark("9", end=True)]),
    )
    async with server.serve(), informer(server.url) as opened:
        reported: list[Delta[Service]] = []
        opened.store.subscribe(reported.append)
        async with running(opened.reflector.run):
            await until(lambda: "new" in opened.names)

    assert server.asked[2].params.get("resourceVersion") == version
    assert server.asked[2].params["sendInitialEvents"] == "true"
    changed = [(delta.old and delta.old.key.name, delta.new and delta.new.key.name) for delta in reported]
    assert changed == [(None, "ghost"), (None, "kept"), ("ghost", None), (None, "new")]


class BrokenServer:
    """Streams a list, breaks the connection in a way of its own, and answers the next one well."""

    def __init__(self, breaks: Callable[[SocketStream], Awaitable[None]]) -> None:
        self._breaks = breaks
        self.heads: list[str] = []

    async def talk(self, stream: SocketStream) -> None:
        self.heads.append((await request_head(stream)).split(b"\r\n")[0].decode())
        await stream.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        if len(self.heads) > 1:
            await stream.send(line("ADDED", service("b", "8")))
            await anyio.sleep_forever()
        await stream.send(line("ADDED", service("a", "1")) + bookmark("7", end=True))
        await self._breaks(stream)


async def reset(stream: SocketStream) -> None:
    """Break off within a line, with a reset."""
    await stream.send(line("ADDED", service("half", "8"))[:20])
    await anyio.sleep(0.05)
    opened = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - this is no Django
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing it now sends a reset


async def freeze(_: SocketStream) -> None:
    """Say no more, as behind a load balancer that lost the other side."""
    await anyio.sleep_forever()


@pytest.mark.parametrize("breaks", [reset, freeze])
async def test_a_broken_connection_is_replaced_by_one_watch_from_the_last_version_and_by_no_list(
    breaks: Callable[[SocketStream], Awaitable[None]],
) -> None:
    server = BrokenServer(breaks)
    async with (
        raw_server(server.talk) as port,
        informer(f"http://127.0.0.1:{port}") as opened,
        running(opened.reflector.run),
    ):
        await until(lambda: "b" in opened.names)
        await anyio.sleep(0.1)

    assert len(server.heads) == 2, "exactly one new connection"
    assert "resourceVersion=7" in server.heads[1]
    assert "sendInitialEvents" not in server.heads[1]
    assert opened.heard.lists == ["start"]
    assert len(opened.heard.errors) == 1


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([Stream([line("ADDED", service("a", "1"))], end="silent")], id="a streamed list"),
        pytest.param([Stream([bookmark("7", end=True)], end="silent")], id="a watch"),
        pytest.param([CANNOT_STREAM, Stream([b'{"kind":"List",'], end="silent")], id="a list"),
        pytest.param([status_error(429, headers={"Retry-After": "60"})], id="a delay"),
    ],
)
async def test_an_informer_that_is_stopped_ends_within_a_second_and_leaves_no_task_and_no_connection(
    script: list[Answer | Stream],
) -> None:
    tasks = len(anyio.get_running_tasks())
    server = ScriptedApiServer(*script)
    async with server.serve(), informer(server.url) as opened:
        async with running(opened.reflector.run):
            await until(lambda: len(server.asked) == len(script))
            await anyio.sleep(0.1)
            started = anyio.current_time()
        assert anyio.current_time() - started < 1.0
        assert len(server.asked) == len(script)
        await until(lambda: server.under_way == 0)  # the server's side of a connection ends a moment later
    await until(lambda: len(anyio.get_running_tasks()) == tasks)


async def test_ten_thousand_services_go_from_the_list_to_the_handlers_in_a_moment() -> None:
    items = [service(f"s{number}", str(number + 1)) for number in range(10_000)]
    body = orjson.dumps({"kind": "ServiceList", "metadata": {"resourceVersion": "99999"}, "items": items})
    server = ScriptedApiServer(CANNOT_STREAM, Answer(body))
    async with server.serve(), informer(server.url) as opened:
        reported: list[Delta[Service]] = []
        opened.store.subscribe(reported.append)
        async with running(opened.reflector.run):
            with anyio.fail_after(5):
                await opened.store.wait_synced()

    assert len(reported) == len(opened.store) == 10_000
