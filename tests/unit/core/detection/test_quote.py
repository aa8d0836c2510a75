"""The part of a Service that is quoted as evidence is in it."""

import pytest

from support.detection_cases import CASES, made
from toolset.core.candidate import Candidate, Evidence
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.detector import Detector, KnownPort
from toolset.core.detection.endpoint import PortSelector
from toolset.core.detection.quote import quote
from toolset.model import Service

DETECTORS = {detector.product: detector for detector in BUILT_IN}


@pytest.mark.parametrize(
    ("evidence", "product", "expected"),
    [
        (Evidence.LABEL, "prometheus", "label app=prometheus-server"),
        (Evidence.LABEL, "grafana", "selector k8s-app=grafana"),
        (Evidence.LABEL, "jaeger", ""),
        (Evidence.NAME, "jaeger", "name prod-jaeger"),
        (Evidence.PORT, "own", "port own-api (80)"),
        (Evidence.PORT, "numbered", "port 7777"),
        (Evidence.PORT, "jaeger", ""),
        (Evidence.LABEL, "keyed", "label own.example/part=x"),
        (Evidence.ANNOTATION, "grafana", ""),
    ],
)
def test_the_part_that_is_the_evidence_is_quoted(evidence: Evidence, product: str, expected: str) -> None:
    labels = {"own.example/part": "x", "note": "jaeger", "app": "prometheus-server"}
    ports = (("own-api", 80, None), (None, 7777, None))
    service = made("n", "prod-jaeger", {"k8s-app": "grafana"}, ports, labels=labels)
    own = Detector(product="own", type="own", port=PortSelector(phrases=("own-api",)))
    numbered = Detector(product="numbered", type="own", known_ports=(KnownPort("", 7777),))
    keyed = Detector(product="keyed", type="own", label_keys=("own.example/part",))
    known = DETECTORS | {"own": own, "numbered": numbered, "keyed": keyed}
    assert quote(service, known[product], evidence) == expected


def test_the_evidence_of_every_known_shape_is_quoted_from_it() -> None:
    options = DetectionOptions(BUILT_IN)
    for service in (service for case in CASES.values() for service in case.services):
        verdict = detect(service, options)
        if isinstance(verdict, Candidate) and verdict.evidence is not Evidence.ANNOTATION:
            part = quote(service, DETECTORS[verdict.product], verdict.evidence)
            assert part in _parts(service), (service, verdict.product)


def _parts(service: Service) -> set[str]:
    selector = service.spec.selector or {}
    return {
        f"name {service.metadata.name}",
        *(f"label {key}={value}" for key, value in service.labels.items()),
        *(f"selector {key}={value}" for key, value in selector.items()),
        *(f"port {port.name} ({port.port})" if port.name else f"port {port.port}" for port in service.ports),
    }
