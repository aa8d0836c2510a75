"""The pass over the readers: tell them that the ConfigMap has changed, after the kubelet has brought it to them."""

from collections.abc import Sequence
from typing import Protocol

from toolset.core.publishing.plan import content_hash, owned_keys
from toolset.model import ConfigMap, Key
from toolset.reconciler import spans
from toolset.runtime.controller import DONE, Result
from toolset.runtime.store import Reader


class Consumer(Protocol):
    """Port: a reader of the ConfigMap."""

    async def tell(self, content_hash: str) -> None:
        """Make it read anew; ``content_hash`` names what it will find. The same one twice does no harm.

        Raises:
            UnavailableError: It did not take it; a retry may help.
            InvalidError: It never will as the settings are.
        """
        ...


class NotifyReconciler:
    """Tells each reader once of each state; a reader that fails is told again with the queue's backoff."""

    def __init__(self, config_maps: Reader[ConfigMap], consumers: Sequence[Consumer], prefix: str) -> None:
        self._config_maps = config_maps
        self._consumers = consumers
        self._prefix = prefix
        self._told: dict[int, str] = {}

    async def __call__(self, key: Key) -> Result:
        """Tell the readers of the ConfigMap ``key``.

        Raises:
            ToolsetError: A reader did not take it; those before it did.
        """
        digest = self._digest(key)
        for number, consumer in enumerate(self._consumers):
            if digest and self._told.get(number) != digest:
                spans.changed()
                with spans.step("tell"):
                    await consumer.tell(digest)
                self._told[number] = digest
        return DONE

    def _digest(self, key: Key) -> str:
        current = self._config_maps.get(key)
        if current is None:
            return ""
        ours = owned_keys(current, self._prefix)
        return content_hash({name: text for name, text in current.entries.items() if name in ours})
