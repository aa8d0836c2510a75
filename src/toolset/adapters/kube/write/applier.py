"""Write the ConfigMap: forced server-side apply of the owned keys, fenced by version and uid."""

from collections.abc import Mapping
from typing import Final

import msgspec
import orjson

from toolset.adapters.kube.decoding import decode
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import ConflictError, InvalidError, NotFoundError, UnavailableError
from toolset.model import ConfigMap, Key
from toolset.runtime.election import Leadership

WRITE_TIMEOUT_S: Final = 10.0
_DECODER: Final = msgspec.json.Decoder(ConfigMap)


class KubeApplier:
    """The writer of one ConfigMap."""

    def __init__(
        self,
        transport: KubeTransport,
        field_manager: str,
        *,
        user_agent: str = "",
        leadership: Leadership | None = None,
    ) -> None:
        """Create it.

        Args:
            transport: An open session.
            field_manager: The field manager of applied fields.
            user_agent: Identifies this writer in the API server's audit log; empty for the session's.
            leadership: Required for each write; ``None`` if there is no election.
        """
        self._transport = transport
        self._field_manager = field_manager
        self._headers = {"User-Agent": user_agent} if user_agent else {}
        self._leadership = leadership

    async def apply(self, target: Key, manifest: bytes) -> ConfigMap:
        """Apply ``manifest``; see ``reconciler.Applier``."""
        return await self._patch(target, manifest, "application/apply-patch+yaml", {"force": "true"})

    async def patch(self, current: ConfigMap, data: Mapping[str, str | None]) -> ConfigMap:
        """Write and remove data keys in one request; see ``reconciler.Applier``."""
        body = orjson.dumps(
            {
                "metadata": {"resourceVersion": current.version, "uid": current.uid},
                "data": dict(data),
            }
        )
        return await self.merge(current.key, body)

    async def merge(self, target: Key, body: bytes) -> ConfigMap:
        """Apply the JSON merge patch ``body``; return the result.

        Raises:
            ConflictError: The ConfigMap no longer matches the fence in ``body``, or it was deleted.
            ToolsetError: The API server refused or failed.
        """
        try:
            return await self._patch(target, body, "application/merge-patch+json", {})
        except NotFoundError as error:
            raise ConflictError(f"ConfigMap {target} was deleted meanwhile") from error

    async def _patch(self, target: Key, body: bytes, content_type: str, params: dict[str, str]) -> ConfigMap:
        path = f"/api/v1/namespaces/{target.namespace}/configmaps/{target.name}"
        request = Request(
            "PATCH",
            path,
            {"fieldManager": self._field_manager, **params},
            body,
            content_type,
            self._headers,
            self._leadership.check if self._leadership else None,
        )
        left_s = self._leadership.remaining_s() if self._leadership else WRITE_TIMEOUT_S
        try:
            answer = await self._transport.send(request, timeout_s=min(WRITE_TIMEOUT_S, left_s))
            return decode(_DECODER, answer)
        except msgspec.DecodeError as error:
            raise UnavailableError(f"the written ConfigMap could not be decoded: {error}") from error
        except InvalidError as error:
            raise type(error)(f"ConfigMap {target}: {error}") from error
