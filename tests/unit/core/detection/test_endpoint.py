import pytest

from toolset.core.candidate import Evidence, Reason, Rejected
from toolset.core.detection.annotations import Annotations
from toolset.core.detection.endpoint import Endpoint, PortSelector, endpoint, scheme_of
from toolset.model import Service, ServiceMeta, ServicePort, ServiceSpec


@pytest.mark.parametrize(
    ("port", "scheme"),
    [
        pytest.param(ServicePort(80), "http", id="nothing said"),
        pytest.param(ServicePort(443), "https", id="443, where the original used http"),
        pytest.param(ServicePort(8443, "web"), "https", id="8443"),
        pytest.param(ServicePort(443, "http"), "http", id="443 whose name says http"),
        pytest.param(ServicePort(9200, "https"), "https", id="the name https"),
        pytest.param(ServicePort(9090, "https-web"), "https", id="a name that starts with https"),
        pytest.param(ServicePort(80, "x", app_protocol="HTTPS"), "https", id="appProtocol"),
        pytest.param(ServicePort(443, "https", app_protocol="http"), "http", id="appProtocol decides"),
        pytest.param(ServicePort(443, "x", app_protocol="grpc"), "https", id="another appProtocol says nothing"),
    ],
)
def test_the_scheme_follows_protocol_then_name_then_number(port: ServicePort, scheme: str) -> None:
    assert scheme_of(port) == scheme


WISH = PortSelector(names=("web", "http"), numbers=(9090,), exclude_names=frozenset({"metrics"}))
HTTP, WEB, NUMBER = ServicePort(80, "http"), ServicePort(81, "web"), ServicePort(9090, "x")


@pytest.mark.parametrize(
    ("ports", "evidence", "chosen"),
    [
        pytest.param([HTTP, NUMBER, WEB], Evidence.LABEL, WEB, id="the first wish by name"),
        pytest.param([NUMBER, HTTP], Evidence.NAME, HTTP, id="a name before a number"),
        pytest.param([HTTP, NUMBER], Evidence.PORT, NUMBER, id="the number that was the evidence"),
        pytest.param(
            [ServicePort(9090, "metrics"), ServicePort(1, "a")], Evidence.LABEL, ServicePort(1, "a"), id="never"
        ),
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
        pytest.param("https://h/a", Endpoint("https", "h", 443, "/a", WEB), id="default port of https"),
        pytest.param("http://h", Endpoint("http", "h", 80, "", WEB), id="default port of http"),
        pytest.param("http://h:1", Endpoint("http", "h", 1, "", WEB), id="a port"),
    ],
)
def test_a_url_moves_an_endpoint_and_keeps_the_port_that_is_declared(url: str, moved: Endpoint) -> None:
    assert Endpoint("http", "a", 81, "/b", WEB).moved_to(url) == moved
