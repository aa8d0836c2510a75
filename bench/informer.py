"""A peer of ``bench/synced.py``: our informer on Services, without the rest of the service.

It prints ``synced COUNT SECONDS``, counted from its first request, and stays until its input ends.
"""

import os
import random
import sys
import time

import anyio
import anyio.to_thread

from toolset.adapters.kube.credentials.providers import InClusterCredentials
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, services
from toolset.core.detection.reduction import Reduction
from toolset.errors import ToolsetError
from toolset.model import Service
from toolset.runtime.reflector import Reflector
from toolset.runtime.store import Store


class Silent:
    """Listens to nothing."""

    def listed(self, items: int, took_s: float, reason: str) -> None:
        pass

    def watch_ended(self, events: int, took_s: float) -> None:
        pass

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        sys.exit(f"{error}")


async def main() -> None:
    credentials = InClusterCredentials(os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"])
    store: Store[Service] = Store(lambda error: sys.exit(str(error)))
    async with KubeTransport(credentials, "bench") as transport, anyio.create_task_group() as group:
        await transport.check_credentials()
        source = KubeSource(transport, services("", Reduction("kubernaut.io")), jitter=random.random)
        began = time.monotonic()
        group.start_soon(Reflector(source, store, Silent(), jitter=random.random).run)
        await store.wait_synced()
        print(f"synced {len(store)} {time.monotonic() - began:.4f}", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)
        group.cancel_scope.cancel()


anyio.run(main)
