from collections.abc import Mapping

import msgspec
import pytest

from support.detection_cases import made
from toolset.core.candidate import UNKNOWN_BACKEND, Backend
from toolset.core.detection.backend import backend
from toolset.core.detection.detector import Detector
from toolset.core.detection.reduction import Reduction
from toolset.model import Service, ServicePort

PLAIN = Detector(product="ledger", type="ledger", phrases=("ledger",))
PARTS = Detector(
    product="store",
    type="store",
    phrases=("store",),
    parts=("gateway", "query-frontend", "query", "data"),
    installation_keys=("store.example/cluster",),
)
POD = "statefulset.kubernetes.io/pod-name"


def of(selector: Mapping[str, str], detector: Detector = PLAIN, port: int | str | None = 80) -> Backend:
    return backend(
        made("n", "s", selector, (("http", 8080, port),)), ServicePort(8080, "http", target_port=port), detector
    )


def test_a_backend_is_the_selector_and_the_pods_port() -> None:
    assert of({"app": "a"}) == Backend(frozenset({("app", "a")}), 80)
    assert of({"app": "a"}, port="web").port == "web"
    assert of({"app": "a"}, port=None).port == 8080


@pytest.mark.parametrize("spec", [{"selector": {}}, {"selector": {"app": "a"}, "type": "ExternalName"}])
def test_of_a_service_without_pods_of_its_own_the_backend_is_unknown(spec: dict[str, object]) -> None:
    service = msgspec.convert({"metadata": {"name": "s"}, "spec": spec}, Service)
    assert backend(service, ServicePort(80), PLAIN) == UNKNOWN_BACKEND


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"app": "a", POD: "db-0"}, {"app": "a", POD: "db-11"}),
        ({"app": "a", "apps.kubernetes.io/pod-index": "0"}, {"app": "a"}),
    ],
)
def test_the_replicas_of_a_stateful_set_are_not_distinguished(one: dict[str, str], other: dict[str, str]) -> None:
    assert of(one) == of(other)
    assert of({POD: "db-0"}) != of({POD: "cache-0"})


@pytest.mark.parametrize(
    ("selector", "installation", "part"),
    [
        pytest.param({"app": "store", "component": "gateway"}, "app=store", 0, id="the component is a part"),
        pytest.param({"app": "store", "component": "query"}, "app=store", 2, id="another part"),
        pytest.param({"app": "store", "role": "data"}, "app=store", 3, id="a role"),
        pytest.param({"app": "Store-Query-Frontend"}, "app=store", 1, id="the longest part at the end of a name"),
        pytest.param({"app": "store-query-data"}, "app=store", 2, id="two parts at the end"),
        pytest.param({"app": "store-ruler-query"}, "app=store-ruler", 2, id="another installation"),
        pytest.param({"app": "store", "zone": "query"}, "", 0, id="a label that says nothing of parts"),
        pytest.param({"app": "store"}, "", 0, id="no part"),
        pytest.param({"app": "query"}, "", 2, id="nothing but a part"),
        pytest.param(
            {"store.example/cluster": "c", "component": "data"}, "store.example/cluster=c", 0, id="an operator's label"
        ),
    ],
)
def test_the_parts_of_one_installation_are_recognised_by_their_selectors(
    selector: dict[str, str], installation: str, part: int
) -> None:
    found = of(selector, PARTS)
    assert (found.installation, found.part) == (installation, part)
    assert of(selector, PLAIN).installation == ""


@pytest.mark.parametrize(
    ("name", "labels", "is_governing"),
    [
        ("prometheus-operated", {}, True),
        ("x", {"operated-prometheus": "true"}, True),
        ("x", {"app.kubernetes.io/managed-by": "operated"}, False),
        ("co-operated", {}, True),
        ("operated-by-us", {}, False),
        ("cooperated", {}, False),
    ],
)
def test_an_operators_governing_service_is_recognised_by_its_name_or_label(
    name: str, labels: dict[str, str], *, is_governing: bool
) -> None:
    service = made("n", name, {"app": "a"}, (("web", 9090, "web"),), labels=labels)
    assert backend(service, service.ports[0], PLAIN).governing is is_governing


def test_a_selector_that_was_cut_is_still_distinguished_from_others() -> None:
    many = {f"label-{number:04}": "v" for number in range(400)}
    reduction = Reduction("kubernaut.io")

    def reduced(selector: dict[str, str]) -> Backend:
        service = reduction.reduce(made("n", "s", selector, (("http", 80, 80),)))
        return backend(service, service.ports[0], PLAIN)

    assert reduced(many) == reduced(dict(reversed(many.items())))
    assert reduced(many) != reduced({**many, "label-0399": "other"})
    wide = reduced({"label-0000": "v"})
    assert wide.selector < reduced(many).selector
