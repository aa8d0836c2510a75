import pytest

from toolset.core.candidate import Evidence
from toolset.core.detection.endpoint import PortSelector, scheme_of
from toolset.model import ServicePort


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
