"""What kustomize makes of the base, every overlay and every component is valid, restricted and consistent."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
import yaml

from deploy.manifests import (
    COMPONENTS,
    NAME,
    NAMESPACE,
    OPERATOR,
    OVERLAYS,
    PROJECT,
    RELEASES,
    TARGET,
    Manifest,
    built,
    grants,
    named,
    overlay,
    pod,
    readers,
    rendered,
    settings_of,
    table,
    validated,
    with_components,
)
from toolset import __version__
from toolset.service.permissions import needed

NAMES: Final = ("base", *OVERLAYS)
ALONE: Final = tuple(("monitoring", each) if each == "pod-monitor" else (each,) for each in COMPONENTS)
EACH: Final = pytest.mark.parametrize("name", NAMES)


@pytest.mark.timeout(120)
def test_everything_is_valid_in_the_oldest_a_middle_and_the_newest_release(tools: Path, tmp_path: Path) -> None:
    files: list[Path] = []
    for name in NAMES:
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(rendered(overlay(name)), encoding="utf-8")
    for components in (*ALONE, (*COMPONENTS,)):
        scratch = tmp_path / "-".join(components)
        scratch.mkdir()
        files.append(tmp_path / f"{scratch.name}.yaml")
        files[-1].write_text(rendered(with_components(scratch, components)), encoding="utf-8")
    assert validated(tools, files) == ""


WRONG: Final[dict[str, tuple[str, dict[str, object]]]] = {
    "a field that does not exist": ("Deployment", {"replica": 2}),
    "a value of the wrong type": ("Deployment", {"replicas": "two"}),
    "a field that the operator does not know": ("ServiceMonitor", {"endpoint": []}),
    "a value that the operator does not take": ("ServiceMonitor", {"endpoints": [{"port": 8080}]}),
    "a field that the operator misses": ("PrometheusRule", {"groups": [{"interval": "1m"}]}),
}


@pytest.mark.timeout(60)
def test_what_is_wrong_is_found(tools: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{why}.yaml" for why in WRONG]
    for file, (kind, wrong) in zip(files, WRONG.values(), strict=True):
        thing = named(built(overlay("production")), kind)
        file.write_text(yaml.safe_dump(thing | {"spec": thing["spec"] | wrong}), encoding="utf-8")
    found = {line.split(".yaml: ")[0] for line in validated(tools, files).splitlines()}
    assert found == WRONG.keys()


@pytest.fixture(scope="module")
def checked(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, set[str]]:
    """Return the checks of checkov that fail, by overlay."""
    folder = tmp_path_factory.mktemp("checkov")
    for name in NAMES:  # labels of its own, so that the network policy of one does not count for the pods of another
        label = f"app.kubernetes.io/name: {NAME}"
        (folder / f"{name}.yaml").write_text(
            rendered(overlay(name)).replace(label, f"{label}-{name}"), encoding="utf-8"
        )
    options = ["--framework", "kubernetes", "--skip-download", "-o", "json", "-d", "."]
    command = [str(tools / "venv" / "bin" / "python"), "-m", "checkov.main", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    results = json.loads(done.stdout)["results"]
    assert len(results["passed_checks"]) > 100 * len(NAMES)
    failed: dict[str, set[str]] = {name: set() for name in NAMES}
    for check in results["failed_checks"]:
        failed[Path(check["file_path"]).stem].add(check["check_id"])
    return failed


@EACH
@pytest.mark.timeout(60)
def test_checkov_finds_only_what_is_excepted_with_a_reason(name: str, checked: Mapping[str, set[str]]) -> None:
    rows = list(table("install.md", "Exceptions from checkov"))
    assert all(reason for _, _, reason in rows)
    assert checked[name] == {check for check, names, _ in rows if name in names.split(", ")}


@EACH
def test_the_published_config_map_is_not_among_the_manifests(name: str) -> None:
    maps = [thing["metadata"]["name"] for thing in built(overlay(name)) if thing["kind"] == "ConfigMap"]
    assert maps
    assert TARGET not in maps


@EACH
def test_pods_hold_to_the_restricted_profile_and_more(name: str) -> None:
    spec = pod(built(overlay(name)))
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {kind for volume in spec["volumes"] for kind in volume} == {"name", "projected", "configMap", "emptyDir"}
    assert all(volume["emptyDir"]["sizeLimit"] for volume in spec["volumes"] if "emptyDir" in volume)
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert {"cpu", "memory", "ephemeral-storage"} <= container["resources"]["requests"].keys()
    assert {"memory", "ephemeral-storage"} <= container["resources"]["limits"].keys()


@EACH
def test_the_namespace_enforces_the_restricted_profile(name: str) -> None:
    labels = named(built(overlay(name)), "Namespace", NAMESPACE)["metadata"]["labels"]
    modes = {mode: labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")}
    assert set(modes.values()) == {"restricted"}
    assert all(labels[f"pod-security.kubernetes.io/{mode}-version"].startswith("v1.") for mode in modes)


@EACH
def test_the_settings_that_a_pod_reads_are_valid_and_fit_the_manifests(name: str) -> None:
    things = built(overlay(name))
    settings = settings_of(things)
    assert (settings.target.namespace, settings.target.name) == (NAMESPACE, TARGET)
    assert settings.election.enabled
    assert settings.election.lease_name == NAME
    (container,) = pod(things)["containers"]
    assert [port["containerPort"] for port in container["ports"]] == [settings.server.port]
    assert pod(things)["terminationGracePeriodSeconds"] > settings.shutdown.timeout


@pytest.mark.parametrize("name", ["production", "openshift"])
def test_production_trusts_only_named_namespaces_and_the_others_wait_for_an_admin(name: str) -> None:
    discovery = settings_of(built(overlay(name))).discovery
    assert discovery.trusted_namespaces
    assert not any("*" in each for each in discovery.trusted_namespaces)
    assert discovery.untrusted == "pending"


def test_openshift_has_all_that_production_has() -> None:
    openshift, production = (built(overlay(name)) for name in ("openshift", "production"))
    ours, theirs = ({(each["kind"], each["metadata"]["name"]) for each in things} for things in (openshift, production))
    assert ours == theirs
    assert pod(openshift)["priorityClassName"] == named(openshift, "PriorityClass")["metadata"]["name"]


@EACH
def test_a_disruption_budget_is_there_exactly_when_there_are_two_replicas(name: str) -> None:
    things = built(overlay(name))
    replicas = named(things, "Deployment")["spec"]["replicas"]
    budgets = [thing["spec"] for thing in things if thing["kind"] == "PodDisruptionBudget"]
    assert (replicas, len(budgets)) in {(1, 0), (2, 1)}
    assert all((each["maxUnavailable"], each["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow") for each in budgets)
    assert len(pod(things).get("topologySpreadConstraints", ())) == (2 if budgets else 0)


def selectors(things: list[Manifest]) -> Iterator[Mapping[str, str]]:
    """Yield every selector of pods in ``things``."""
    yield named(things, "Service")["spec"]["selector"]
    for thing in things:
        if thing["kind"] in {"Deployment", "PodDisruptionBudget", "PodMonitor"}:
            yield thing["spec"]["selector"]["matchLabels"]
        elif thing["kind"] == "NetworkPolicy":
            yield thing["spec"]["podSelector"]["matchLabels"]
    for constraint in pod(things).get("topologySpreadConstraints", ()):
        yield constraint["labelSelector"]["matchLabels"]


@EACH
def test_every_selector_finds_the_pods(name: str) -> None:
    things = built(overlay(name))
    labels = named(things, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert all(selector.items() <= labels.items() for selector in selectors(things))


@EACH
def test_images_name_no_host_and_never_move(name: str) -> None:
    (container,) = pod(built(overlay(name)))["containers"]
    assert re.fullmatch(rf"{NAME}:(dev|\d+\.\d+\.\d+)", container["image"])


@pytest.mark.parametrize(("components", "kind"), [(("monitoring",), "Service"), (("monitoring", "pod-monitor"), "Pod")])
def test_a_monitor_finds_the_port_and_names_the_job(components: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    things = built(with_components(tmp_path, components))
    (monitor,) = (each for each in things if each["apiVersion"] == OPERATOR and each["kind"].endswith("Monitor"))
    assert monitor["kind"] == f"{kind}Monitor"
    spec = monitor["spec"]
    (endpoint,) = spec["endpoints" if kind == "Service" else "podMetricsEndpoints"]
    watched = named(things, "Service") if kind == "Service" else named(things, "Deployment")["spec"]["template"]
    ports = watched["spec"]["ports"] if kind == "Service" else watched["spec"]["containers"][0]["ports"]
    assert endpoint["port"] in {port["name"] for port in ports}
    assert "bearerTokenFile" not in endpoint
    assert spec["selector"]["matchLabels"].items() <= watched["metadata"]["labels"].items()
    assert watched["metadata"]["labels"][spec["jobLabel"]] == NAME


@pytest.mark.parametrize("name", ["production", "openshift"])
def test_no_link_local_address_is_reached_but_for_names(name: str) -> None:
    policy = named(built(overlay(name)), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    anywhere = [rule for rule in policy["egress"] if "to" not in rule]
    assert {port["port"] for rule in anywhere for port in rule["ports"]} <= {53, 5353}
    blocks = [to["ipBlock"] for rule in policy["egress"] for to in rule.get("to", ()) if "ipBlock" in to]
    assert {block["cidr"]: block["except"][0] for block in blocks} == {
        "0.0.0.0/0": "169.254.0.0/16",
        "::/0": "fe80::/10",
    }


def test_openshift_chooses_the_uid() -> None:
    context = pod(built(overlay("openshift")))["securityContext"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & context.keys()


def test_traces_go_where_the_environment_says_with_the_pods_name(tmp_path: Path) -> None:
    (container,) = pod(built(with_components(tmp_path, ["otlp"])))["containers"]
    given = [each["name"] for each in container["env"]]
    attributes = next(each["value"] for each in container["env"] if each["name"] == "OTEL_RESOURCE_ATTRIBUTES")
    used = re.findall(r"\$\((\w+)\)", attributes)
    assert used
    assert all(given.index(name) < given.index("OTEL_RESOURCE_ATTRIBUTES") for name in used), "not expanded yet"
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in given


def test_namespaced_reads_what_it_watches_and_nothing_cluster_wide(tmp_path: Path) -> None:
    things = built(with_components(tmp_path, ["namespaced"]))
    assert not {"ClusterRole", "ClusterRoleBinding"} & {thing["kind"] for thing in things}
    assert list(settings_of(things).discovery.watch_namespaces) == readers(things) == ["monitoring"]


def test_holmes_integration_grants_exactly_what_it_needs_where_it_writes(tmp_path: Path) -> None:
    things = built(with_components(tmp_path, ["holmes-integration"]))
    settings = settings_of(things)
    assert (settings.target.namespace, settings.target.name) == ("holmes", TARGET)
    asked = (each.attributes for each in needed(settings))
    assert grants(things) == {(each.namespace, each.group, each.resource, each.name, each.verb) for each in asked}
    binding = named(things, "RoleBinding")
    assert binding["metadata"]["namespace"] == "holmes"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]
    assert named(things, "Deployment")["metadata"]["namespace"] == NAMESPACE


def test_everything_of_ours_says_whose_it_is(tmp_path: Path) -> None:
    wanted = {"name": NAME, "part-of": "kubernaut", "instance": NAME, "managed-by": "kustomize"}
    things = built(with_components(tmp_path, COMPONENTS))
    for thing in things:
        labels = thing["metadata"]["labels"]
        assert {name: labels[f"app.kubernetes.io/{name}"] for name in wanted} == wanted, thing["metadata"]["name"]
    assert named(things, "Deployment")["metadata"]["labels"]["app.kubernetes.io/version"] == __version__


def test_every_overlay_component_and_release_is_documented() -> None:
    text = (PROJECT / "docs" / "install.md").read_text("utf-8")
    assert "Kubernetes 1.29, 1.32 and 1.37" in text
    assert RELEASES == ("1.29", "1.32", "1.37")
    assert set(re.findall(r"^\| `overlays/([\w-]+)`", text, re.MULTILINE)) == set(OVERLAYS)
    section = text.split("| Component |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)`", section, re.MULTILINE)) == sorted(COMPONENTS)
