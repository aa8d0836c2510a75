"""What Helm makes of the chart, and what kustomize makes of the same, in a form that can be compared."""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.manifests import NAME, NAMESPACE, PROJECT, Manifest, pod, settings_of
from toolset import __version__

CHART: Final = PROJECT / "deploy" / "helm"
PRODUCTION: Final = CHART / "values-production.yaml"
SETTINGS: Final = f"{NAME}-settings"
RELEASE: Final = "any-release"
LABELS: Final = "app.kubernetes.io"
CHECKSUM: Final = "checksum/settings"
LINK: Final = "found symbolic link in path"
"""What Helm says about deploy/helm/kustomize."""

Values = Mapping[str, Any]


class Helm:
    """Helm with folders of its own, at first without a cluster."""

    def __init__(self, program: Path, home: Path, kubeconfig: Path = Path("/dev/null")) -> None:
        self._program = program
        self._home = home
        self._kubeconfig = kubeconfig

    def on(self, kubeconfig: Path) -> "Helm":
        """Return the same Helm on a cluster."""
        return Helm(self._program, self._home, kubeconfig)

    def run(self, *arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command, with ``values`` in a file after those that the arguments name."""
        folders = {f"HELM_{each}_HOME": str(self._home / each) for each in ("CACHE", "CONFIG", "DATA")}
        given = "" if values is None else json.dumps(values)  # JSON is YAML, and quotes all text
        command = [str(self._program), *arguments, *(("--values", "-") if given else ())]
        # without HOME it would put its cache of the API into the working directory
        own = {"HOME": str(self._home), "KUBECONFIG": str(self._kubeconfig)}
        environment = {"PATH": os.environ["PATH"], **own, **folders}
        return subprocess.run(command, input=given, env=environment, capture_output=True, text=True, check=False)

    def output(self, *arguments: str, values: Values | None = None) -> str:
        """Return what a command prints.

        Raises:
            AssertionError: It fails, or warns.
        """
        done = self.run(*arguments, values=values)
        said = [line for line in done.stderr.splitlines() if LINK not in line]
        assert (done.returncode, said) == (0, []), done.stderr + done.stdout
        return done.stdout

    def objects(
        self, values: Values | None = None, *files: Path, chart: Path = CHART, namespace: str = NAMESPACE
    ) -> list[Manifest]:
        """Return the objects of a release with the values of ``files``, then ``values``."""
        options = [f"--values={file}" for file in files]
        text = self.output("template", RELEASE, str(chart), f"--namespace={namespace}", *options, values=values)
        return list(yaml.safe_load_all(text))


def by_name(things: Iterable[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    """Return objects by kind, namespace and name."""
    pairs = [
        ((thing["kind"], thing["metadata"].get("namespace", ""), thing["metadata"]["name"]), thing) for thing in things
    ]
    found = dict(pairs)
    assert len(found) == len(pairs), "an object is there twice"
    return found


def without_settings(things: list[Manifest]) -> Iterator[Manifest]:
    """Yield ``things`` with the settings that a pod gets instead of the settings file and the variables ``TOOLSET_*``.

    The components of kustomize set variables, because they cannot change a part of a file; the chart writes a file.
    """
    settings = settings_of(things)
    things = deepcopy(things)
    spec = pod(things)
    (container,) = spec["containers"]
    env = [each for each in container.pop("env", ()) if not each["name"].startswith("TOOLSET_")]
    container |= {"env": env} if env else {}
    (volume,) = (each["configMap"] for each in spec["volumes"] if each["name"] == "settings")
    mounted, volume["name"] = volume["name"], SETTINGS
    for thing in things:
        if (thing["kind"], thing["metadata"]["name"]) == ("ConfigMap", mounted):
            assert thing["data"].keys() == {"settings.yaml"}
            thing["data"] = {"settings.yaml": settings}
            thing["metadata"]["name"] = SETTINGS
        yield thing


def labels_of(thing: Manifest) -> Iterator[dict[str, str]]:
    """Yield the labels of an object, and those of its pods."""
    yield thing["metadata"]["labels"]
    if thing["kind"] == "Deployment":
        yield thing["spec"]["template"]["metadata"]["labels"]


def without_origin(thing: Manifest, tool: str, instance: str) -> None:
    """Remove the labels that say what installed an object, and its version: the chart's are those of its release."""
    for labels in labels_of(thing):
        assert labels.pop(f"{LABELS}/managed-by") == tool, thing["metadata"]["name"]
        assert labels.pop(f"{LABELS}/instance") == instance, thing["metadata"]["name"]
        assert labels.pop(f"{LABELS}/version", __version__) == __version__, thing["metadata"]["name"]


def of_kustomize(things: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    """Return what kustomize builds as the chart should have it.

    - The Namespace is left out: with it in the chart, an uninstall would delete the published ConfigMap.
    - The name of the settings ConfigMap has no hash: a change of the settings changes an annotation of the pods.
    """
    kept = [thing for thing in things if thing["kind"] != "Namespace"]
    (settings,) = (
        thing for thing in kept if thing["kind"] == "ConfigMap" and thing["metadata"]["name"].startswith(f"{SETTINGS}-")
    )
    assert settings["data"].keys() == {"settings.yaml"}
    compared = list(without_settings(kept))
    for thing in compared:
        without_origin(thing, "kustomize", NAME)
    return by_name(compared)


def of_chart(things: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    """Return what the chart renders without what it alone has: the label with its version, the hash of the settings."""
    compared = list(without_settings(things))
    for thing in compared:
        without_origin(thing, "Helm", RELEASE)
        assert thing["metadata"]["labels"].pop("helm.sh/chart") == f"{NAME}-{__version__}", thing["metadata"]["name"]
        if thing["kind"] == "Deployment":
            annotations = thing["spec"]["template"]["metadata"].pop("annotations")
            assert annotations.keys() == {CHECKSUM}
    return by_name(compared)
