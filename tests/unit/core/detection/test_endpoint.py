import pytest

from toolset.core.candidate import Evidence, Reason, Rejected
from toolset.core.detection.annotations import Annotations
from toolset.core.detection.endpoint import Endpoint, PortSelector, endpoint
from toolset.model import Service, ServiceMeta, ServicePort, ServiceSpec

WISH = PortSelector(
    names=("web", "http"),
    numbers=(9090, 80),
    phrases=("ledger-ui",),
    exclude_names=frozenset({"metrics"}),
    exclude_numbers=frozenset({7946}),
)
METRICS, PHRASE = ServicePort(9090, "metrics"), ServicePort(7000, "x-ledger-ui-http")
HTTP, WEB, NUMBER = ServicePort(80, "http"), ServicePort(81, "web"), ServicePort(9090, "x")


@pytest.mark.parametrize(
    ("ports", "evidence", "chosen"),
    [
        pytest.param([HTTP, NUMBER, WEB], Evidence.LABEL, WEB, id="the first wish by name"),
        pytest.param([NUMBER, HTTP], Evidence.NAME, HTTP, id="a name before a number"),
        pytest.param([HTTP, NUMBER], Evidence.PORT, NUMBER, id="the number that was the evidence"),
        pytest.param([ServicePort(1, "metrics"), ServicePort(2, "a")], Evidence.LABEL, ServicePort(2, "a"), id="never"),
        pytest.param(
            [METRICS, ServicePort(1, "a")], Evidence.LABEL, METRICS, id="the product's own number, whatever its name"
        ),
        pytest.param([METRICS, HTTP], Evidence.LABEL, HTTP, id="a good name before that"),
        pytest.param([ServicePort(80, "metrics")], Evidence.LABEL, None, id="a number that is nobody's own"),
        pytest.param([ServicePort(7946, "web"), HTTP], Evidence.LABEL, HTTP, id="a number that is never meant"),
        pytest.param([NUMBER, PHRASE], Evidence.LABEL, NUMBER, id="a number before a phrase"),
        pytest.param([ServicePort(1, "a"), PHRASE], Evidence.NAME, PHRASE, id="a phrase"),
        pytest.param([NUMBER, PHRASE], Evidence.PORT, PHRASE, id="the phrase that was the evidence"),
        pytest.param([ServicePort(1, "a")], Evidence.NAME, None, id="a name alone does not make any port good"),
        pytest.param([ServicePort(1, "a"), ServicePort(2, "b")], Evidence.LABEL, None, id="no guess between two"),
        pytest.param(
            [ServicePort(1, "a"), ServicePort(2, "b")], Evidence.ANNOTATION, ServicePort(1, "a"), id="asked for"
        ),
        pytest.param([], Evidence.ANNOTATION, None, id="no port"),
    ],
)
def test_the_port_is_the_first_that_meets_the_wish(
    ports: list[ServicePort], evidence: Evidence, chosen: ServicePort | None
) -> None:
    assert WISH.choose(ports, evidence) == chosen


@pytest.mark.parametrize(
    ("port", "usable"),
    [
        pytest.param(ServicePort(1), True, id="lowest"),
        pytest.param(ServicePort(65535, protocol="TCP"), True, id="highest"),
        pytest.param(ServicePort(0), False, id="too low"),
        pytest.param(ServicePort(65536), False, id="too high"),
        pytest.param(ServicePort(80, protocol="UDP"), False, id="not TCP"),
    ],
)
def test_a_port_is_usable_when_tcp_knows_it(port: ServicePort, *, usable: bool) -> None:
    service = Service(ServiceMeta("a", "b"), ServiceSpec(ports=(port,)))
    found = endpoint(service, Annotations(), PortSelector(), "/base", "cluster.local", Evidence.LABEL)
    if usable:
        assert found == Endpoint("http", "a.b.svc.cluster.local", port.port, "/base", port)
    else:
        assert found == Rejected(Reason.NO_USABLE_PORT)


@pytest.mark.parametrize(
    ("url", "moved"),
    [
        pytest.param(
            "https://h/a",
            Endpoint("https", "h", 443, "/a", WEB, scheme_is_stated=True, path_is_stated=True),
            id="default port of https",
        ),
        pytest.param(
            "http://h",
            Endpoint("http", "h", 80, "", WEB, scheme_is_stated=True, path_is_stated=True),
            id="default port of http",
        ),
        pytest.param(
            "http://h:1", Endpoint("http", "h", 1, "", WEB, scheme_is_stated=True, path_is_stated=True), id="a port"
        ),
    ],
)
def test_a_url_moves_an_endpoint_and_keeps_the_port_that_is_declared(url: str, moved: Endpoint) -> None:
    assert Endpoint("http", "a", 81, "/b", WEB).moved_to(url) == moved
