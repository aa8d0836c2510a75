"""The sample backends and the cluster's own parts are valid, and every sample is one that is published."""

import json
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy.manifests import PROJECT, built, rendered, validated
from toolset.cli import main

SAMPLES: Final = PROJECT / "hack" / "e2e" / "samples"
NAMES: Final = ("debian", "registry")
EACH: Final = pytest.mark.parametrize("name", NAMES)


@pytest.mark.timeout(60)
def test_samples_and_the_dns_of_the_cluster_are_valid(tools: Path, tmp_path: Path) -> None:
    files = [PROJECT / "hack" / "cluster" / "coredns.yaml"]
    for name in NAMES:
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(rendered(SAMPLES / name), encoding="utf-8")
    assert validated(tools, files) == ""


@EACH
def test_every_sample_is_published(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``hack/e2e/deploy`` waits for as many tools as there are Services."""
    file = tmp_path / "samples.yaml"
    file.write_text(rendered(SAMPLES / name), encoding="utf-8")
    assert main(["plan", "-f", str(file), "--assume-healthy", "-o", "json"]) == 2
    planned = json.loads(capsys.readouterr().out)
    names = {thing["metadata"]["name"] for thing in built(SAMPLES / name) if thing["kind"] == "Service"}
    assert {each["name"] for each in planned["candidates"] if each["published"]} == names


def test_the_tests_on_kind_run_the_prometheus_of_the_samples() -> None:
    images = yaml.safe_load((SAMPLES / "registry" / "kustomization.yaml").read_text("utf-8"))["images"]
    (image,) = (f"{each['newName']}:{each['newTag']}" for each in images if each["name"] == "prometheus")
    assert f"TOOLSET_E2E_PROMETHEUS_IMAGE={image} " in (PROJECT / "hack" / "kind" / "test").read_text("utf-8")
