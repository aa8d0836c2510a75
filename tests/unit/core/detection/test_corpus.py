"""The training corpus: real Services with the right answer, kept next to the project and never copied into it."""

import json
import re
from collections import Counter
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.detection_cases import CASES, found_in
from support.lacking import lack
from toolset.core.candidate import Candidate
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.detector import Detector
from toolset.core.detection.variants import VARIANTS_LIMIT
from toolset.core.inventory import ALIVE, Inventory
from toolset.model import Service

PROJECT = Path(__file__).parents[4]
CORPUS = PROJECT.parent / "shared" / "corpus" / "train.jsonl"
TABLE = re.compile(r"^\| `([a-z0-9-]+)` \| ([0-9]+) \| ([0-9]+) \|", re.MULTILINE)


class Case(msgspec.Struct):
    """One line of the corpus."""

    service: Service
    expect: str
    ambiguous: bool
    port: int | None = None
    accept_ports: tuple[int, ...] = ()
    scheme: str | None = None
    base_path: str | None = None
    duplicate_of: str | None = None
    cluster: str = ""

    @property
    def name(self) -> str:
        return str(self.service.key)

    @property
    def backend(self) -> str:
        """What the Service leads to; Services of one backend have one name here."""
        return self.duplicate_of or self.name

    def is_met(self, tool: Candidate | None, found: AbstractSet[str]) -> bool:
        """Whether the answer is wholly right: type, port, scheme and base path, or one tool of its backend is found."""
        if tool is None:
            return self.expect == "none" or self.backend in found
        reached = tool.port in self.accept_ports and tool.scheme == self.scheme
        return tool.type == self.expect and reached and tool.path == (self.base_path or "")


@pytest.fixture(scope="module")
def corpus() -> list[Case]:
    if not CORPUS.exists():
        lack("the labelled corpus of Services is missing: put it next to the checkout, as shared/corpus/train.jsonl")
    lines: list[dict[str, Any]] = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    return [case for case in msgspec.convert(lines, list[Case]) if not case.ambiguous]


def tools(corpus: list[Case], detectors: tuple[Detector, ...]) -> dict[str, Candidate]:
    """Return what is published when every candidate is healthy."""
    options, inventory = DetectionOptions(detectors), Inventory()
    for case in corpus:
        verdict = detect(case.service, options)
        inventory.detected(case.service.key, verdict)
        if isinstance(verdict, Candidate):
            inventory.probed(verdict, ALIVE)
    return {str(tool.key): tool for tool in inventory.tools()}


def test_real_services_are_recognised_with_their_port_and_scheme(corpus: list[Case]) -> None:
    found = tools(corpus, BUILT_IN)
    cases = {case.name: case for case in corpus}
    backends = {case.name for case in corpus if case.expect != "none" and not case.duplicate_of}
    right = {name for name, tool in found.items() if cases[name].expect == tool.type}
    covered = {cases[name].duplicate_of or name for name in right} | right
    reached = [
        found[name].port in cases[name].accept_ports and found[name].scheme == cases[name].scheme for name in right
    ]
    assert len(right) / len(found) >= 0.99
    assert len(backends & covered) / len(backends) >= 0.97
    assert sum(reached) / len(reached) >= 0.99


def test_no_backend_of_the_corpus_is_published_twice(corpus: list[Case]) -> None:
    cases = {case.name: case for case in corpus}
    published = Counter(cases[name].backend for name in tools(corpus, BUILT_IN))
    assert {name: count for name, count in published.items() if count > 1} == {}


def test_every_backend_of_a_cluster_of_the_corpus_is_found(corpus: list[Case]) -> None:
    """Services of several repositories have the same namespace: only those of one cluster belong together."""
    missed = set[str]()
    for cluster in {case.cluster for case in corpus}:
        together = [case for case in corpus if case.cluster == cluster]
        found = tools(together, BUILT_IN)
        backends = {case.backend for case in together if case.expect != "none"}
        missed |= backends - {case.backend for case in together if case.name in found}
    assert missed == set()


def test_each_rule_of_the_catalogue_decides_cases_that_no_other_does(corpus: list[Case]) -> None:
    """Of the corpus, or of the shapes in ``support/detection_cases.py``."""

    def met(detectors: tuple[Detector, ...]) -> tuple[set[str], set[str]]:
        found = tools(corpus, detectors)
        backends = {case.backend for case in corpus if case.name in found}
        right = {case.name for case in corpus if case.is_met(found.get(case.name), backends)}
        return right, {name for name, case in CASES.items() if found_in(case, detectors) == case.tools}

    labelled, shapes = met(BUILT_IN)
    lost: dict[str, tuple[str, str]] = {}
    for detector in BUILT_IN:
        others = met(tuple(other for other in BUILT_IN if other is not detector))
        lost[detector.product] = str(len(labelled - others[0])), str(len(shapes - others[1]))
    assert ("0", "0") not in lost.values(), lost
    rows = TABLE.findall((PROJECT / "docs" / "detection.md").read_text("utf-8"))
    table = {product: (of_labelled, of_shapes) for product, of_labelled, of_shapes in rows}
    assert table == lost, "the table in docs/detection.md is stale"


def test_the_truth_is_among_few_variants(corpus: list[Case]) -> None:
    found = {case.name: detect(case.service, DetectionOptions(BUILT_IN)) for case in corpus}
    right = [
        (case, tool) for case in corpus if isinstance(tool := found[case.name], Candidate) and tool.type == case.expect
    ]
    covered = [
        any(
            way.port in case.accept_ports and way.scheme == case.scheme and way.path == (case.base_path or "")
            for way in tool.variants
        )
        for case, tool in right
    ]
    assert sum(covered) / len(covered) >= 0.99
    assert max(len(tool.variants) + len(tool.fallbacks) for _, tool in right) <= VARIANTS_LIMIT
    assert sum(len(tool.variants) for _, tool in right) / len(right) <= 1.3
