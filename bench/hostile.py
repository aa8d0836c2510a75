"""What 1,000 hostile Services cost in memory, and what an ordinary one costs to decode."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import orjson

from figures import Table, shown
from toolset.adapters.kube.decoding import decode
from toolset.adapters.kube.watch.wire import Added
from toolset.core.candidate import Verdict
from toolset.core.detection.annotations import NAMES
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.reduction import Reduction
from toolset.model import Service

COUNT: Final = 1000
PREFIX: Final = "kubernaut.io"
KEY: Final = "d" * 253
ORDINARY: Final[dict[str, object]] = {
    "metadata": {
        "labels": {"app.kubernetes.io/name": "grafana", "helm.sh/chart": "grafana-8.0.0", "app": "grafana"},
        "annotations": {"meta.helm.sh/release-name": "grafana", "meta.helm.sh/release-namespace": "monitoring"},
    },
    "spec": {
        "type": "ClusterIP",
        "clusterIP": "10.0.0.1",
        "selector": {"app.kubernetes.io/name": "grafana"},
        "ports": [{"name": "service", "port": 80, "protocol": "TCP", "targetPort": 3000}],
    },
}


def labels(count: int) -> dict[str, str]:
    """Return as many labels of the largest size that the API server accepts."""
    return {f"{KEY}/{number:063}": "v" * 63 for number in range(count)} | {"app": "grafana"}


def ports(count: int) -> list[dict[str, object]]:
    """Return as many ports."""
    return [
        {"port": number, "name": f"{number:063}", "targetPort": "t" * 15, "protocol": "TCP", "appProtocol": "x" * 300}
        for number in range(1, count + 1)
    ]


def hostile() -> dict[str, dict[str, object]]:
    """Return one Service of each kind, by what is large in it."""
    annotations = {f"{PREFIX}/{name}": "a" * 262_144 for name in NAMES}
    return {
        "ordinary": ORDINARY,
        "0.5 MB of labels": {"metadata": {"labels": labels(1300)}, "spec": ORDINARY["spec"]},
        "annotations of 256 KiB": {"metadata": {"annotations": annotations}, "spec": ORDINARY["spec"]},
        "5,000 ports": {"metadata": {"labels": {"app": "grafana"}}, "spec": {"ports": ports(5000)}},
        "1 MB of selector": {"metadata": {"labels": {"app": "grafana"}}, "spec": {"selector": labels(2600)}},
        "the most that is kept, of each": {
            "metadata": {
                "labels": labels(16),
                "annotations": {f"{PREFIX}/{name}": "a" * 512 for name in NAMES[1:]},
            },
            "spec": {"selector": labels(15), "ports": ports(64)},
        },
    }


def line(manifest: dict[str, object], number: int) -> bytes:
    """Return ``manifest`` as a line of a watch."""
    metadata = {**_dict(manifest["metadata"]), "name": f"app-{number:05}", "namespace": "team", "resourceVersion": "1"}
    return orjson.dumps({"type": "ADDED", "object": {**manifest, "metadata": metadata}})


def grown_kib(what: str) -> int:
    """Return by how much this process grows with the Services of one kind and their verdicts, KiB."""
    decoder, reduction = msgspec.json.Decoder(Added[Service]), Reduction(PREFIX)
    options = DetectionOptions(detectors=BUILT_IN)
    manifest = hostile()[what]
    reduction.reduce(decode(decoder, line(ORDINARY, 0)).object)
    kept: list[tuple[Service, Verdict]] = []
    gc.collect()
    before = _rss_kib()
    for number in range(COUNT):
        service = reduction.reduce(decode(decoder, line(manifest, number)).object)
        kept.append((service, detect(service, options)))
    gc.collect()
    return _rss_kib() - before


def decode_us(rounds: int = 7, count: int = 20_000) -> float:
    """Return the least time to decode and reduce an ordinary Service, microseconds."""
    decoder, reduction = msgspec.json.Decoder(Added[Service]), Reduction(PREFIX)
    text = line(ORDINARY, 1)

    def work() -> None:
        for _ in range(count):
            reduction.reduce(decode(decoder, text).object)

    return min(_seconds(work) for _ in range(rounds)) / count * 1e6


def measure() -> Table:
    """Return the growth for each kind, each in a process of its own."""
    rows: list[tuple[str, ...]] = []
    for what in hostile():
        command = [sys.executable, __file__, what]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - our own
        rows.append((what, shown(int(done.stdout) / 1024, "MiB")))
    note = f"Growth of the resident set with {COUNT:,} Services and their verdicts; decoding an ordinary one takes "
    return Table("Hostile Services", f"{note}{decode_us():.2f} us.", ("1,000 Services with", "growth"), tuple(rows))


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _rss_kib() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _dict(value: object) -> dict[str, object]:
    return msgspec.convert(value, dict[str, object])


if __name__ == "__main__":
    sys.stdout.write(f"{grown_kib(sys.argv[1])}\n")
