"""The values of the Helm chart do what they say, and a name or value that is not valid is refused."""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from shutil import copytree
from typing import Any, Final

import pytest
import yaml

from deploy.charts import CHART, CHECKSUM, PRODUCTION, Helm
from deploy.manifests import (
    NAME,
    NAMESPACE,
    OPERATOR,
    RELEASES,
    TARGET,
    Manifest,
    grants,
    named,
    pod,
    settings_of,
)
from toolset import __version__
from toolset.config.loader import load
from toolset.service.permissions import needed

VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
GROUPS: Final = ("image", "monitoring", "networkPolicy", "status", "otlp")
REFUSED: Final = re.compile(r"at '([^']*)': additional properties (.*) not allowed")
DIGEST: Final = f"sha256:{'0' * 64}"


@pytest.mark.parametrize("files", [(), (PRODUCTION,)], ids=["default", "production"])
def test_chart_passes_the_strict_lint(files: tuple[Path, ...], helm: Helm) -> None:
    helm.output("lint", "--strict", str(CHART), *(f"--values={file}" for file in files))


def misspelled() -> Iterator[tuple[str, ...]]:
    """Yield the path of each value, with a letter too many at the end, and some of settings."""
    for name, value in VALUES.items():
        yield (f"{name}s",)
        if name in GROUPS:
            yield from ((name, f"{inner}s") for inner in value)
    yield ("resources", "request")
    yield ("settings", "helth")
    yield ("settings", "health", "timout")
    yield ("settings", "target", "nam")
    yield ("settings", "output", "dialect")


def nested(paths: Iterable[tuple[str, ...]]) -> dict[str, Any]:
    """Return an empty mapping at each path."""
    values: dict[str, Any] = {}
    for path in paths:
        inner = values
        for name in path:
            inner = inner.setdefault(name, {})
    return values


def test_every_misspelled_value_is_refused(helm: Helm) -> None:
    paths = [*misspelled()]
    for command in (("lint", str(CHART)), ("template", "any-release", str(CHART))):
        done = helm.run(*command, values=nested(paths))
        assert done.returncode == 1
        refused = {
            (*place.split("/")[1:], name)
            for place, names in REFUSED.findall(done.stdout + done.stderr)
            for name in re.findall(r"'(\w+)'", names)
        }
        assert refused == set(paths)


@pytest.mark.parametrize(
    "values",
    [
        {"highAvailability": "yes"},
        {"image": {"digest": "sha256:0"}},
        {"image": {"tag": "a tag"}},
        {"image": {"repository": ""}},
        {"otlp": {"protocol": "http/json"}},
        {"otlp": {"endpoint": "otel-collector:4318"}},
        {"monitoring": {"labels": {"release": 1}}},
        {"env": [{"value": "without a name"}]},
        {"settings": {"log": {"level": "verbose"}}},
        {"settings": {"election": {"enabled": "yes"}}},
        {"settings": {"health": {"interval": 10}}},
        {"settings": {"target": None}},
    ],
    ids=str,
)
def test_value_that_is_not_valid_is_refused(values: dict[str, Any], helm: Helm) -> None:
    done = helm.run("template", "any-release", str(CHART), values=values)
    assert done.returncode == 1
    assert "values don't meet the specifications of the schema" in done.stderr


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, f"{NAME}:dev"),
        ({"tag": ""}, f"{NAME}:{__version__}"),
        ({"repository": "registry.example/toolset", "tag": "1"}, "registry.example/toolset:1"),
        ({"repository": "registry.example/toolset", "digest": DIGEST}, f"registry.example/toolset@{DIGEST}"),
    ],
)
def test_image_is_the_one_that_the_values_name(image: dict[str, str], reference: str, helm: Helm) -> None:
    assert pod(helm.objects({"image": image}))["containers"][0]["image"] == reference


DIFFICULT: Final = (
    "*",
    "yes",
    "null",
    "~",
    "12",
    "1e3",
    "0x1f",
    "2026-01-02",
    "a: b",
    "# a",
    "'",
    '"',
    "&a",
    "!a",
    "a\nb\n",
)
SETTINGS: Final[dict[str, Any]] = {
    "discovery": {"exclude_namespaces": [*DIFFICULT, "{{ .Release.Name }}", "é"], "untrusted_limit": 123456789},
    "election": {"enabled": False, "lease_duration": "1m30s"},
    "health": {"detectors": {"loki": {"services": ["*/loki"], "headers_from": {"X-Scope-OrgID": "/etc/loki/tenant"}}}},
    "output": {"credentials": {"monitoring/grafana": {"api_key": "GRAFANA_API_KEY"}}},
    "server": {"port": 9090},
}


def test_settings_reach_the_pod_unchanged(helm: Helm) -> None:
    things = helm.objects({"settings": SETTINGS})
    wanted = SETTINGS | {"target": {"namespace": NAMESPACE, "name": TARGET}}
    assert settings_of(things) == load(json.dumps(wanted), {}, {})
    assert pod(things)["containers"][0]["ports"] == [{"name": "http", "containerPort": 9090}]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"target": {"namespace": "1e3", "name": "12"}},
        {"election": {"lease_name": "on"}},
        {"discovery": {"watch_namespaces": ["monitoring", "12"]}},
        {"output": {"overrides_from": "0x1f"}, "target": {"namespace": "holmes"}},
        {"notify": {"deployment": "12/1e3"}},
        {"health": {"via": "apiserver-proxy"}},
        {"health": {"via": "apiserver-proxy"}, "discovery": {"watch_namespaces": ["monitoring"]}},
        {"status": {"auth": "kubernetes"}},
    ],
    ids=str,
)
def test_permissions_are_those_that_the_settings_need(settings: dict[str, Any], helm: Helm) -> None:
    things = helm.objects({"settings": settings})
    delegated = {"tokenreviews", "subjectaccessreviews"}
    asked = [each.attributes for each in needed(settings_of(things))]
    wanted = {
        (each.namespace, each.group, "/".join(filter(None, (each.resource, each.subresource))), each.name, each.verb)
        for each in asked
    }
    assert grants(things) == {each for each in wanted if each[2] not in delegated}
    there = {(thing["kind"], thing["metadata"]["name"]) for thing in things}
    bound = {(thing["roleRef"]["kind"], thing["roleRef"]["name"]) for thing in things if "roleRef" in thing}
    delegates = delegated <= {each.resource for each in asked}
    assert bound - there == ({("ClusterRole", "system:auth-delegator")} if delegates else set())


@pytest.mark.parametrize("namespace", ["team-ai", "12"])
def test_in_another_namespace_everything_is_there(namespace: str, helm: Helm) -> None:
    values = {"monitoring": {"enabled": True}, "highAvailability": True, "networkPolicy": {"enabled": True}}
    things = helm.objects(values, namespace=namespace)
    assert {thing["metadata"].get("namespace", namespace) for thing in things} == {namespace}
    subjects = [subject for thing in things for subject in thing.get("subjects", ())]
    assert subjects == 2 * [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}]
    assert settings_of(things).target.namespace == namespace


def checksum(things: list[Manifest]) -> str:
    template: Manifest = named(things, "Deployment")["spec"]["template"]
    found: str = template["metadata"]["annotations"][CHECKSUM]
    return found


def test_checksum_in_the_pods_follows_the_settings(helm: Helm) -> None:
    before, same = (checksum(helm.objects(values)) for values in ({}, {"highAvailability": True}))
    assert before == same
    assert checksum(helm.objects({"settings": {"health": {"interval": "10s"}}})) != before


LISTS: Final[dict[str, list[dict[str, Any]]]] = {
    "env": [{"name": "SSL_CERT_FILE", "value": "/etc/loki/ca.crt"}],
    "volumes": [{"name": "loki", "secret": {"secretName": "loki"}}],
    "volumeMounts": [{"name": "loki", "mountPath": "/etc/loki", "readOnly": True}],
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
}
FULL: Final[dict[str, Any]] = {
    **LISTS,
    "imagePullSecrets": ["registry"],
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "podAnnotations": {"example.com/note": "1"},
    "resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}},
    "status": {"enabled": True, "tlsSecret": "12"},
    "otlp": {"endpoint": "https://collector.example", "protocol": "grpc"},
    "monitoring": {"enabled": True, "labels": {"release": "prometheus"}, "pages": "https://code.example/blob/main/"},
    "networkPolicy": {"enabled": True, "prometheusNamespace": "metrics"},
}
"""Values that no overlay and no component has."""


def test_values_are_in_the_objects(helm: Helm) -> None:
    things = helm.objects(FULL)
    spec = pod(things)
    (container,) = spec["containers"]
    parts = {"env": container, "volumeMounts": container, "volumes": spec, "tolerations": spec}
    assert all(each in parts[name][name] for name, added in LISTS.items() for each in added)
    assert (spec["imagePullSecrets"], spec["nodeSelector"]) == ([{"name": "registry"}], FULL["nodeSelector"])
    assert container["resources"] == {
        "requests": VALUES["resources"]["requests"] | {"cpu": 1},
        "limits": VALUES["resources"]["limits"] | {"memory": "1Gi"},
    }
    annotations = named(things, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert FULL["podAnnotations"].items() <= annotations.items()
    assert {"name": "status-tls", "secret": {"secretName": "12"}} in spec["volumes"]
    assert {"name": "OTEL_EXPORTER_OTLP_PROTOCOL", "value": "grpc"} in container["env"]
    labels = [thing["metadata"]["labels"]["release"] for thing in things if thing["apiVersion"] == OPERATOR]
    assert labels == ["prometheus"] * 2
    groups = named(things, "PrometheusRule")["spec"]["groups"]
    runbooks = {rule["annotations"]["runbook_url"].partition("#")[0] for group in groups for rule in group["rules"]}
    assert runbooks == {"https://code.example/blob/main/docs/operations.md"}
    (rule,) = named(things, "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "metrics"}}}]


def test_package_renders_what_the_folder_renders(helm: Helm, tmp_path: Path) -> None:
    helm.output("package", str(CHART), f"--destination={tmp_path}")
    package = tmp_path / f"{NAME}-{__version__}.tgz"
    assert helm.objects({}, PRODUCTION, chart=package) == helm.objects({}, PRODUCTION)


def test_chart_whose_link_is_not_followed_is_refused(helm: Helm, tmp_path: Path) -> None:
    """A checkout without symbolic links has a small file in the place of each."""
    folder = copytree(CHART, tmp_path / "helm", symlinks=True)
    (folder / "kustomize").unlink()
    (folder / "kustomize").write_text("../kustomize", encoding="utf-8")
    done = helm.run("template", "any-release", str(folder))
    assert done.returncode == 1
    assert "kustomize must be a symbolic link to deploy/kustomize" in done.stderr


def test_chart_renders_for_the_oldest_release_and_refuses_an_older_one(helm: Helm) -> None:
    oldest = RELEASES[0]
    assert helm.output("template", "any-release", str(CHART), f"--kube-version={oldest}.0")
    major, minor = oldest.split(".")
    done = helm.run("template", "any-release", str(CHART), f"--kube-version={major}.{int(minor) - 1}.0")
    assert done.returncode == 1
    assert "incompatible with Kubernetes" in done.stderr
