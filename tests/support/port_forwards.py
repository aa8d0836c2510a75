"""An API server that forwards one port of a pod as the kubelet does, to a server on loopback."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import orjson
from aiohttp import WSMsgType, web
from anyio.abc import SocketStream

from support.api_server import serving, status
from toolset.adapters.kube.port_forward import PROTOCOL

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kubernaut-system/leases/kubernaut-dynamic-toolset"


class ForwardingApiServer:
    """Answers the Lease, and forwards ports of the pod ``pod``.

    Attributes:
        holder: Who holds the Lease; empty for nobody, in which case there is no Lease.
        error: What the kubelet says on the error channel; empty when it reaches the port.
        refuses: The status code of every port-forward; 0 when they are allowed.
        asked: The paths and queries of the port-forwards.
    """

    def __init__(self, port: int, holder: str = "pod-0_1f", error: str = "", refuses: int = 0) -> None:
        self._port = port
        self.holder = holder
        self.error = error
        self.refuses = refuses
        self.asked: list[str] = []

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """Give its URL inside the block."""
        async with serving(self._handle) as url:
            yield url

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == LEASE and self.holder:
            name = {"name": "kubernaut-dynamic-toolset", "namespace": "kubernaut-system", "resourceVersion": "1"}
            lease = {"kind": "Lease", "metadata": name, "spec": {"holderIdentity": self.holder}}
            return web.Response(body=orjson.dumps(lease), content_type="application/json")
        if request.path == "/api/v1/namespaces/kubernaut-system/pods/pod-0/portforward":
            self.asked.append(request.path_qs)
            if self.refuses:
                return web.Response(body=orjson.dumps(status(self.refuses, "Forbidden")), status=self.refuses)
            if request.headers.getall("Accept", ["*/*"]) != ["*/*"]:  # a kubelet's routes produce nothing with a type
                return web.Response(text="406: Not Acceptable", status=406)
            return await self._forward(request)
        return web.Response(body=orjson.dumps(status(404, "NotFound", "not here")), status=404)

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse(protocols=(PROTOCOL,))
        await opened.prepare(request)
        port = self._port.to_bytes(2, "little")
        await opened.send_bytes(b"\0" + port)
        await opened.send_bytes(b"\1" + port)
        if self.error:
            await opened.send_bytes(b"\1" + self.error.encode())
            await opened.close()
            return opened
        async with await anyio.connect_tcp("127.0.0.1", self._port) as stream, anyio.create_task_group() as group:
            group.start_soon(_upwards, stream, opened)
            async for message in opened:
                if message.type is WSMsgType.BINARY and message.data[:1] == b"\0":
                    await stream.send(message.data[1:])
            group.cancel_scope.cancel()
        return opened


async def _upwards(stream: SocketStream, opened: web.WebSocketResponse) -> None:
    try:
        async for data in stream:
            await opened.send_bytes(b"\0" + data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    await opened.close()
