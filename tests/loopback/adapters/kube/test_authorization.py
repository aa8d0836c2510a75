"""Whatever is asked of the API server, and wherever access comes from: the request says who asks."""

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
import trustme
import yaml

from support.api_server import Answer, ScriptedApiServer, Stream, line, page
from support.tls import server_tls
from toolset.adapters.kube.credentials.providers import Credentials, InClusterCredentials, KubeconfigCredentials
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, config_map, services
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.core.detection.reduction import Reduction
from toolset.model import ConfigMap, ConfigMapMeta, Key, Service

TARGET = Key("spaces", "tools")
WRITTEN = Answer(orjson.dumps({"metadata": {"namespace": "spaces", "name": "tools", "resourceVersion": "8"}}))
PLUGIN = """
import json
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": "secret"}}))
"""


def in_cluster(folder: Path, url: str) -> Credentials:
    (folder / "token").write_text("secret\n")
    return InClusterCredentials("127.0.0.1", url.rpartition(":")[2], folder)


def with_user(user: dict[str, object]) -> Callable[[Path, str], Credentials]:
    def credentials(folder: Path, url: str) -> Credentials:
        (folder / "token").write_text("secret\n")
        (folder / "plugin.py").write_text(PLUGIN)
        content = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
            "clusters": [{"name": "one", "cluster": {"server": url, "certificate-authority": "ca.crt"}}],
            "users": [{"name": "me", "user": user}],
        }
        (folder / "config").write_text(yaml.safe_dump(content).replace("FOLDER", str(folder)))
        return KubeconfigCredentials(str(folder / "config"), "")

    return credentials


EXEC: dict[str, object] = {
    "exec": {
        "apiVersion": "client.authentication.k8s.io/v1",
        "interactiveMode": "Never",
        "command": sys.executable,
        "args": ["FOLDER/plugin.py"],
    }
}


@asynccontextmanager
async def serving(server: ScriptedApiServer, folder: Path) -> AsyncGenerator[None]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.crt")
    async with server.serve(server_tls(authority)):
        yield


async def ask_everything(transport: KubeTransport) -> None:
    """Send every kind of request there is."""
    source: KubeSource[Service] = KubeSource(transport, services("", Reduction("kubernaut.io")), jitter=lambda: 0.0)
    targets: KubeSource[ConfigMap] = KubeSource(transport, config_map(TARGET), jitter=lambda: 0.0)
    first = await source.list(version="", token="")
    await source.list(version="", token=first.next_token)
    await source.list(version="5", token="")
    await targets.list(version="", token="")
    for stream_list in (False, True):
        async with source.watch(version="5", stream_list=stream_list) as events:
            while await events.next():
                pass
    applier = KubeApplier(transport, "me")
    await applier.apply(TARGET, b"{}")
    await applier.patch(ConfigMap(ConfigMapMeta(name="tools", namespace="spaces", resource_version="7")), {"a": None})


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        pytest.param(in_cluster, "Bearer secret", id="a pod"),
        pytest.param(with_user({"token": "secret"}), "Bearer secret", id="a token"),
        pytest.param(with_user({"tokenFile": "token"}), "Bearer secret", id="a token file"),
        pytest.param(with_user(EXEC), "Bearer secret", id="an exec plugin"),
        pytest.param(with_user({"username": "me", "password": "secret"}), "Basic bWU6c2VjcmV0", id="a password"),
    ],
)
async def test_lists_watches_and_patches_all_carry_the_authorization(
    tmp_path: Path, credentials: Callable[[Path, str], Credentials], expected: str
) -> None:
    watch = Stream([line("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": "9"}})])
    lists = [page([], token="t"), page([]), page([]), page([])]
    server = ScriptedApiServer(*lists, watch, watch, WRITTEN, WRITTEN)
    async with serving(server, tmp_path), KubeTransport(credentials(tmp_path, server.url), "test/1") as transport:
        await ask_everything(transport)

    assert [asked.method for asked in server.asked] == ["GET"] * 6 + ["PATCH"] * 2
    assert {asked.headers.get("authorization") for asked in server.asked} == {expected}
