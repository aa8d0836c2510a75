import inspect
from pathlib import Path
from typing import Any, Final, cast

import pytest
import yaml

import toolset
from support.build import candidate
from toolset.core.backends.backend_type import BackendType, publish_fault, types_of
from toolset.core.backends.catalog import BACKEND_TYPES, DETECTORS, OPT_IN, TYPES
from toolset.core.backends.mapping import TOOLSETS, KubernautConfig, ToolsetMapping, Types
from toolset.core.candidate import Candidate, Reason
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.detector import Detector, Publish
from toolset.core.detection.endpoint import PortSelector
from toolset.core.dialects import schema
from toolset.core.dialects.documents import Credentials
from toolset.core.dialects.schema import CONFIGS, BaseToolset
from toolset.core.publishing.options import OutputOptions, publish_options
from toolset.core.publishing.publication import publish
from toolset.model import Service, ServiceMeta, ServicePort, ServiceSpec

OUTPUT: Final = OutputOptions(dialects=("kubernaut", "holmesgpt", "json"))


def parca() -> BackendType:
    return BackendType(
        type="parca",
        detectors=(
            Detector(
                product="parca",
                type="parca",
                phrases=("parca", "parca-server"),
                port=PortSelector(names=("http",), numbers=(7070,)),
                source="Parca's documentation: HTTP and gRPC on port 7070",
            ),
        ),
        mapping=ToolsetMapping(
            toolsets=("victorialogs",),
            kubernaut=KubernautConfig(fields={"query_endpoint": "/api"}),
            description="Profiles (Parca API)",
        ),
    )


def published(tools: list[Candidate], types: Types) -> dict[str, Any]:
    found = publish(tools, publish_options(OUTPUT, types))
    assert schema.fault(found.documents["custom_toolset.yaml"], OUTPUT.policy) is None
    return {key: yaml.safe_load(text) for key, text in found.data.items()}


def test_a_type_that_is_added_as_data_is_detected_and_published_in_every_dialect() -> None:
    assert len(inspect.getsource(parca).splitlines()) <= 40
    backends = (*BACKEND_TYPES, parca())
    service = Service(
        ServiceMeta("parca", "profiling", labels={"app.kubernetes.io/name": "parca"}),
        ServiceSpec(selector={"app": "parca"}, ports=(ServicePort(7070, "http"),)),
    )
    detectors = tuple(detector for backend in backends for detector in backend.detectors)
    verdict = detect(service, DetectionOptions(detectors))
    assert isinstance(verdict, Candidate)
    documents = published([verdict], types_of(backends))
    url = "http://parca.profiling.svc.cluster.local:7070"
    assert documents["parca-toolset.yaml"] == {
        "toolset": "parca",
        "enabled": True,
        "config": {"url": url, "timeout": "30s", "query_endpoint": "/api"},
    }
    block = documents["custom_toolset.yaml"]["toolsets"]["victorialogs"]
    assert block == {"enabled": True, "config": {"api_url": url, "timeout_seconds": 5}}
    assert documents["toolset.json"]["tools"][0]["description"] == "Profiles (Parca API)"


@pytest.mark.parametrize("layer", ["adapters", "commands", "config", "reconciler", "runtime", "service", "telemetry"])
def test_only_the_core_names_types(layer: str) -> None:
    quoted = {f'"{kind}"' for kind in TYPES}
    texts = {path: path.read_text("utf-8") for path in (Path(toolset.__file__).parent / layer).rglob("*.py")}
    assert texts
    assert [path.name for path, text in texts.items() if any(kind in text for kind in quoted)] == []


def test_every_built_in_detector_belongs_to_a_backend_of_its_type() -> None:
    every = {detector.product: detector for backend in BACKEND_TYPES for detector in backend.detectors}
    assert {detector.product for detector in BUILT_IN} <= every.keys()
    assert [detector.product for detector in (*DETECTORS, *OPT_IN)] == [*every]
    for backend in BACKEND_TYPES:
        assert {detector.type for detector in backend.detectors} == {backend.type}
        assert set(backend.mapping.toolsets) <= TOOLSETS.keys()


@pytest.mark.parametrize("name", TOOLSETS)
def test_every_toolset_for_backends_has_the_fields_that_are_written(name: str) -> None:
    toolset_ = TOOLSETS[name]
    assert {toolset_.url_key, *toolset_.config, *toolset_.options} <= {*CONFIGS[name].__struct_fields__}


def test_types_of_one_toolset_are_instances_of_it() -> None:
    own = Detector(product="vendor", type="vendor-metrics", phrases=("vendor",), publish=Publish("prometheus/metrics"))
    tools = [candidate(), candidate("vendor", tool_type="vendor-metrics", port=9090)]
    documents = published(tools, types_of(BACKEND_TYPES, [own]))
    config = documents["custom_toolset.yaml"]["toolsets"]["prometheus/metrics"]["config"]
    assert [instance["name"] for instance in config["instances"]] == ["monitoring-prometheus", "monitoring-vendor"]
    assert documents["vendor-metrics-toolset.yaml"]["config"]["type"] == "vendor-metrics"


def test_untrusted_tools_of_all_types_in_a_toolset_share_what_the_reader_survives() -> None:
    own = Detector(product="vendor", type="vendor-metrics", phrases=("vendor",), publish=Publish("prometheus/metrics"))
    tools = [
        candidate(namespace="team-a", trusted=False),
        candidate("vendor", namespace="team-b", tool_type="vendor-metrics", trusted=False),
    ]
    found = publish(tools, publish_options(OUTPUT, types_of(BACKEND_TYPES, [own])))
    (rejected,) = found.rejected.values()
    assert rejected.detail == "HolmesGPT survives 1 vendor-metrics of untrusted namespaces, should they all hang"


def test_a_toolset_that_reads_one_backend_gets_one() -> None:
    name = "prometheus/multi-tenant-metrics"
    tenancy = {"tenant_header": "X-Scope-OrgID", "tenant_label": "tenant"}
    own = Detector(product="mimir", type="tenants", phrases=("mimir",), publish=Publish(name, config=tenancy))
    tools = [candidate("a", tool_type="tenants"), candidate("b", tool_type="tenants")]
    types = types_of(BACKEND_TYPES, [own])
    assert publish_fault(own, types, {}) is None
    found = publish(tools, publish_options(OUTPUT, types))
    block = cast("dict[str, Any]", yaml.safe_load(found.data["custom_toolset.yaml"]))["toolsets"][name]
    assert block["config"] == {"prometheus_url": "http://a.monitoring.svc.cluster.local:8080", **tenancy}
    assert [rejected.detail for rejected in found.rejected.values()] == [
        f"HolmesGPT reads only one backend with {name}"
    ]


@pytest.mark.parametrize(
    ("name", "login"),
    [
        ("prometheus/metrics", {"additional_headers": {"Authorization": "Bearer {{ env.T }}"}}),
        ("grafana/loki", {"additional_headers": {"Authorization": "Bearer {{ env.T }}"}, "api_key": "{{ env.K }}"}),
        ("elasticsearch/data", {"api_key": "{{ env.K }}"}),
        ("victorialogs", {"bearer_token": "{{ env.T }}"}),
    ],
)
def test_a_toolset_gets_the_credentials_for_which_it_has_fields(name: str, login: dict[str, Any]) -> None:
    own = Detector(product="own", type="own", phrases=("own",), publish=Publish(name))
    credentials = {"monitoring/a": Credentials(bearer_token="T", api_key="K")}
    options = publish_options(OutputOptions(credentials=credentials), types_of(BACKEND_TYPES, [own]))
    found = publish([candidate("a", tool_type="own")], options)
    config = cast("dict[str, Any]", yaml.safe_load(found.data["custom_toolset.yaml"]))["toolsets"][name]["config"]
    fixed = {TOOLSETS[name].url_key, *TOOLSETS[name].config}
    assert {field: value for field, value in config.items() if field not in fixed} == login


@pytest.mark.parametrize(
    ("base", "kept", "detail"),
    [
        ({}, "mimir", "the tools of toolset prometheus/multi-tenant-metrics have the same names"),
        (
            {"prometheus/metrics": BaseToolset(config={"prometheus_url": "http://own.example.com:9090"})},
            "prometheus",
            "the tools of toolset prometheus/metrics have the same names",
        ),
        ({"prometheus/metrics": BaseToolset(enabled=False)}, "mimir", "have the same names"),
    ],
    ids=["discovered", "configured", "configured and off"],
)
def test_of_two_toolsets_whose_tools_have_the_same_names_one_is_published(
    base: dict[str, BaseToolset], kept: str, detail: str
) -> None:
    name = "prometheus/multi-tenant-metrics"
    own = Detector(product="mimir", type="tenants", phrases=("mimir",), publish=Publish(name))
    options = OutputOptions(base_toolsets={"kubernetes/core": BaseToolset(), **base})
    tools = [candidate(), candidate("mimir", tool_type="tenants")]
    found = publish(tools, publish_options(options, types_of(BACKEND_TYPES, [own])))
    assert [tool.key.name for tool in found.tools] == [kept]
    (rejected,) = found.rejected.values()
    assert rejected.reason is Reason.NAME_TAKEN
    assert rejected.detail.endswith(detail)
