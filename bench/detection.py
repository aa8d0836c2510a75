"""What detection costs: 10,000 Services, one in a hundred of them a backend; one Service of each kind; and a tenant's
namespace with 3,000 candidates whose selectors are made to contain each other.

For scale, also what decoding the same Services from JSON costs.
"""

import statistics
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import msgspec

from figures import Table, shown
from toolset.core.candidate import Backend, Candidate, Evidence, HealthCheck
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.duplicates import by_backend
from toolset.model import Key, Service

COUNT: Final = 10_000
ROUNDS: Final = 9
HOSTILE: Final = 3_000


def manifest(number: int, app: str, port: dict[str, object]) -> dict[str, object]:
    labels = {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/instance": f"{app}-{number}",
        "app.kubernetes.io/part-of": "shop",
        "app.kubernetes.io/managed-by": "Helm",
    }
    return {
        "metadata": {"name": f"{app}-{number}", "namespace": f"team-{number % 200}", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": "10.96.0.1",
            "selector": {name: labels[name] for name in list(labels)[:2]},
            "ports": [port],
        },
    }


def application(number: int) -> dict[str, object]:
    return manifest(number, "checkout", {"name": "http", "port": 8080, "targetPort": 8080})


def backend(number: int) -> dict[str, object]:
    return manifest(number, "prometheus", {"name": "http-web", "port": 9090, "targetPort": "http-web"})


def hostile() -> list[Candidate]:
    """Return candidates with all the selectors that can be made of twelve pairs."""
    found: list[Candidate] = []
    for number in range(1, HOSTILE + 1):
        pairs = frozenset((f"k{bit}", "v") for bit in range(12) if number >> bit & 1)
        name = f"p{number}"
        found.append(
            Candidate(
                key=Key("team", name),
                type="prometheus",
                evidence=Evidence.NAME,
                scheme="http",
                host=name,
                port=9090,
                path="",
                check=HealthCheck("/"),
                backend=Backend(pairs, 9090),
            )
        )
    return found


def milliseconds(work: Callable[[], object]) -> float:
    taken: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def detect_all(services: Iterable[Service], options: DetectionOptions) -> None:
    for service in services:
        detect(service, options)


def measure() -> Table:
    """Return what was found."""
    options = DetectionOptions(BUILT_IN)
    manifests = [backend(number) if number % 100 == 0 else application(number) for number in range(COUNT)]
    encoded = [msgspec.json.encode(each) for each in manifests]
    decoder = msgspec.json.Decoder(Service)
    services = [decoder.decode(each) for each in encoded]
    apps = [decoder.decode(msgspec.json.encode(application(number))) for number in range(COUNT)]
    backends = [decoder.decode(msgspec.json.encode(backend(number))) for number in range(COUNT)]
    decoding = milliseconds(lambda: [decoder.decode(each) for each in encoded])
    detecting = milliseconds(partial(detect_all, services, options))
    rows = [
        (f"decode {COUNT:,} Services from JSON, for scale", shown(decoding, "ms")),
        (f"detect {COUNT:,} Services, one in 100 a backend", shown(detecting, "ms")),
    ]
    for name, kind in (("an application", apps), ("a backend", backends)):
        each_us = milliseconds(partial(detect_all, kind, options)) * 1000 / COUNT
        rows.append((f"detect one Service, {name}", shown(each_us, "us")))
    tenant = hostile()
    crowd = milliseconds(lambda: by_backend(tenant))
    rows.append((f"group {HOSTILE:,} candidates of one namespace by backend, selectors hostile", shown(crowd, "ms")))
    return Table("What detection costs", f"Medians of {ROUNDS} rounds.", ("", "measured"), tuple(rows))
