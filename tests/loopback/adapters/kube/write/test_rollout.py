from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import orjson
import pytest

from support.api_server import Answer, FixedCredentials, ScriptedApiServer, status_error
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.write.rollout import DeploymentConsumer
from toolset.errors import NotFoundError
from toolset.model import Key


@asynccontextmanager
async def consumer(server: ScriptedApiServer) -> AsyncGenerator[DeploymentConsumer]:
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as transport:
        yield DeploymentConsumer(transport, Key("holmes", "server"), "kubernaut.io/toolsets-hash")


async def test_the_hash_goes_onto_the_pod_template() -> None:
    server = ScriptedApiServer(Answer(b"{}"))
    async with consumer(server) as opened:
        await opened.notify("abc")

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", "/apis/apps/v1/namespaces/holmes/deployments/server")
    annotations = {"kubernaut.io/toolsets-hash": "abc"}
    assert orjson.loads(asked.body) == {"spec": {"template": {"metadata": {"annotations": annotations}}}}


async def test_a_deployment_that_is_not_there_is_named_with_the_setting() -> None:
    async with consumer(ScriptedApiServer(status_error(404, "NotFound"))) as opened:
        with pytest.raises(NotFoundError, match=r"^Deployment holmes/server: .*check `notify.deployment`"):
            await opened.notify("abc")
