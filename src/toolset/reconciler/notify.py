"""Notify readers that the ConfigMap has changed, after the kubelet has updated their mounts."""

import math
from collections.abc import Sequence
from typing import Protocol

import anyio
import msgspec

from toolset.core.publishing.plan import content_hash, owned_keys
from toolset.model import ConfigMap, Key
from toolset.reconciler import spans
from toolset.runtime.controller import Result
from toolset.runtime.store import Reader as StoreReader


class Consumer(Protocol):
    """Port: a reader of the ConfigMap."""

    async def notify(self, content_hash: str) -> None:
        """Make it reload; ``content_hash`` identifies the new content. Idempotent.

        Raises:
            UnavailableError: It did not accept the notification; a retry may help.
            InvalidError: It never will with the current settings.
        """
        ...


class Reader(msgspec.Struct):
    """A consumer, and its last notification.

    Attributes:
        consumer: The consumer.
        min_interval_s: Minimum time between two notifications, seconds.
        notified_of: The content hash of the last one.
        notified_s: The time of the last one.
    """

    consumer: Consumer
    min_interval_s: float = 0.0
    notified_of: str = ""
    notified_s: float = -math.inf


class NotifyReconciler:
    """Notifies each reader once per state; failures are retried with the queue's backoff."""

    def __init__(self, config_maps: StoreReader[ConfigMap], readers: Sequence[Reader], prefix: str) -> None:
        self._config_maps = config_maps
        self._readers = readers
        self._prefix = prefix

    async def __call__(self, key: Key) -> Result:
        """Notify the readers of the ConfigMap ``key``; a recently notified one later.

        Raises:
            ToolsetError: A reader did not accept it; those before it did.
        """
        digest = self._digest(key)
        waits_s: list[float] = []
        for reader in self._readers:
            if not digest or reader.notified_of == digest:
                continue
            wait_s = reader.notified_s + reader.min_interval_s - anyio.current_time()
            if wait_s > 0.0:
                waits_s.append(wait_s)
                continue
            spans.changed()
            with spans.step("notify"):
                await reader.consumer.notify(digest)
            reader.notified_of, reader.notified_s = digest, anyio.current_time()
        return Result(requeue_after_s=min(waits_s, default=None))

    def _digest(self, key: Key) -> str:
        current = self._config_maps.get(key)
        if current is None:
            return ""
        ours = owned_keys(current, self._prefix)
        return content_hash({name: text for name, text in current.entries.items() if name in ours})
