"""The floor for types that are not the plan's: Services of our own making, after those of charts and operators."""

import re

import pytest

from toolset.core.backends.catalog import DETECTORS, OPT_IN
from toolset.core.candidate import Candidate
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.detector import Detector
from toolset.core.inventory import ALIVE, Inventory
from unit.core.backends.labelled import Labelled, labelled, sources


def tools(cases: list[Labelled], detectors: tuple[Detector, ...]) -> dict[str, Candidate]:
    """Return what is published when every candidate is healthy."""
    options, inventory = DetectionOptions(detectors), Inventory()
    for case in cases:
        verdict = detect(case.service, options)
        inventory.detected(case.service.key, verdict)
        if isinstance(verdict, Candidate):
            inventory.probed(verdict, ALIVE)
    return {str(tool.key): tool for tool in inventory.tools()}


def test_there_are_enough_services_and_each_has_a_source() -> None:
    cases, known = labelled(), sources()
    assert sum(bool(case.backend) for case in cases) >= 40
    assert sum(not case.backend for case in cases) >= 40
    assert {case.source for case in cases} == known.keys()
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for _, _, commit, _ in known.values())
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("enabled", [False, True], ids=["by default", "opted in"])
def test_services_of_the_new_types_are_recognised(*, enabled: bool) -> None:
    cases = labelled()
    found = tools(cases, (*DETECTORS, *OPT_IN) if enabled else DETECTORS)
    wanted = {case.name: case for case in cases if case.wanted and (enabled or not case.opt_in)}
    right = {name for name, tool in found.items() if name in wanted and wanted[name].is_met(tool)}
    wrong = {name: (tool.type, tool.url) for name, tool in found.items() if name not in right}
    assert len(right) / len(found) >= 0.99, wrong
    assert len(right) / len(wanted) >= 0.97, wanted.keys() - right
