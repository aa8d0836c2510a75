"""The Helm chart gives what the manifests of kustomize give, and refuses values that it does not know."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import pytest
import yaml

from deploy.charts import PRODUCTION, Helm, Values, of_chart, of_kustomize
from deploy.manifests import (
    COMPONENTS,
    NAME,
    NAMESPACE,
    OVERLAYS,
    Manifest,
    built,
    overlay,
    table,
    with_components,
)


class Case(NamedTuple):
    """Values of the chart, and what they replace: an overlay, or the base with components.

    Attributes:
        values: What to give to Helm.
        files: Files of values to give before.
        overlay: The base or an overlay.
        components: Components to add to the base.
        settings: What an overlay of one's own adds to the settings of the base, as the component's description says.
    """

    values: dict[str, Any]
    files: tuple[Path, ...] = ()
    overlay: str = "base"
    components: tuple[str, ...] = ()
    settings: Values | None = None


COLLECTOR: Final = "http://otel-collector.observability.svc.cluster.local:4318"
CASES: Final = {
    "base": Case({}),
    "kind": Case({"settings": {"health": {"interval": "10s"}, "log": {"level": "debug"}}}, overlay="kind"),
    "production": Case({}, (PRODUCTION,), "production"),
    "openshift": Case({"openshift": True}, (PRODUCTION,), "openshift"),
    "monitoring": Case({"monitoring": {"enabled": True}}, components=("monitoring",)),
    "pod-monitor": Case(
        {"monitoring": {"enabled": True, "podMonitor": True}}, components=("monitoring", "pod-monitor")
    ),
    "network-policy": Case({"networkPolicy": {"enabled": True}}, components=("network-policy",)),
    "high-availability": Case({"highAvailability": True}, components=("high-availability",)),
    "otlp": Case({"otlp": {"endpoint": COLLECTOR}}, components=("otlp",)),
    "namespaced": Case({"settings": {"discovery": {"watch_namespaces": ["monitoring"]}}}, components=("namespaced",)),
    "holmes-integration": Case({"settings": {"target": {"namespace": "holmes"}}}, components=("holmes-integration",)),
    "overrides-configmap": Case(
        {"settings": {"output": {"overrides_from": "toolset-overrides"}}}, components=("overrides-configmap",)
    ),
    "status": Case({"status": {"enabled": True}}, components=("status",)),
    "consumer-reload": Case(
        {"settings": {"notify": {"deployment": "holmes/holmes-holmes"}}},
        components=("consumer-reload",),
        settings={"notify": {"deployment": "holmes/holmes-holmes"}},
    ),
}
EACH: Final = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def everything() -> Case:
    """Return the case with all components and all of their values."""
    merged: dict[str, Any] = {}
    for case in CASES.values():
        if case.components:
            for name, value in case.values.items():
                merged[name] = {**merged.get(name, {}), **value} if isinstance(value, dict) else value
    return Case(merged, components=COMPONENTS, settings=CASES["consumer-reload"].settings)


def kustomized(case: Case, scratch: Path) -> list[Manifest]:
    """Return what kustomize builds for a case."""
    if not case.components:
        return built(overlay(case.overlay))
    file = with_components(scratch, case.components) / "kustomization.yaml"
    if case.settings:
        base = yaml.safe_load((overlay("base") / "settings.yaml").read_text("utf-8"))
        (scratch / "settings.yaml").write_text(yaml.safe_dump(base | dict(case.settings)), encoding="utf-8")
        replaced = {
            "name": f"{NAME}-settings",
            "namespace": NAMESPACE,
            "behavior": "replace",
            "files": ["settings.yaml"],
        }
        content = yaml.safe_load(file.read_text("utf-8")) | {"configMapGenerator": [replaced]}
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return built(scratch)


@pytest.mark.parametrize("case", [*CASES.values(), everything()], ids=[*CASES, "everything"])
def test_chart_renders_what_kustomize_builds(case: Case, helm: Helm, tmp_path: Path) -> None:
    ours = of_chart(helm.objects(case.values, *case.files))
    theirs = of_kustomize(kustomized(case, tmp_path))
    assert ours.keys() == theirs.keys()
    for name, thing in ours.items():
        assert thing == theirs[name]


def paths(values: Values, *above: str) -> Iterator[str]:
    """Yield the dotted path of each value that is no mapping."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from paths(cast("Values", value), *above, name)
        else:
            yield ".".join((*above, name))


def test_documented_values_are_those_that_are_compared() -> None:
    documented = {name: values.split(", ") for name, values in table("install.md", "With Helm") if name in COMPONENTS}
    assert documented == {name: [*paths(CASES[name].values)] for name in COMPONENTS}


def test_every_overlay_and_every_component_is_compared() -> None:
    assert {case.overlay for case in CASES.values()} == {"base", *OVERLAYS}
    assert {case.components[-1] for case in CASES.values() if case.components} == set(COMPONENTS)
