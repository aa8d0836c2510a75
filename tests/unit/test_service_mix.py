"""The Services of the benchmarks have the sizes of those of the corpus, and none of them is a backend."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean
from typing import Any, Final

import msgspec
import pytest

from seeding import Seed
from service_mix import LARGE, MIX, VARIANTS, Shape, large, realistic
from support.lacking import lack
from toolset.core.candidate import Rejected
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.model import Service

CORPUS: Final = Path(__file__).parents[3] / "shared" / "corpus" / "train.jsonl"
TOLERANCE: Final = 0.1
SIZES: Final[dict[str, Callable[[Any], float]]] = {
    "labels": lambda service: len(service["metadata"].get("labels", {})),
    "selector pairs": lambda service: len(service["spec"].get("selector", {})),
    "ports": lambda service: len(service["spec"].get("ports", [])),
    "headless": lambda service: service["spec"].get("clusterIP") == "None",
    "bytes of labels": lambda service: sum(
        len(key + value) for key, value in service["metadata"].get("labels", {}).items()
    ),
}


def hundred(make: Callable[[int], Seed], start: int = 0) -> list[Seed]:
    return [make(index) for index in range(start, start + 100)]


def shape(seed: Seed) -> tuple[int, int, int, int]:
    meta, spec = seed.manifest["metadata"], seed.manifest["spec"]
    return len(meta.get("labels", {})), len(spec["selector"]), len(spec["ports"]), len(meta["annotations"])


def expected(each: Shape) -> tuple[int, int, int, int]:
    return each.labels, each.selector, each.ports, each.annotations + (2 if each.manager == "helm" else 1)


def means(services: Iterable[Any]) -> dict[str, float]:
    services = list(services)
    return {name: mean(map(size, services)) for name, size in SIZES.items()}


@pytest.mark.parametrize(("rendered", "manager"), [(True, "helm"), (False, "kubectl-client-side-apply")])
def test_realistic_services_have_the_sizes_of_the_corpus(rendered: bool, manager: str) -> None:
    if not CORPUS.exists():
        lack("the labelled corpus of Services is missing: put it next to the checkout, as shared/corpus/train.jsonl")
    cases: list[dict[str, Any]] = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    wanted = means(case["service"] for case in cases if case["rendered"] == rendered)

    found = means(seed.manifest for seed in hundred(realistic) if seed.manager == manager)

    assert found == pytest.approx(wanted, rel=TOLERANCE)


def test_any_hundred_realistic_services_have_the_stated_shares() -> None:
    wanted = Counter(dict.fromkeys(map(expected, MIX), 0))
    for each in MIX:
        wanted[expected(each)] += each.share

    assert wanted.total() == 100
    assert Counter(map(shape, hundred(realistic))) == wanted
    assert Counter(map(shape, hundred(realistic, 12_345))) == wanted


def test_large_services_have_three_annotations_each() -> None:
    assert {shape(seed) for seed in hundred(large)} == {expected(LARGE)} == {(6, 2, 2, 3)}


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_service_is_a_backend(variant: str) -> None:
    for seed in hundred(VARIANTS[variant]):
        verdict = detect(msgspec.convert(seed.manifest, Service), DetectionOptions(BUILT_IN))
        assert isinstance(verdict, Rejected), seed.manifest


@pytest.mark.parametrize("variant", VARIANTS)
def test_services_have_names_of_their_own(variant: str) -> None:
    metas = [VARIANTS[variant](index).manifest["metadata"] for index in range(10_000)]

    assert len({(meta["namespace"], meta["name"]) for meta in metas}) == len(metas)


def test_last_applied_configuration_is_what_kubectl_was_given() -> None:
    manifest = large(7).manifest
    note = manifest["metadata"]["annotations"].pop("kubectl.kubernetes.io/last-applied-configuration")

    assert note.endswith("}\n")
    assert json.loads(note) == {"apiVersion": "v1", "kind": "Service", **manifest}
