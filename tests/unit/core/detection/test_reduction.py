"""What is kept of a Service is bounded, and detection gives the same answer with it."""

import sys
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.build import service
from toolset.core.candidate import UNKNOWN_BACKEND, Reason, Rejected, Verdict
from toolset.core.detection.annotations import NAMES, BadAnnotation, parse
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.detector import Detector
from toolset.core.detection.endpoint import PORTS_LIMIT
from toolset.core.detection.reduction import DIGEST_KEY, PAIRS_LIMIT, SHARED_LIMIT, Reduction, Shared
from toolset.model import Service, ServiceMeta, ServicePort, ServiceSpec

PREFIX = "kubernaut.io"
OWN = Detector(product="own", type="own", label_keys=("own.example/part",))
REDUCTION = Reduction(PREFIX, (OWN,))
OPTIONS = DetectionOptions(detectors=(OWN, *BUILT_IN))
MANY = {f"label-{number:04}": f"value-{number}" for number in range(4000)}
PORTS_4000 = tuple(ServicePort(number, f"port-{number}", app_protocol="x" * 300) for number in range(1, 4001))


def with_meta(base: Service, **changes: object) -> Service:
    return Service(msgspec.structs.replace(base.metadata, **changes), base.spec)


def with_spec(base: Service, **changes: object) -> Service:
    return Service(base.metadata, msgspec.structs.replace(base.spec, **changes))


def weight(value: object) -> int:
    """Return the bytes of ``value`` and of everything in it."""
    if isinstance(value, msgspec.Struct):
        return sys.getsizeof(value) + sum(weight(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value)
        return sys.getsizeof(pairs) + sum(weight(key) + weight(item) for key, item in pairs.items())
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return sys.getsizeof(items) + sum(map(weight, items))
    return sys.getsizeof(value)


def test_reduction_leaves_an_ordinary_service_as_it_is() -> None:
    ordinary = service()
    assert REDUCTION.reduce(ordinary) is ordinary


def test_reduction_keeps_only_our_annotations_that_are_read() -> None:
    annotations = {
        f"{PREFIX}/toolset": "enabled",
        f"{PREFIX}/unknown": "x",
        "kubectl.kubernetes.io/last-applied": "{}",
    }
    assert REDUCTION.reduce(service(annotations=annotations)).annotations == {f"{PREFIX}/toolset": "enabled"}
    assert REDUCTION.reduce(service(annotations={"other": "x"})).metadata.annotations is None


def test_reduction_keeps_that_a_service_has_a_certificate_and_not_its_name() -> None:
    annotations = {"service.beta.openshift.io/serving-cert-secret-name": "s" * 253}
    reduced = REDUCTION.reduce(service(annotations=annotations))
    assert reduced.annotations == dict.fromkeys(annotations, "")
    assert detect(reduced, OPTIONS) == detect(service(annotations=annotations), OPTIONS)


def test_reduction_keeps_the_names_of_two_misspelt_annotations() -> None:
    annotations = {f"{PREFIX}/toolset-{number}": "x" * 300 for number in range(4000)}
    reduced = REDUCTION.reduce(service(annotations=annotations))
    assert reduced.annotations == {f"{PREFIX}/toolset-0": "", f"{PREFIX}/toolset-1": ""}
    assert REDUCTION.reduce(reduced) == reduced


@pytest.mark.parametrize("value", ["/" + "a" * 262_144, "/\U0001f600"], ids=["long", "not ASCII"])
@pytest.mark.parametrize("name", NAMES)
def test_reduction_leaves_an_annotation_that_is_long_or_not_ascii_invalid(name: str, value: str) -> None:
    reduced = REDUCTION.reduce(service(annotations={f"{PREFIX}/{name}": value}))
    assert weight(reduced.metadata.annotations) < 512
    assert isinstance(found := parse(reduced.annotations, PREFIX), BadAnnotation)
    assert found.name == f"{PREFIX}/{name}"


def test_reduction_keeps_the_labels_that_rules_read() -> None:
    labels = {**MANY, "app": "grafana", "own.example/part": "x", "zz-last": "v"}
    reduced = REDUCTION.reduce(with_meta(service(), labels=labels))
    assert len(reduced.labels) == PAIRS_LIMIT
    assert {"app": "grafana", "own.example/part": "x"}.items() <= reduced.labels.items()


def test_reduction_keeps_two_large_selectors_apart() -> None:
    first = REDUCTION.reduce(with_spec(service(), selector=MANY))
    second = REDUCTION.reduce(with_spec(service(), selector={**MANY, "label-3999": "other"}))
    again = REDUCTION.reduce(with_spec(service(), selector=dict(reversed(MANY.items()))))
    assert first.spec.selector is not None
    assert len(first.spec.selector) == PAIRS_LIMIT + 1
    assert first.spec.selector.keys() - {DIGEST_KEY} < MANY.keys()
    assert first.spec == again.spec != second.spec


def test_reduction_keeps_the_first_ports_only() -> None:
    reduced = REDUCTION.reduce(with_spec(service(), ports=PORTS_4000))
    assert [port.port for port in reduced.ports] == list(range(1, PORTS_LIMIT + 1))
    assert {port.app_protocol for port in reduced.ports} == {None}


def test_detection_names_the_bound_when_no_port_of_very_many_is_usable() -> None:
    many = with_spec(service(app="grafana"), ports=PORTS_4000)
    verdict = detect(REDUCTION.reduce(many), OPTIONS)
    assert isinstance(verdict, Rejected)
    assert verdict.sentence == "it has no usable port (only the first 64 ports are considered)"
    annotations = {f"{PREFIX}/toolset": "enabled", f"{PREFIX}/toolset-port": "3000"}
    verdict = detect(REDUCTION.reduce(with_meta(many, annotations=annotations)), OPTIONS)
    assert isinstance(verdict, Rejected)
    assert verdict.reason is Reason.BAD_ANNOTATION
    assert verdict.detail.startswith("toolset-port=3000: the Service has ")
    assert verdict.detail.endswith(" and 59 more; only the first 64 ports are considered")


def test_reduction_bounds_the_memory_of_the_largest_service() -> None:
    hostile = Service(
        ServiceMeta(
            "prometheus",
            "team",
            labels={f"{'d' * 253}/{number:063}": "v" * 63 for number in range(1000)},
            annotations={f"{PREFIX}/{name}": "a" * 500 for name in NAMES},
        ),
        ServiceSpec(
            selector={f"{'s' * 253}/{number:063}": "v" * 63 for number in range(1000)},
            ports=tuple(ServicePort(number, "p" * 63, "TCP", "x" * 300, "t" * 15) for number in range(1000)),
        ),
    )
    assert weight(REDUCTION.reduce(hostile)) < 48 * 1024


words = st.sampled_from(
    ["app", "app.kubernetes.io/name", "component", "own.example/part", "x", "y", "prometheus", "web"]
)
pairs = st.dictionaries(words | st.text(min_size=1, max_size=4), words | st.text(max_size=80), max_size=40)


@given(labels=pairs, selector=pairs, annotations=st.dictionaries(st.sampled_from(NAMES), st.text(max_size=20)))
def test_reduction_does_not_change_what_detection_finds(
    labels: dict[str, str], selector: dict[str, str], annotations: dict[str, str]
) -> None:
    whole = Service(
        ServiceMeta(
            "prometheus",
            "team",
            labels=labels,
            annotations={f"{PREFIX}/{k}": v for k, v in annotations.items()},
        ),
        ServiceSpec(selector=selector, ports=(ServicePort(9090, "web"),), type="ClusterIP"),
    )
    reduced = REDUCTION.reduce(whole)
    assert verdict_without_backend(detect(reduced, OPTIONS)) == verdict_without_backend(detect(whole, OPTIONS))
    assert REDUCTION.reduce(reduced) == reduced


def verdict_without_backend(verdict: Verdict) -> Verdict:
    return verdict if isinstance(verdict, Rejected) else msgspec.structs.replace(verdict, backend=UNKNOWN_BACKEND)


def copied(service: Service) -> Service:
    """Return an equal Service that shares nothing with it, as the next line of a watch would bring it."""
    return msgspec.json.decode(msgspec.json.encode(service), type=Service)


def test_what_many_services_have_is_one_object() -> None:
    reduction = Reduction("kubernaut.io")
    ports = (ServicePort(9090, "web"), ServicePort(9091, "reload", "TCP", target_port="reload"))
    one = Service(ServiceMeta("a", "monitoring"), ServiceSpec("ClusterIP", ports=ports))
    first, second = reduction.reduce(copied(one)), reduction.reduce(copied(one))
    assert first == second == one
    assert first.metadata.namespace is second.metadata.namespace
    assert first.spec.type is second.spec.type
    assert first.ports is second.ports


def test_a_list_of_many_ports_is_not_remembered() -> None:
    reduction = Reduction("kubernaut.io")
    one = Service(ServiceMeta("a", "b"), ServiceSpec(ports=tuple(ServicePort(n, "p" * 63) for n in range(1, 10))))
    assert reduction.reduce(copied(one)).ports is not reduction.reduce(copied(one)).ports


def test_a_limited_number_of_values_is_remembered() -> None:
    shared = Shared[str]()
    first = shared.one("first")
    for number in range(SHARED_LIMIT):
        shared.one(str(number))
    again = "".join(["fir", "st"])
    assert again is not first
    assert shared.one(again) is again
