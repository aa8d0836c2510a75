"""The dashboard is one that Grafana loads, and it and the alerts ask for series and labels that exist."""

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from deploy.manifests import KUSTOMIZE, NAME, built, named, overlay
from toolset.adapters.metrics import Description, Metrics

COMPONENT: Final = KUSTOMIZE / "components" / "monitoring"
DASHBOARD: Final[dict[str, Any]] = json.loads((COMPONENT / "dashboard.json").read_text("utf-8"))
RULES: Final[dict[str, Any]] = yaml.safe_load((COMPONENT / "prometheusrule.yaml").read_text("utf-8"))
OURS: Final = {each.name: each for each in Metrics("0").described()}
SCRAPED: Final = frozenset({"job", "namespace", "pod", "service", "instance"})
"""The labels that Prometheus and its operator add."""
FOREIGN: Final = {
    "up": Description("up", "gauge", "Prometheus' own: whether a scrape worked.", {}),
    "kube_pod_container_status_restarts_total": Description(
        "kube_pod_container_status_restarts_total", "counter", "From kube-state-metrics.", {"container": ("toolset",)}
    ),
}
"""All that is used and that we do not expose ourselves."""
SELECTOR: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^}]*)\}|(?=\[))")
MATCHER: Final = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPING: Final = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
FUNCTIONS: Final = frozenset({"histogram_quantile", "max_over_time"})
SUFFIXES: Final = ("_bucket", "_sum", "_count")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> dict[str, str]:
    """Return all expressions by where they are."""
    rules = [rule for group in RULES["spec"]["groups"] for rule in group["rules"]]
    targets = [
        (f"{panel['title']} {target['refId']}", target["expr"]) for panel in panels() for target in panel["targets"]
    ]
    return {rule["alert"]: rule["expr"] for rule in rules} | dict(targets)


EVERY: Final = pytest.mark.parametrize(
    "expression", [pytest.param(text, id=place) for place, text in expressions().items()]
)


def described(series: str) -> Description:
    """Return what ``series`` means; an AssertionError when nobody exposes it."""
    known = OURS | FOREIGN
    base = next((series.removesuffix(suffix) for suffix in SUFFIXES if series.endswith(suffix)), series)
    if base in known and known[base].kind == "histogram":
        assert series != base, f"{series} is a histogram: ask for its buckets, sum or count"
        return known[base]
    assert series in known, f"there is no series {series}"
    return known[series]


@EVERY
def test_series_labels_and_values_exist(expression: str) -> None:
    allowed = set(SCRAPED) | {"le"}
    found = SELECTOR.findall(expression)
    assert found
    for series, matchers in found:
        description = described(series)
        allowed |= description.labels.keys()
        for label, operator, value in MATCHER.findall(matchers):
            assert label in SCRAPED or label in description.labels, f"{series} has no label {label}"
            known = description.labels.get(label, ())
            values = value.split("|") if "~" in operator else [value]
            assert not known or set(values) <= set(known), f"{series} never has {label}={value}"
    grouped = {label.strip() for labels in GROUPING.findall(expression) for label in labels.split(",")}
    assert grouped <= allowed, f"nothing has the labels {grouped - allowed}"


@EVERY
def test_counters_are_asked_for_their_rate_and_gauges_are_not(expression: str) -> None:
    for match in re.finditer(r"(\w+)\(\s*([a-zA-Z_:]+)\{[^}]*\}\[", expression):
        counts = described(match[2]).kind in {"counter", "histogram"}
        assert (match[1] in {"rate", "increase"}) == counts, match[0]
    for series in re.findall(r"([a-zA-Z_:]+)\{[^}]*\}(?!\[)", expression):
        assert described(series).kind == "gauge", f"{series} without a rate"


@EVERY
def test_only_series_of_this_service_are_selected(expression: str) -> None:
    bare = SELECTOR.sub("", GROUPING.sub("", expression))
    assert set(re.findall(r"(?<![\w$])[a-z]+_[a-z_]+", bare)) <= FUNCTIONS, "a series without a selector"
    for series, matchers in SELECTOR.findall(expression):
        assert f'job="{NAME}"' in matchers or f'pod=~"{NAME}-' in matchers, f"{series} of other controllers too"


def test_prometheus_parses_the_dashboards_expressions(tools: Path, tmp_path: Path) -> None:
    rules = [
        {"record": "dashboard:x", "expr": target["expr"].replace("$__rate_interval", "5m").replace("$namespace", ".*")}
        for panel in panels()
        for target in panel["targets"]
    ]
    file = tmp_path / "rules.yaml"
    unique = [{"name": f"g{number}", "rules": [rule]} for number, rule in enumerate(rules)]
    file.write_text(yaml.safe_dump({"groups": unique}), encoding="utf-8")
    command = [str(tools / "promtool"), "check", "rules", "--lint=none", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_takes_the_chosen_data_source() -> None:
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    assert [panel["title"] for panel in panels() if panel["datasource"] != wanted] == []
    assert all(target["datasource"] == wanted for panel in panels() for target in panel["targets"])
    kinds = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert kinds == {"datasource": "datasource", "namespace": "query"}


def test_panels_have_different_titles_and_do_not_overlap() -> None:
    every = DASHBOARD["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert all(panel["title"] and panel.get("description", "row") for panel in every)
    taken = [
        cell
        for box in (panel["gridPos"] for panel in every)
        for cell in itertools.product(range(box["x"], box["x"] + box["w"]), range(box["y"], box["y"] + box["h"]))
    ]
    assert len(set(taken)) == len(taken)
    assert all(0 <= x < 24 for x, _ in taken)


def test_grafanas_sidecar_finds_the_dashboard() -> None:
    config_map = named(built(overlay("production")), "ConfigMap", f"{NAME}-dashboard")
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    (content,) = config_map["data"].values()
    assert json.loads(content) == DASHBOARD
