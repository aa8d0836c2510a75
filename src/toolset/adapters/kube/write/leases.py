"""The Lease of the leader election: read, created, and overwritten, fenced by version and uid."""

from typing import Final

import msgspec

from toolset.adapters.kube.decoding import decode
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import Resource
from toolset.adapters.kube.wire import Request
from toolset.errors import InvalidError, NotFoundError, UnavailableError
from toolset.model import Key, Lease, LeaseSpec

LEASE_TIMEOUT_S: Final = 10.0
"""Time limit of one request, seconds; the elector's own limit is tighter."""
_DECODER: Final = msgspec.json.Decoder(Lease)


def lease(key: Key) -> Resource[Lease]:
    """Return the one Lease ``key``; the selector lets RBAC restrict the watch to its name."""
    return Resource(_collection(key), Lease, f"metadata.name={key.name}")


class KubeLeases:
    """The client of one Lease; see ``runtime.elector.LeaseClient``."""

    def __init__(self, transport: KubeTransport, key: Key) -> None:
        self._transport = transport
        self._key = key
        self._path = f"{_collection(key)}/{key.name}"

    async def read(self) -> Lease | None:
        """Return the current Lease, by a quorum read; ``None`` if there is none."""
        try:
            return await self._send(Request("GET", self._path))
        except NotFoundError:
            return None

    async def create(self, spec: LeaseSpec) -> Lease:
        """Create the Lease; return it."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._key.name, "namespace": self._key.namespace},
            "spec": spec,
        }
        return await self._send(Request("POST", _collection(self._key), body=msgspec.json.encode(body)))

    async def replace(self, current: Lease, spec: LeaseSpec) -> Lease:
        """Write ``spec`` over ``current``; return the result.

        A merge patch and not a PUT: it keeps what others have in the Lease (owners, labels, fields that are not read
        here), and does not recreate a deleted Lease.
        """
        body = msgspec.json.encode(
            {"metadata": {"resourceVersion": current.version, "uid": current.uid}, "spec": spec},
        )
        return await self._send(Request("PATCH", self._path, {}, body, "application/merge-patch+json"))

    async def _send(self, request: Request) -> Lease:
        try:
            return decode(_DECODER, await self._transport.send(request, timeout_s=LEASE_TIMEOUT_S))
        except msgspec.DecodeError as error:
            raise UnavailableError(f"the Lease could not be decoded: {error}") from error
        except InvalidError as error:
            raise type(error)(f"Lease {self._key}: {error}") from error


def _collection(key: Key) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{key.namespace}/leases"
