"""A connection to a port of a pod through the API server and the kubelet, as with `kubectl port-forward`.

It reaches ports on the pod's loopback interface. In the kubelet's WebSocket protocol, channel 0 carries the data,
channel 1 errors, and the first message on each is the port.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import anyio
from anyio.abc import ByteStream
from typing_extensions import override

from toolset.adapters.kube.transport import KubeTransport, WebSocket
from toolset.model import Key

PROTOCOL: Final = "v4.channel.k8s.io"
_DATA: Final = 0
_ERROR: Final = 1
_ERROR_LIMIT: Final = 512


@asynccontextmanager
async def port_forward(kube: KubeTransport, pod: Key, port: int) -> AsyncGenerator[ByteStream]:
    """Connect to ``port`` of ``pod`` inside the block; needs the rights to get and create `pods/portforward`.

    Raises:
        ToolsetError: There is no such pod, it is not allowed, or the API server cannot be reached.
    """
    path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/portforward"
    async with kube.websocket(path, {"ports": str(port)}, PROTOCOL) as opened:
        yield _Forwarded(opened)


class _Forwarded(ByteStream):
    """The data channel of a forwarded port."""

    def __init__(self, opened: WebSocket) -> None:
        self._opened = opened
        self._begun: set[int] = set()
        self._left = b""

    @override
    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return the received data; an error of the kubelet breaks the stream."""
        while not self._left:
            self._left = await self._next()
        data, self._left = self._left[:max_bytes], self._left[max_bytes:]
        return data

    async def _next(self) -> bytes:
        message = await self._opened.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            raise anyio.EndOfStream
        content: bytes = message.data
        channel, data = content[:1], content[1:]
        if not channel or channel[0] not in {_DATA, _ERROR}:
            return b""
        if channel[0] not in self._begun:  # the port
            self._begun.add(channel[0])
            data = data[2:]
        if channel[0] == _ERROR and data:
            raise anyio.BrokenResourceError(data[:_ERROR_LIMIT].decode("utf-8", "replace"))
        return data if channel[0] == _DATA else b""

    @override
    async def send(self, item: bytes) -> None:
        """Send ``item``."""
        try:
            await self._opened.send_bytes(bytes((_DATA,)) + item)
        except (aiohttp.ClientError, OSError) as error:
            raise anyio.BrokenResourceError from error

    @override
    async def send_eof(self) -> None:
        """Do nothing: the protocol has no such message."""

    @override
    async def aclose(self) -> None:
        """Close the connection."""
        await self._opened.close()
