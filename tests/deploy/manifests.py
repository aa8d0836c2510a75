"""What kustomize makes of the manifests, and what is written about them."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Final

import yaml

import controlplane
from toolset.config.loader import load
from toolset.config.settings import Settings

PROJECT: Final = Path(__file__).parents[2]
KUSTOMIZE: Final = PROJECT / "deploy" / "kustomize"
OVERLAYS: Final = tuple(sorted(path.name for path in (KUSTOMIZE / "overlays").iterdir()))
COMPONENTS: Final = tuple(sorted(path.name for path in (KUSTOMIZE / "components").iterdir()))
NAME: Final = "kubernaut-dynamic-toolset"
NAMESPACE: Final = "kubernaut-system"
TARGET: Final = "kubernaut-toolset-config"
RELEASES: Final = ("1.29", "1.32", "1.37")
OPERATOR: Final = "monitoring.coreos.com/v1"

Manifest = dict[str, Any]


def kubectl() -> str:
    """Return the kubectl that kustomizes: the control plane's own, else the one of the machine."""
    folder = controlplane.assets()
    own = folder / "kubectl" if folder else None
    return str(own) if own and own.exists() else "kubectl"


@cache
def rendered(folder: Path) -> str:
    """Return what kustomize makes of ``folder``.

    Raises:
        AssertionError: It fails, or warns.
    """
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{folder}: {done.stderr}"
    return done.stdout


def built(folder: Path) -> list[Manifest]:
    """Return the objects that kustomize makes of ``folder``."""
    return list(yaml.safe_load_all(rendered(folder)))


def overlay(name: str) -> Path:
    """Return the folder of the base or of an overlay."""
    return KUSTOMIZE / "base" if name == "base" else KUSTOMIZE / "overlays" / name


def with_components(scratch: Path, components: Iterable[str]) -> Path:
    """Write an overlay of the base with ``components`` into ``scratch``; return its folder."""
    above = os.path.relpath(KUSTOMIZE, scratch.resolve())
    folders = [f"{above}/components/{component}" for component in components]
    content = {"resources": [f"{above}/base"], "components": folders}
    (scratch / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return scratch


def named(things: Iterable[Manifest], kind: str, name: str = NAME) -> Manifest:
    """Return the one object of ``kind`` called ``name``."""
    (found,) = (thing for thing in things if thing["kind"] == kind and thing["metadata"]["name"] == name)
    return found


def pod(things: Iterable[Manifest]) -> Manifest:
    """Return the specification of the Deployment's pods."""
    spec: Manifest = named(things, "Deployment")["spec"]["template"]["spec"]
    return spec


def grants(things: Iterable[Manifest]) -> set[tuple[str, str, str, str, str]]:
    """Return what the Roles and ClusterRoles grant: namespace or "", group, resource, name or "", verb."""
    return {
        (role["metadata"].get("namespace", ""), *each)
        for role in things
        if role["kind"] in {"Role", "ClusterRole"}
        for rule in role["rules"]
        for each in product(rule["apiGroups"], rule["resources"], rule.get("resourceNames", [""]), rule["verbs"])
    }


def settings_of(things: list[Manifest]) -> Settings:
    """Return the settings that a pod of ``things`` reads: its arguments, its mounted file and its environment."""
    spec = pod(things)
    (container,) = spec["containers"]
    assert container["args"][:2] == ["run", "--config"]
    folder, file = container["args"][2].rsplit("/", 1)
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    (volume,) = (each for each in spec["volumes"] if each["name"] == mounted[folder])
    text = named(things, "ConfigMap", volume["configMap"]["name"])["data"][file]
    environment = {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}
    return load(text, environment, {}, source=file)


def readers(things: list[Manifest]) -> list[str]:
    """Return the namespaces that the ServiceAccount may read Services in, by the bindings."""
    bindings = [thing for thing in things if thing["metadata"]["name"] == f"{NAME}-reader"]
    subject = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}
    assert all(each["subjects"] == [subject] for each in bindings if each["kind"] == "RoleBinding")
    return sorted(each["metadata"]["namespace"] for each in bindings if each["kind"] == "RoleBinding")


def table(document: str, heading: str) -> Iterator[list[str]]:
    """Yield the rows of the first table below ``heading`` of docs/``document``, their cells without backquotes."""
    text = (PROJECT / "docs" / document).read_text("utf-8")
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"docs/{document} has no section {heading!r}"
    lines = [line for line in match[1].splitlines() if line.startswith("|")]
    for line in lines[2:]:
        yield [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]


def validated(tools: Path, files: list[Path]) -> str:
    """Return the problems that strict schemas find in ``files``; empty when there are none."""
    releases = [part for release in RELEASES for part in ("--release", release)]
    script = PROJECT / "hack" / "manifests" / "validate.py"
    command = [str(tools / "venv" / "bin" / "python"), str(script), *releases, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout + done.stderr
