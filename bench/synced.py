"""How long it takes and what it costs to hold every Service: our informer and service next to their peers, in turn.

Seconds are counted from the first request of each, so that an interpreter's start does not count; memory is the most
that the whole process ever had resident, read when all is in the cache. A peer that is stripped removes managedFields,
annotations and status before it keeps a Service; one that is untuned keeps Services as they come.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from figures import UNKNOWN, Figure, Table, shown
from world import ROOT, Measured, World, said

LARGE: Final = 10_001
"""Up to this many Services, everything is measured, and more often."""
ROUNDS: Final = 7
ROUNDS_OF_LARGER: Final = 3
CLIENT_GO: Final = "client-go informer, stripped"
KUBE_RS: Final = "kube-rs reflector, stripped"
SERVICE: Final = "toolset run, the whole service"
Run = Callable[[World, int], tuple[Measured, Callable[[Measured], float]]]


def _seconds(process: Measured) -> float:
    return float(process.line("synced ").split()[2])


def _program(*command: str) -> Run:
    """Return how to start a program that takes the number of Services and says when it has them."""

    def start(place: World, count: int) -> tuple[Measured, Callable[[Measured], float]]:
        words = [word.format(built=place.built, root=ROOT) for word in command]
        return place.start(*words, str(count)), _seconds

    return start


def _service(place: World, _: int) -> tuple[Measured, Callable[[Measured], float]]:
    def until_written(process: Measured) -> float:
        while (reported := said(process.line('"list stored"')))["resource"] != "services":
            pass
        process.line('"config map written"')
        return float(reported["took_s"])

    place.forget()
    return place.service(), until_written


PEERS: Final[Mapping[str, Run]] = {
    CLIENT_GO: _program("{built}/informer", "--strip"),
    "client-go informer, untuned": _program("{built}/informer"),
    "controller-runtime controller, untuned": _program("{built}/controller"),
    KUBE_RS: _program("{built}/kube-rs"),
    f"{KUBE_RS}, streamed list": _program("{built}/kube-rs", "--streaming"),
    "toolset informer": _program("{built}/run/bin/python", "{root}/bench/informer.py"),
    SERVICE: _service,
    "kubernetes SharedInformer": _program("{built}/bench/bin/python", "{root}/bench/peers/shared_informer.py"),
    "kopf": _program("{built}/bench/bin/python", "{root}/bench/peers/kopf_operator.py"),
}
SLOW: Final = frozenset({"kubernetes SharedInformer", "kopf"})
"""Not measured with more than LARGE Services, where they take minutes."""


class Costs(msgspec.Struct, frozen=True):
    """What a peer needs to hold every Service.

    Attributes:
        requests: Seconds from its first request.
        start: Seconds from the start of its process.
        memory: MiB.
    """

    requests: Figure
    start: Figure
    memory: Figure


def measure(place: World, services: int) -> dict[str, Costs]:
    """Return the costs of each peer that is here and fast enough."""
    rust = (place.built / "kube-rs").exists()
    chosen = {
        name: run
        for name, run in PEERS.items()
        if (rust or not name.startswith(KUBE_RS)) and (services <= LARGE or name not in SLOW)
    }
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in chosen}
    for _ in range(ROUNDS if services <= LARGE else ROUNDS_OF_LARGER):
        for name, run in chosen.items():
            began = time.monotonic()
            process, wait = run(place, services)
            with process:
                took_s = wait(process)
                found[name].append((took_s, time.monotonic() - began, process.peak_mib()))
    return {name: _costs(name, values) for name, values in found.items()}


def _costs(name: str, values: Sequence[tuple[float, float, float]]) -> Costs:
    requests, start, memory = zip(*values, strict=True)
    return Costs(Figure(name, "s", requests), Figure(name, "s", start), Figure(name, "MiB", memory))


def table(services: int, found: Mapping[str, Costs]) -> Table:
    """Return what was found, as ratios to the references too; a peer without costs was not measured."""
    rows = tuple(_row(name, found) for name in PEERS if services <= LARGE or name not in SLOW)
    rounds = len(found[SERVICE].requests.values)
    notes = [f"Medians of {rounds} rounds, each in turn with the others."]
    if KUBE_RS not in found:
        notes.append("kube-rs was not measured, because Rust is not installed.")
    if services >= LARGE:
        memory = 1.6 if services == LARGE else 1.0
        notes.append(f"Targets for `toolset run`: 1.0 x the time of kube-rs, {memory} x its memory.")
    notes.append("The memory of `toolset run` is measured after its first write.")
    return Table(
        f"A synced cache of {services:,} Services",
        " ".join(notes),
        (
            "",
            "from the first request",
            "to client-go, stripped",
            "to kube-rs",
            "from the start of the process",
            "peak memory",
            "to client-go, stripped",
            "to kube-rs",
        ),
        rows,
        {name: _medians(costs) for name, costs in found.items()} if services == LARGE else {},
    )


def _row(name: str, found: Mapping[str, Costs]) -> tuple[str, ...]:
    if (costs := found.get(name)) is None:
        return (name, "not measured", *(UNKNOWN,) * 6)
    times = {peer: each.requests for peer, each in found.items()}
    memory = {peer: each.memory for peer, each in found.items()}
    return (
        name,
        shown(costs.requests.median, "s"),
        *(_ratio(costs.requests, times.get(reference)) for reference in (CLIENT_GO, KUBE_RS)),
        shown(costs.start.median, "s") if name != SERVICE else UNKNOWN,
        shown(costs.memory.median, "MiB"),
        *(_ratio(costs.memory, memory.get(reference)) for reference in (CLIENT_GO, KUBE_RS)),
    )


def _ratio(figure: Figure, reference: Figure | None) -> str:
    return UNKNOWN if reference is None else f"{shown(figure.median / reference.median)} x"


def _medians(costs: Costs) -> list[float]:
    return [costs.requests.median, costs.start.median, costs.memory.median]
