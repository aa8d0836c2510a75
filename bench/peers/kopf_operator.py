"""A peer of ``bench/synced.py``: a kopf operator that keeps every Service it hears of.

It prints ``synced COUNT SECONDS`` once it has seen every Service, counted from its first request, and stays until its
input ends.
"""

import sys
import threading
import time
from typing import Any

import kopf

expected = int(sys.argv[1])
services: dict[tuple[str, str], Any] = {}  # an index of kopf's own takes minutes for 10,000 objects
began = [0.0]
stop = threading.Event()


@kopf.on.startup()
def start(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True
    began[0] = time.monotonic()


@kopf.on.event("services")
def keep(namespace: str, name: str, body: kopf.Body, **_: Any) -> None:
    services[namespace, name] = dict(body)
    if len(services) == expected:
        print(f"synced {expected} {time.monotonic() - began[0]:.4f}", flush=True)


def wait_for_the_end() -> None:
    sys.stdin.read()
    stop.set()


threading.Thread(target=wait_for_the_end, daemon=True).start()
kopf.configure(verbose=False, quiet=True)
kopf.run(clusterwide=True, standalone=True, stop_flag=stop)
