"""The floor for types that are not the plan's: Services of our own making, after those of charts and operators."""

import re

import msgspec
import pytest

from toolset.core.backends.catalog import DETECTORS, OPT_IN
from toolset.core.candidate import Candidate
from toolset.core.detection.detect import DetectionOptions, detect, detect_further
from toolset.core.detection.detector import Detector
from toolset.core.detection.identity import identify
from toolset.core.dialects.documents import Credentials
from toolset.core.inventory import ALIVE, Inventory
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish
from toolset.model import Service, ServiceMeta, ServicePort, ServiceSpec
from unit.core.backends.labelled import Labelled, labelled, sources


def tools(cases: list[Labelled], detectors: tuple[Detector, ...]) -> dict[str, Candidate]:
    """Return what is published when every candidate is healthy."""
    options, inventory = DetectionOptions(detectors), Inventory()
    for case in cases:
        verdict = detect(case.service, options)
        inventory.detected(case.service.key, verdict)
        if isinstance(verdict, Candidate):
            inventory.probed(verdict, ALIVE)
    return {str(tool.key): tool for tool in inventory.tools()}


def test_there_are_enough_services_and_each_has_a_source() -> None:
    cases, known = labelled(), sources()
    assert sum(bool(case.backend) for case in cases) >= 40
    assert sum(not case.backend for case in cases) >= 40
    assert {case.source for case in cases} == known.keys()
    assert all(re.fullmatch(r"[0-9a-f]{40}", commit) for _, _, commit, _ in known.values())
    assert len({case.name for case in cases}) == len(cases)


@pytest.mark.parametrize("enabled", [False, True], ids=["by default", "opted in"])
def test_services_of_the_new_types_are_recognised(*, enabled: bool) -> None:
    cases = labelled()
    found = tools(cases, (*DETECTORS, *OPT_IN) if enabled else DETECTORS)
    wanted = {case.name: case for case in cases if case.wanted and (enabled or not case.opt_in)}
    right = {name for name, tool in found.items() if name in wanted and wanted[name].is_met(tool)}
    wrong = {name: (tool.type, tool.url) for name, tool in found.items() if name not in right}
    assert len(right) / len(found) >= 0.99, wrong
    assert len(right) / len(wanted) >= 0.97, wanted.keys() - right


def query_frontend() -> Service:
    """Return the Service of the Tempo operator that serves Tempo's API and Jaeger's."""
    labels = {
        "app.kubernetes.io/name": "tempo",
        "app.kubernetes.io/component": "query-frontend",
        "app.kubernetes.io/managed-by": "tempo-operator",
    }
    ports = (ServicePort(3200, "http"), ServicePort(9095, "grpc"), ServicePort(16686, "jaeger-ui"))
    meta = ServiceMeta("tempo-simplest-query-frontend", "to", labels=labels)
    return Service(meta, ServiceSpec(selector=labels, ports=ports))


def both_tools() -> list[Candidate]:
    options, service = DetectionOptions(DETECTORS), query_frontend()
    first = detect(service, options)
    assert isinstance(first, Candidate)
    return [first, *detect_further(service, first, options)]


def test_a_service_with_a_port_named_after_another_product_is_two_tools() -> None:
    found = both_tools()
    host = "http://tempo-simplest-query-frontend.to.svc.cluster.local"
    assert [(tool.type, tool.url) for tool in found] == [("tempo", f"{host}:3200"), ("jaeger", f"{host}:16686")]
    assert [str(tool.key) for tool in found] == [
        "to/tempo-simplest-query-frontend",
        "to/tempo-simplest-query-frontend:jaeger",
    ]
    published = publish(found, OutputOptions(dialects=("kubernaut", "holmesgpt", "json")))
    assert len(published.tools) == 2
    assert {"tempo-toolset.yaml", "jaeger-toolset.yaml"} <= published.data.keys()
    assert "jaeger-to-tempo-simplest-query-frontend" in published.data["custom_toolset.yaml"]
    names = [tool["name"] for tool in msgspec.json.decode(published.data["toolset.json"])["tools"]]
    assert names == ["tempo-simplest-query-frontend.to.jaeger", "tempo-simplest-query-frontend"]


def test_a_service_that_two_products_claim_with_one_port_is_one_tool() -> None:
    labels = {"app.kubernetes.io/name": "jaeger"}
    ports = (ServicePort(9090, "web"),)
    service = Service(ServiceMeta("prometheus", "to", labels=labels), ServiceSpec(selector=labels, ports=ports))
    options = DetectionOptions(DETECTORS)
    first = detect(service, options)
    assert isinstance(first, Candidate)
    assert {each.type for each, _ in options.index.matches(service, identify(service))} == {"jaeger", "prometheus"}
    assert detect_further(service, first, options) == ()


def test_no_labelled_service_but_those_with_such_a_port_is_two_tools() -> None:
    options = DetectionOptions((*DETECTORS, *OPT_IN))
    for case in labelled():
        first = detect(case.service, options)
        if isinstance(first, Candidate):
            assert detect_further(case.service, first, options) == (), case.name


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("suppress: [to/tempo-simplest-query-frontend]", 0, id="suppressed"),
        pytest.param("tools: {to/tempo-simplest-query-frontend: {enabled: false}}", 0, id="disabled"),
        pytest.param("tools: {to/tempo-simplest-query-frontend: {url: 'http://elsewhere:1'}}", 2, id="moved"),
    ],
)
def test_what_hides_a_service_hides_all_its_tools_and_what_moves_it_moves_the_first(text: str, left: int) -> None:
    found = publish(both_tools(), OutputOptions(), text=text)
    assert len(found.tools) == left
    assert [tool.port for tool in found.tools if tool.type == "jaeger"] == [16686] * (left // 2)


def test_credentials_of_a_service_are_those_of_its_first_tool() -> None:
    known = {"to/tempo-simplest-query-frontend": Credentials(bearer_token="T")}
    found = publish(both_tools(), OutputOptions(credentials=known))
    assert found.data["custom_toolset.yaml"].count("env.T ") == 1
