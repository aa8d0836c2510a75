"""The overlays that the documents show are what kustomize takes, and do what the documents say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy.manifests import KUSTOMIZE, NAMESPACE, OPERATOR, PROJECT, Manifest, built, named, pod, readers, settings_of

SECTION: Final = re.compile(r"^##+ ([^\n]*)\n(.*?)(?=^##+ |\Z)", re.MULTILINE | re.DOTALL)
SNIPPET: Final = re.compile(r"^```yaml\n(?:# (\S+\.yaml)\n)?(.*?)^```", re.MULTILINE | re.DOTALL)
OVERLAY: Final = re.compile(r"^(resources|components|patches|configMapGenerator):", re.MULTILINE)
"""What distinguishes a kustomization from settings, values and manifests."""


def sections() -> Iterator[tuple[str, str]]:
    """Yield document and heading of every section that shows an overlay."""
    for document in sorted((PROJECT / "docs").glob("*.md")):
        for heading, text in SECTION.findall(document.read_text("utf-8")):
            if any(OVERLAY.search(snippet) for _, snippet in SNIPPET.findall(text)):
                yield document.name, heading


SHOWN: Final = (*sections(),)


def shown(scratch: Path, document: str, heading: str) -> list[Manifest]:
    """Return what kustomize makes of the overlay in a section; one that names no file is added to production."""
    (scratch / "deploy").mkdir()
    (scratch / "deploy" / "kustomize").symlink_to(KUSTOMIZE)  # kustomize follows it out of the folder
    mine = scratch / "my-overlay"
    mine.mkdir()
    settings = (KUSTOMIZE / "overlays" / "production" / "settings.yaml").read_text("utf-8")
    (mine / "settings.yaml").write_text(settings, encoding="utf-8")
    text = dict(SECTION.findall((PROJECT / "docs" / document).read_text("utf-8")))[heading]
    for name, snippet in SNIPPET.findall(text):
        if OVERLAY.search(snippet):
            content = {"resources": ["../deploy/kustomize/overlays/production"]} | yaml.safe_load(snippet)
            file = scratch / (name or "my-overlay/kustomization.yaml")
            file.parent.mkdir(exist_ok=True)
            file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return built(mine)


def test_the_sections_that_show_an_overlay_are_found() -> None:
    assert len(SHOWN) >= 5


@pytest.mark.parametrize(("document", "heading"), SHOWN)
def test_kustomize_takes_the_overlay(document: str, heading: str, tmp_path: Path) -> None:
    assert pod(shown(tmp_path, document, heading))


def test_an_overlay_of_ones_own_has_its_settings_and_its_image(tmp_path: Path) -> None:
    things = shown(tmp_path, "install.md", "Apply it")
    assert settings_of(things).discovery.trusted_namespaces
    assert pod(things)["containers"][0]["image"].startswith("YOUR-REGISTRY/kubernaut-dynamic-toolset@sha256:")


def test_the_component_for_holmesgpt_hardens_no_namespace_but_ours(tmp_path: Path) -> None:
    things = shown(tmp_path, "install.md", "For HolmesGPT")
    assert settings_of(things).target.namespace == "holmes"
    assert [thing["metadata"]["name"] for thing in things if thing["kind"] == "Namespace"] == [NAMESPACE]


def test_in_another_namespace_everything_moves_and_the_namespace_is_left_alone(tmp_path: Path) -> None:
    things = shown(tmp_path, "install.md", "In another namespace")
    assert "Namespace" not in {thing["kind"] for thing in things}
    assert {thing["metadata"].get("namespace", "team-ai") for thing in things} == {"team-ai"}
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        assert [subject["namespace"] for subject in named(things, kind)["subjects"]] == ["team-ai"]


def test_further_namespaces_are_watched_and_read(tmp_path: Path) -> None:
    things = shown(tmp_path, "install.md", "Watching named namespaces")
    assert list(settings_of(things).discovery.watch_namespaces) == readers(things) == ["monitoring", "team-a"]


def test_monitors_and_rules_get_the_label_that_a_prometheus_selects(tmp_path: Path) -> None:
    things = shown(tmp_path, "operations.md", "Monitoring")
    ours = {thing["kind"]: thing["metadata"]["labels"] for thing in things if thing["apiVersion"] == OPERATOR}
    assert {kind: labels["release"] for kind, labels in ours.items()} == {
        "ServiceMonitor": "prometheus",
        "PrometheusRule": "prometheus",
    }
