import pytest

from toolset.core.detection.schemes import CERTIFICATE_ANNOTATIONS, scheme_of
from toolset.model import Service, ServiceMeta, ServicePort

PLAIN = Service(ServiceMeta("a", "b"))
CERTIFIED = [Service(ServiceMeta("a", "b", annotations={name: "s"})) for name in sorted(CERTIFICATE_ANNOTATIONS)]


@pytest.mark.parametrize(
    ("port", "scheme"),
    [
        pytest.param(ServicePort(80), "http", id="nothing said"),
        pytest.param(ServicePort(443), "https", id="443, where the original used http"),
        pytest.param(ServicePort(8443, "web"), "https", id="8443"),
        pytest.param(ServicePort(9443, "web"), "https", id="9443"),
        pytest.param(ServicePort(443, "http"), "http", id="443 whose name says http"),
        pytest.param(ServicePort(9200, "https"), "https", id="the name https"),
        pytest.param(ServicePort(9090, "https-web"), "https", id="a name that starts with https"),
        pytest.param(ServicePort(9090, "web-https"), "https", id="a name that ends with https"),
        pytest.param(ServicePort(9090, "tls-web"), "https", id="a name with the word tls"),
        pytest.param(ServicePort(9090, "titles"), "http", id="a name with the letters only"),
        pytest.param(ServicePort(3000, "oauth-proxy"), "https", id="a proxy that ends TLS"),
        pytest.param(ServicePort(80, "x", app_protocol="HTTPS"), "https", id="appProtocol"),
        pytest.param(ServicePort(443, "https", app_protocol="http"), "http", id="appProtocol decides"),
        pytest.param(ServicePort(443, "x", app_protocol="grpc"), "https", id="another appProtocol says nothing"),
        pytest.param(ServicePort(9200, "http"), "https", id="a number on which the product speaks TLS"),
        pytest.param(ServicePort(80, "http", target_port=9200), "https", id="the same number on the pods"),
        pytest.param(ServicePort(9200, "x", app_protocol="http"), "http", id="appProtocol, against that"),
    ],
)
def test_the_scheme_follows_protocol_then_product_then_name_then_number(port: ServicePort, scheme: str) -> None:
    assert scheme_of(PLAIN, port, {9200}) == scheme


@pytest.mark.parametrize("service", CERTIFIED)
def test_a_certificate_means_tls_unless_the_port_says_http(service: Service) -> None:
    assert scheme_of(service, ServicePort(9090, "web")) == "https"
    assert scheme_of(service, ServicePort(9090)) == "https"
    assert scheme_of(service, ServicePort(9090, "http-web")) == "http"
    assert scheme_of(service, ServicePort(9090, "web", app_protocol="http")) == "http"
