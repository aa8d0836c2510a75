"""Backends that mean harm, each kind on a port of its own; a process next to the tests.

``python tests/integration/hostile.py`` prints a line when it listens, and serves until it is killed.
"""

import gzip
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

import anyio
from anyio.abc import SocketStream

HEALTHY: Final = 8001
KINDS: Final[Mapping[str, int]] = {
    "healthy": HEALTHY,
    "hangs": 8002,
    "drips": 8003,
    "floods": 8004,
    "bombs": 8005,
    "redirects": 8006,
    "never ends its headers": 8007,
}
METADATA: Final = "169.254.169.254"
GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


async def healthy(stream: SocketStream) -> None:
    body = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def hangs(stream: SocketStream) -> None:
    await anyio.sleep_forever()
    del stream


async def drips(stream: SocketStream) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.send(b".")
        await anyio.sleep(0.1)


async def floods(stream: SocketStream) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
    block = b"x" * 2**20
    for _ in range(10_000):
        await stream.send(block)


async def bombs(stream: SocketStream, bomb: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    await stream.send(head.encode() + bomb)


async def redirects(stream: SocketStream) -> None:
    await stream.send(f"HTTP/1.1 302 Found\r\nLocation: http://{METADATA}/latest/meta-data/\r\n\r\n".encode())


async def never_ends_its_headers(stream: SocketStream) -> None:
    await stream.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send(b"X-A: " + b"b" * 1000 + b"\r\n")


async def main() -> None:
    bomb = gzip.compress(b"\0" * 100_000_000, compresslevel=9)
    talks: dict[str, Callable[[SocketStream], Awaitable[None]]] = {
        "healthy": healthy,
        "hangs": hangs,
        "drips": drips,
        "floods": floods,
        "bombs": partial(bombs, bomb=bomb),
        "redirects": redirects,
        "never ends its headers": never_ends_its_headers,
    }
    async with anyio.create_task_group() as group:
        for kind, talk in talks.items():
            listener = await anyio.create_tcp_listener(local_host="0.0.0.0", local_port=KINDS[kind], backlog=1024)
            group.start_soon(listener.serve, partial(_handle, talk))
        print("listening", flush=True)  # noqa: T201 - what the test waits for


async def _handle(talk: Callable[[SocketStream], Awaitable[None]], stream: SocketStream) -> None:
    with suppress(*GONE):
        async with stream:
            received = b""
            while b"\r\n\r\n" not in received:
                received += await stream.receive()
            await talk(stream)


if __name__ == "__main__":
    anyio.run(main)
