"""The pass over the readers: tell them that the ConfigMap has changed, after the kubelet has brought it to them."""

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

    async def tell(self, content_hash: str) -> None:
        """Make it read anew; ``content_hash`` names what it will find. The same one twice does no harm.

        Raises:
            UnavailableError: It did not take it; a retry may help.
            InvalidError: It never will as the settings are.
        """
        ...


class Reader(msgspec.Struct):
    """A consumer, and what it was notified of.

    Attributes:
        consumer: The consumer.
        min_interval_s: The least time between two notifications, seconds.
        notified_of: The content of the last one.
        notified_s: When that was.
    """

    consumer: Consumer
    min_interval_s: float = 0.0
    notified_of: str = ""
    notified_s: float = -math.inf


class NotifyReconciler:
    """Notifies each reader once of each state; a reader that fails is notified again with the queue's backoff."""

    def __init__(self, config_maps: StoreReader[ConfigMap], readers: Sequence[Reader], prefix: str) -> None:
        self._config_maps = config_maps
        self._readers = readers
        self._prefix = prefix

    async def __call__(self, key: Key) -> Result:
        """Notify the readers of the ConfigMap ``key``; one that was notified lately later.

        Raises:
            ToolsetError: A reader did not take it; those before it did.
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
            with spans.step("tell"):
                await reader.consumer.tell(digest)
            reader.notified_of, reader.notified_s = digest, anyio.current_time()
        return Result(requeue_after_s=min(waits_s, default=None))

    def _digest(self, key: Key) -> str:
        current = self._config_maps.get(key)
        if current is None:
            return ""
        ours = owned_keys(current, self._prefix)
        return content_hash({name: text for name, text in current.entries.items() if name in ours})
