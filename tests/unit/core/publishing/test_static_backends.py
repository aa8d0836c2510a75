from typing import Any, Final

import msgspec
import pytest
import yaml

from support.build import candidate
from toolset.core.candidate import Candidate, Evidence
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.dialects.documents import Credentials
from toolset.core.inventory import Inventory, instances
from toolset.core.publishing.options import OutputOptions, publish_options
from toolset.core.publishing.publication import Publication, publish
from toolset.core.publishing.static_backends import StaticBackend, static_candidates, static_credentials
from toolset.model import Key

DIALECTS: Final = OutputOptions(dialects=("kubernaut", "holmesgpt", "json"))


def backend(url: str = "https://metrics.example.com/prom/", **fields: Any) -> StaticBackend:
    return msgspec.convert({"type": "prometheus", "name": "prod", "url": url, **fields}, StaticBackend)


def made(*backends: StaticBackend) -> list[Candidate]:
    return list(static_candidates(backends, BUILT_IN).values())


def published(*tools: Candidate, text: str = "", credentials: dict[str, Credentials] | None = None) -> Publication:
    options = publish_options(DIALECTS, DIALECTS.types, credentials or {})
    return publish(instances(tools), options, text=text or None)


def toolsets(found: Publication) -> dict[str, Any]:
    return dict(yaml.safe_load(found.data["custom_toolset.yaml"])["toolsets"])


def test_a_static_backend_is_a_trusted_candidate_at_its_url() -> None:
    (tool,) = made(backend(priority=3))
    assert (tool.key, tool.type, tool.evidence) == (Key("", "prod"), "prometheus", Evidence.SETTINGS)
    assert tool.url == "https://metrics.example.com:443/prom"
    assert (tool.trusted, tool.external, tool.asked, tool.admin_priority) == (True, False, True, 3)
    assert tool.check == BUILT_IN[0].check


@pytest.mark.parametrize(
    ("url", "expected", "address"),
    [
        pytest.param("http://10.1.2.3", "http://10.1.2.3:80", "10.1.2.3", id="IPv4"),
        pytest.param("http://[fd00::9]:9090", "http://[fd00::9]:9090", "fd00::9", id="IPv6"),
        pytest.param("http://Metrics.example.com:8428/", "http://metrics.example.com:8428", "", id="a name"),
    ],
)
def test_an_address_is_dialled_as_it_is(url: str, expected: str, address: str) -> None:
    (tool,) = made(backend(url))
    assert (tool.url, tool.address) == (expected, address)


def test_a_product_says_how_it_is_probed_and_the_settings_say_more() -> None:
    vmselect = next(detector for detector in BUILT_IN if detector.product == "vmselect")
    (named,) = made(backend(product="vmselect"))
    assert (named.product, named.check) == ("vmselect", vmselect.check)
    (own,) = made(backend(health_path="/up"))
    assert (own.check.path, own.check.identity) == ("/up", "")
    (custom,) = made(backend(type="shop"))
    assert (custom.product, custom.check.path) == ("shop", "/")


def test_static_backends_come_first_and_keep_their_names() -> None:
    tools = [
        candidate("prod", namespace="a"),
        candidate("b", namespace="a"),
        candidate("c", namespace="b", tool_type="jaeger"),
        *made(backend(name="a-b"), backend(name="b-c", type="jaeger", url="http://traces.example.com")),
    ]
    found = published(*tools)
    names = [each["name"] for each in toolsets(found)["prometheus/metrics"]["config"]["instances"]]
    assert names == ["a-b", "a.b", "a-prod"]
    jaegers = {name: block["config"] for name, block in toolsets(found).items() if name.startswith("jaeger")}
    assert jaegers["jaeger-b-c"]["endpoints"][0]["hosts"] == ["http://traces.example.com:80"]
    assert len(jaegers) == 2
    assert (
        yaml.safe_load(found.data["prometheus-toolset.yaml"])["config"]["url"] == "https://metrics.example.com:443/prom"
    )


def test_a_further_static_backend_has_a_document_of_its_own() -> None:
    found = published(*made(backend(), backend(name="spare", url="http://spare.example.com")))
    assert {"prometheus-toolset.yaml", "prometheus.spare-toolset.yaml"} <= found.data.keys()
    tools = msgspec.json.decode(found.data["toolset.json"])["tools"]
    assert [(each["name"], each["namespace"]) for each in tools] == [("prod", ""), ("spare", "")]
    assert tools[0]["metadata"] == {"health_path": "/api/v1/labels"}


def test_a_credential_belongs_to_exactly_one_static_backend() -> None:
    """Not to a Service of the same name, in a namespace that is called anything, nor to another entry."""
    own = backend(credentials={"bearer_token": "TOKEN"})
    other = backend(name="other", url="https://other.example.com")
    services = [candidate("prod", namespace=namespace) for namespace in ("static", "default", "prod")]
    found = published(*services, *made(own, other), credentials=static_credentials([own, other]))
    instances_ = toolsets(found)["prometheus/metrics"]["config"]["instances"]
    assert [each["name"] for each in instances_ if "additional_headers" in each] == ["prod"]
    assert found.data["custom_toolset.yaml"].count("env.TOKEN") == 1


@pytest.mark.parametrize("text", ["suppress: [prod]", "tools: {prod: {enabled: false}}", "tools: {prod: null}"])
def test_overrides_name_a_static_backend_by_its_name(text: str) -> None:
    found = published(*made(backend()), candidate("prod"), text=text)
    assert found.error is None
    assert [str(tool.key) for tool in found.tools] == ["monitoring/prod"]


def test_a_name_in_overrides_that_is_no_static_backend_is_reported_and_the_rest_holds() -> None:
    text = "suppress:\n- spare\n- monitoring/a\ntools:\n  prd: {enabled: false}\n"
    options = publish_options(DIALECTS, DIALECTS.types, {}, ["prod"])
    found = publish([*made(backend()), candidate("a")], options, text=text)
    assert [str(tool.key) for tool in found.tools] == ["prod"]
    remedy = "there is no such static backend; write a Service as namespace/name"
    assert [str(error) for error in found.dropped] == [
        f"overrides.yaml, line 5, column 3: tools > prd: {remedy}",
        f"overrides.yaml, line 1, column 1: suppress > spare: {remedy}",
    ]


def test_overrides_keep_the_priority_of_the_settings_unless_they_set_one() -> None:
    (tool,) = made(backend(priority=-4))
    for text, priority in (("tools: {prod: {url: 'http://x:1'}}", -4), ("tools: {prod: {priority: 2}}", 2)):
        assert published(tool, text=text).tools[0].admin_priority == priority


def test_a_static_backend_and_a_service_are_never_duplicates() -> None:
    inventory = Inventory()
    (tool,) = made(backend())
    service = msgspec.structs.replace(candidate("prod"), backend=tool.backend)
    for each in (tool, service):
        inventory.detected(each.key, each)
    assert len(inventory.healths(trusted=True)) == 2
