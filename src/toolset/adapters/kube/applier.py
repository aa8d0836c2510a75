"""Write the ConfigMap: server-side apply of our own keys, by force, fenced by version and uid."""

from collections.abc import Iterable
from typing import Final

import msgspec
import orjson

from toolset.adapters.kube.transport import KubeTransport, Request
from toolset.errors import InvalidError, UnavailableError
from toolset.model import ConfigMap, Key

WRITE_TIMEOUT_S: Final = 10.0
_DECODER: Final = msgspec.json.Decoder(ConfigMap)


class KubeApplier:
    """The writer of one ConfigMap."""

    def __init__(self, transport: KubeTransport, field_manager: str) -> None:
        self._transport = transport
        self._field_manager = field_manager

    async def apply(self, target: Key, manifest: bytes) -> ConfigMap:
        """Apply ``manifest``; see ``reconciler.Applier``."""
        return await self._patch(target, manifest, "application/apply-patch+yaml", {"force": "true"})

    async def remove(self, current: ConfigMap, keys: Iterable[str]) -> ConfigMap:
        """Remove data ``keys``; see ``reconciler.Applier``."""
        body = orjson.dumps(
            {
                "metadata": {"resourceVersion": current.version, "uid": current.uid},
                "data": dict.fromkeys(keys),
            }
        )
        return await self._patch(current.key, body, "application/merge-patch+json", {})

    async def _patch(self, target: Key, body: bytes, content_type: str, params: dict[str, str]) -> ConfigMap:
        path = f"/api/v1/namespaces/{target.namespace}/configmaps/{target.name}"
        request = Request("PATCH", path, {"fieldManager": self._field_manager, **params}, body, content_type)
        try:
            answer = await self._transport.send(request, timeout_s=WRITE_TIMEOUT_S)
            return _DECODER.decode(answer)
        except msgspec.DecodeError as error:
            raise UnavailableError(f"the written ConfigMap could not be decoded: {error}") from error
        except InvalidError as error:
            raise InvalidError(f"ConfigMap {target}: {error}") from error
