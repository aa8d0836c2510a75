"""Services that lead nowhere a selector says, where the settings allow them."""

import msgspec
import pytest

from support.build import service
from toolset.core.candidate import Candidate, Reason, Rejected
from toolset.core.detection.catalog import BUILT_IN
from toolset.core.detection.detect import DetectionOptions, detect
from toolset.core.inventory import ALIVE, Inventory
from toolset.model import Service


def without_selector(name: str = "prometheus", *, external: bool = False) -> Service:
    made = service(name)
    spec = msgspec.structs.replace(made.spec, selector=None)
    if external:
        spec = msgspec.structs.replace(made.spec, type="ExternalName", cluster_ip=None)
    return msgspec.structs.replace(made, spec=spec)


@pytest.mark.parametrize(
    ("seen", "options", "reason"),
    [
        pytest.param(without_selector(), DetectionOptions(BUILT_IN), Reason.SELECTORLESS, id="no selector"),
        pytest.param(
            without_selector(external=True), DetectionOptions(BUILT_IN), Reason.EXTERNAL_NAME, id="an external name"
        ),
        pytest.param(
            without_selector(),
            DetectionOptions(BUILT_IN, selectorless=("other/*", "*/thanos"), external_names=("*/*",)),
            Reason.SELECTORLESS,
            id="another one is allowed",
        ),
        pytest.param(
            without_selector(external=True),
            DetectionOptions(BUILT_IN, selectorless=("*/*",)),
            Reason.EXTERNAL_NAME,
            id="an external name is not meant by those without a selector",
        ),
    ],
)
def test_a_service_that_could_lead_anywhere_is_refused(
    seen: Service, options: DetectionOptions, reason: Reason
) -> None:
    assert detect(seen, options) == Rejected(reason, type="prometheus")


@pytest.mark.parametrize("glob", ["monitoring/prometheus", "monitoring/*", "*/prom*"])
@pytest.mark.parametrize("external", [False, True], ids=["no selector", "an external name"])
def test_settings_allow_one_by_its_name(glob: str, *, external: bool) -> None:
    options = DetectionOptions(
        BUILT_IN, selectorless=() if external else (glob,), external_names=(glob,) if external else ()
    )
    found = detect(without_selector(external=external), options)
    assert isinstance(found, Candidate)
    assert found.address == ("" if external else "10.0.0.1")
    assert found.host == "prometheus.monitoring.svc.cluster.local"


def test_two_of_them_are_not_taken_for_the_same_backend() -> None:
    options = DetectionOptions(BUILT_IN, selectorless=("*/*",))
    inventory = Inventory()
    for name in ("prometheus", "other-prometheus"):
        found = detect(without_selector(name), options)
        assert isinstance(found, Candidate)
        inventory.detected(found.key, found)
        inventory.probed(found, ALIVE)
    assert len(inventory.tools()) == 2


@pytest.mark.parametrize(
    ("addresses", "dialled"),
    [
        pytest.param(("fd00:10:96::7",), "fd00:10:96::7", id="IPv6 only"),
        pytest.param(("fd00:10:96::7", "10.96.0.7"), "fd00:10:96::7", id="dual-stack, IPv6 first"),
        pytest.param(("10.96.0.7", "fd00:10:96::7"), "10.96.0.7", id="dual-stack, IPv4 first"),
        pytest.param(("None",), "", id="headless"),
    ],
)
def test_the_first_cluster_ip_is_dialled_whatever_its_family(addresses: tuple[str, ...], dialled: str) -> None:
    manifest: dict[str, dict[str, object]] = msgspec.to_builtins(service())
    manifest["spec"] |= {"clusterIP": addresses[0], "clusterIPs": addresses}
    found = detect(msgspec.convert(manifest, Service), DetectionOptions(BUILT_IN))
    assert isinstance(found, Candidate)
    assert found.address == dialled
