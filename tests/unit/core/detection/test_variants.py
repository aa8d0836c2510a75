from itertools import product

import pytest

from toolset.core.candidate import Candidate, Variant
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.detection.variants import VARIANTS_LIMIT, variants
from toolset.model import Service, ServiceMeta, ServicePort, ServiceSpec

OPTIONS = DetectionOptions(BUILT_IN)


def found(name: str, port: ServicePort, annotations: dict[str, str] | None = None) -> Candidate:
    meta = ServiceMeta(namespace="a", name=name, uid="u", resource_version="1", annotations=annotations)
    verdict = detect(Service(meta, ServiceSpec(selector={"app": name}, ports=(port,))), OPTIONS)
    assert isinstance(verdict, Candidate)
    return verdict


def shown(ways: tuple[Variant, ...]) -> list[str]:
    return [f"{way.scheme}:{way.port}{way.path}" for way in ways]


def test_what_nothing_decides_is_left_to_the_probe() -> None:
    seen = found("prometheus", ServicePort(port=9090, name="web"))
    assert shown(seen.variants) == ["http:9090"]
    assert shown(seen.fallbacks) == ["https:9090", "http:9090/prometheus", "https:9090/prometheus"]


def test_both_schemes_are_likely_where_an_installation_of_the_product_chooses() -> None:
    seen = found("elasticsearch", ServicePort(port=9200, name="http"))
    assert (shown(seen.variants), seen.fallbacks) == (["http:9200", "https:9200"], ())
    seen = found("c1-es-http", ServicePort(port=9200, name="https"))
    assert shown(seen.variants) == ["https:9200", "http:9200"]


@pytest.mark.parametrize("protocol", ["http", "HTTPS"])
def test_the_scheme_that_app_protocol_states_is_not_varied(protocol: str) -> None:
    seen = found("elasticsearch", ServicePort(port=9200, name="http", app_protocol=protocol))
    assert shown((*seen.variants, *seen.fallbacks)) == [f"{protocol.lower()}:9200"]


def test_an_app_protocol_that_is_no_scheme_states_nothing() -> None:
    seen = found("elasticsearch", ServicePort(port=9200, name="http", app_protocol="kubernetes.io/ws"))
    assert len(seen.variants) == 2


@pytest.mark.parametrize(
    ("annotations", "ways"),
    [
        ({"toolset-scheme": "https"}, ["https:3000", "https:3000/grafana"]),
        ({"toolset-path": "/x"}, ["http:3000/x", "https:3000/x"]),
        ({"toolset-path": "/"}, ["http:3000", "https:3000"]),
        ({"toolset-scheme": "http", "toolset-path": "/x"}, ["http:3000/x"]),
        ({"toolset-endpoint": "http://grafana.a.svc.cluster.local:3000"}, ["http:3000"]),
        ({"toolset-port": "3000"}, ["http:3000", "https:3000", "http:3000/grafana", "https:3000/grafana"]),
    ],
)
def test_what_an_annotation_states_is_not_varied(annotations: dict[str, str], ways: list[str]) -> None:
    own = {f"kubernaut.io/{name}": value for name, value in annotations.items()}
    seen = found("grafana", ServicePort(port=3000, name="http"), own)
    assert shown((*seen.variants, *seen.fallbacks)) == ways


def test_there_are_never_more_than_four_variants_and_none_twice() -> None:
    paths = ("", "/a", "/b", "/c")
    for scheme, stated, known, either in product(("http", "https"), (False, True), (False, True), (False, True)):
        first = Variant(scheme, 80, "")
        others = variants(first, paths, scheme_is_stated=stated, path_is_stated=known, either_scheme=either)
        ways = (first, *others[0], *others[1])
        assert len(set(ways)) == len(ways) <= VARIANTS_LIMIT
        assert not stated or {way.scheme for way in ways} == {scheme}
        assert not known or {way.path for way in ways} == {""}
