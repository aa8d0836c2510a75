"""Where access to the API server comes from, as kubectl and controller-runtime decide it."""

from pathlib import Path

import msgspec
import pytest

from toolset.adapters.kube.credentials.providers import InClusterCredentials, KubeconfigCredentials
from toolset.config import clients
from toolset.config.settings import KubeSettings, Settings

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


@pytest.mark.parametrize(
    ("environment", "kube", "kind"),
    [
        pytest.param(POD, {}, InClusterCredentials, id="in a pod"),
        pytest.param({}, {}, KubeconfigCredentials, id="elsewhere"),
        pytest.param({**POD, "KUBECONFIG": "FILE"}, {}, KubeconfigCredentials, id="in a pod with KUBECONFIG"),
        pytest.param({**POD, "KUBECONFIG": "/nowhere:FILE"}, {}, KubeconfigCredentials, id="in a pod with a list"),
        pytest.param({**POD, "KUBECONFIG": ""}, {}, InClusterCredentials, id="in a pod with an empty KUBECONFIG"),
        pytest.param(
            {**POD, "KUBECONFIG": "/nowhere"}, {}, InClusterCredentials, id="in a pod, a file that is missing"
        ),
        pytest.param(POD, {"kubeconfig": "/nowhere"}, KubeconfigCredentials, id="in a pod with --kubeconfig"),
        pytest.param(POD, {"context": "prod"}, KubeconfigCredentials, id="in a pod with --context"),
    ],
)
def test_access_comes_from_where_kubectl_takes_it(
    tmp_path: Path, environment: dict[str, str], kube: dict[str, str], kind: type
) -> None:
    file = tmp_path / "config"
    file.touch()
    given = {name: value.replace("FILE", str(file)) for name, value in environment.items()}
    settings = msgspec.structs.replace(Settings(), kube=KubeSettings(**kube))

    assert type(clients.credentials(settings, given)) is kind
