"""Every alert fires when it should, is silent when all is well, and has a section in the runbook."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest
import yaml

from deploy.manifests import KUSTOMIZE, NAME, NAMESPACE, PROJECT

COMPONENT: Final = KUSTOMIZE / "components" / "monitoring"
RULE: Final[dict[str, Any]] = yaml.safe_load((COMPONENT / "prometheusrule.yaml").read_text("utf-8"))
ALERTS: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule for group in RULE["spec"]["groups"] for rule in group["rules"]
}
TRIED: Final[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("alerts.yaml").read_text("utf-8"))
FIRING: Final = 'group by (alertname) (ALERTS{alertstate="firing"})'
ONE: Final = 'group by (alertname) (ALERTS{{alertstate="firing",alertname="{}"}})'
MINUTES: Final = 180

Test = dict[str, Any]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the rules in a file that Prometheus itself would load."""
    file = tmp_path_factory.mktemp("rules") / "rules.yaml"
    file.write_text(yaml.safe_dump(RULE["spec"]), encoding="utf-8")
    return file


def promtool(tools: Path, *arguments: str | Path) -> None:
    done = subprocess.run([str(tools / "promtool"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def group(name: str, changed: Mapping[str, str], more: Mapping[str, str] = MappingProxyType({})) -> Test:
    """Return a group of promtool's tests over the good series, some of them changed, and more of them."""
    unknown = changed.keys() - TRIED["good"].keys()
    assert not unknown, f"{name} changes series that the good case has not: {unknown}"
    ours = f'job="{NAME}",namespace="{NAMESPACE}"'
    series = [
        {"series": key.replace("{", f"{{{ours},", 1), "values": values}
        for key, values in (TRIED["good"] | changed | more).items()
    ]
    return {"name": name, "interval": "1m", "input_series": series}


def firing(at: str, alerts: set[str], expression: str = FIRING) -> Test:
    """Return promtool's test that of those in ``expression`` exactly ``alerts`` fire."""
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)]
    return {"expr": expression, "eval_time": at, "exp_samples": samples}


def fires(alert: str, case: Mapping[str, Any]) -> Test:
    """Return promtool's tests that ``alert`` fires when it should, with what it says, and no earlier."""
    annotations = ALERTS[alert]["annotations"] | {"description": case["description"]}
    expected = [{"exp_labels": case["labels"], "exp_annotations": annotations}]
    when: list[Test] = [
        {"alertname": alert, "eval_time": case["quiet"], "exp_alerts": []},
        {"alertname": alert, "eval_time": case["at"], "exp_alerts": expected},
    ]
    return group(alert, case["series"]) | {"alert_rule_test": when, "promql_expr_test": [firing(case["at"], {alert})]}


def run(tools: Path, rules: Path, scratch: Path, tests: list[Test]) -> None:
    """Run promtool's tests."""
    content = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}
    file = scratch / "tests.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    promtool(tools, "test", "rules", file)


def test_promtool_takes_the_rules(tools: Path, rules: Path) -> None:
    promtool(tools, "check", "rules", rules)


def test_no_alert_fires_when_all_is_well(tools: Path, rules: Path, tmp_path: Path) -> None:
    quiet = group("good", {}) | {"promql_expr_test": [firing(f"{at}m", set()) for at in range(0, MINUTES, 10)]}
    run(tools, rules, tmp_path, [quiet])


@pytest.mark.parametrize("alert", TRIED["cases"])
def test_an_alert_fires_when_it_should_and_alone(alert: str, tools: Path, rules: Path, tmp_path: Path) -> None:
    run(tools, rules, tmp_path, [fires(alert, TRIED["cases"][alert])])


@pytest.mark.parametrize("why", TRIED["apart"])
def test_an_alert_distinguishes_similar_states(why: str, tools: Path, rules: Path, tmp_path: Path) -> None:
    case = TRIED["apart"][why]
    only = ONE.format(case["alert"])
    when = [firing(at, set(), only) for at in case["quiet"]] + [
        firing(at, {case["alert"]}, only) for at in case["fires"]
    ]
    run(tools, rules, tmp_path, [group(why, case.get("series", {}), case.get("more", {})) | {"promql_expr_test": when}])


def test_a_test_that_expects_too_much_fails(tools: Path, rules: Path, tmp_path: Path) -> None:
    wrong = group("good", {}) | {"promql_expr_test": [firing("60m", {"ToolsetDown"})]}
    with pytest.raises(AssertionError, match="ToolsetDown"):
        run(tools, rules, tmp_path, [wrong])


def test_every_alert_is_tried() -> None:
    assert TRIED["cases"].keys() == ALERTS.keys()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_waits_and_says_how_bad_it_is_and_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["for"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert "{{" not in rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{alert.lower()}"


def test_the_runbook_has_a_section_for_every_alert_and_for_no_other() -> None:
    text = (PROJECT / "docs" / "operations.md").read_text("utf-8")
    assert sorted(re.findall(r"^### (Toolset\w+)$", text, re.MULTILINE)) == sorted(ALERTS)
