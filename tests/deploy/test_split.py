"""The parts of a cluster that is split, as the example makes them, have nothing in common and all that they need."""

from pathlib import Path
from shutil import copytree
from typing import Final

import pytest

from deploy.manifests import KUSTOMIZE, NAMESPACE, PROJECT, Manifest, built, grants, named, rendered, validated
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.service.permissions import needed

PARTS: Final = ("east", "west")


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Path]:
    """Return the folder of each part: the example, and a copy with another name."""
    example = PROJECT / "docs" / "examples" / "split"
    west = tmp_path / "west"
    copytree(example / "east", west)
    for file in west.iterdir():
        text = file.read_text("utf-8").replace("east", "west").replace("../../../../deploy", "base/deploy")
        file.write_text(text, encoding="utf-8")
    copytree(KUSTOMIZE, west / "base" / "deploy" / "kustomize")
    return {"east": example / "east", "west": west}


def settings_of(things: list[Manifest]) -> Settings:
    (text,) = (thing["data"]["settings.yaml"] for thing in things if thing["kind"] == "ConfigMap")
    return load(text, {}, {})


def test_no_two_parts_have_an_object_in_common(parts: dict[str, Path]) -> None:
    east, west = ({(thing["kind"], thing["metadata"]["name"]) for thing in built(folder)} for folder in parts.values())
    assert len(east) == len(west) == 8
    assert not east & west


def test_no_two_parts_write_the_same_config_map_or_lead_by_the_same_lease(parts: dict[str, Path]) -> None:
    east, west = (settings_of(built(folder)) for folder in parts.values())
    assert east.target != west.target
    assert east.election.lease_name != west.election.lease_name


@pytest.mark.parametrize("part", PARTS)
def test_a_part_selects_its_own_pods_only(parts: dict[str, Path], part: str) -> None:
    things = built(parts[part])
    name = f"kubernaut-dynamic-toolset-{part}"
    deployment, service = (named(things, kind, name)["spec"] for kind in ("Deployment", "Service"))
    for selector in (deployment["selector"]["matchLabels"], service["selector"]):
        assert selector["app.kubernetes.io/instance"] == part
        assert selector.items() <= deployment["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_may_do_what_its_settings_need(parts: dict[str, Path], part: str) -> None:
    things = built(parts[part])
    name = f"kubernaut-dynamic-toolset-{part}"
    account = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        binding = named(things, kind, name)
        assert (binding["roleRef"]["name"], binding["subjects"]) == (name, [account])
    granted = grants(things)
    for each in needed(settings_of(things)):
        asked = each.attributes
        right = (asked.group, asked.resource, asked.name, asked.verb)
        assert (asked.namespace, *right) in granted or ("", *right) in granted, each.sentence


def test_every_part_is_valid(parts: dict[str, Path], tools: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.yaml"
    file.write_text("---\n".join(rendered(folder) for folder in parts.values()), encoding="utf-8")
    assert validated(tools, [file]) == ""
