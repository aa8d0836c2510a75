"""A peer of ``bench/synced.py``: the kubernetes package's own shared informer on Services.

It prints ``synced COUNT SECONDS``, counted from its first request, and stays until its input ends.
"""

import sys
import threading
import time

from kubernetes import client, config
from kubernetes.informer import SharedInformer

config.load_incluster_config()
expected = int(sys.argv[1])
informer = SharedInformer(client.CoreV1Api().list_service_for_all_namespaces)
began = time.monotonic()
informer.start()
while len(informer.cache.list_keys()) < expected:  # it does not say when it is synced
    threading.Event().wait(0.001)
print(f"synced {expected} {time.monotonic() - began:.4f}", flush=True)
sys.stdin.read()
