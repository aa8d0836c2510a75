import msgspec

from toolset.commands.check_config import matches
from toolset.commands.explain import explain_manifests
from toolset.commands.manifests import Manifests
from toolset.config.settings import Settings
from toolset.model import Service


def test_a_file_and_the_service_cut_a_large_service_alike() -> None:
    ports = [{"port": number, "name": f"port-{number}"} for number in range(1, 100)]
    manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "grafana", "namespace": "team", "labels": {"app": "grafana"}},
        "spec": {"selector": {"app": "grafana"}, "ports": [*ports, {"port": 3000, "name": "web"}]},
    }
    found = Manifests((msgspec.convert(manifest, Service),), {})
    (explained,) = explain_manifests(Settings(), found).services
    assert (explained.reason, "only the first 64 ports" in explained.detail) == ("NoUsablePort", True)
    assert all(match.services == () for match in matches(Settings(), found.services))
