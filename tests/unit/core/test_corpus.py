"""The training corpus: real Services with the right answer, kept beside the project and never copied into it."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolset.core.catalogue import BUILT_IN
from toolset.core.detection import DetectionOptions, detect
from toolset.core.findings import ALIVE, Findings
from toolset.core.verdict import Candidate
from toolset.model import Service

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "train.jsonl"


@pytest.fixture(scope="module")
def corpus() -> list[dict[str, Any]]:
    if not CORPUS.exists():
        message = "the labelled corpus of Services is missing: put it beside the checkout, as shared/corpus/train.jsonl"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    lines = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    return [line for line in lines if not line["ambiguous"]]


def test_real_services_are_recognised_with_their_port_and_scheme(corpus: list[dict[str, Any]]) -> None:
    options, findings = DetectionOptions(BUILT_IN), Findings()
    expected: dict[str, dict[str, Any]] = {}
    for line in corpus:
        seen = msgspec.convert(line["service"], Service)
        expected[str(seen.key)] = line
        verdict = detect(seen, options)
        findings.detected(seen.key, verdict)
        if isinstance(verdict, Candidate):
            findings.probed(verdict, ALIVE)
    tools = {str(tool.key): tool for tool in findings.tools()}
    backends = {name for name, line in expected.items() if line["expect"] != "none" and not line["duplicate_of"]}
    right = {name for name, tool in tools.items() if expected[name]["expect"] == tool.type}
    found = {expected[name]["duplicate_of"] or name for name in right} | right
    reached = [
        tools[name].port in expected[name]["accept_ports"] and tools[name].scheme == expected[name]["scheme"]
        for name in right
    ]
    assert len(right) / len(tools) >= 0.99
    assert len(backends & found) / len(backends) >= 0.97
    assert sum(reached) / len(reached) >= 0.99
