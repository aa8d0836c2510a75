import orjson
import pytest

from support.api_server import Answer, FixedCredentials, ScriptedApiServer, status_error
from toolset.adapters.kube.reviews import ResourceAttributes, is_allowed, whoami
from toolset.adapters.kube.transport import KubeTransport
from toolset.errors import ForbiddenError, NotFoundError, UnavailableError

PROXY = ResourceAttributes("get", "", "services", "proxy", "monitoring")


@pytest.mark.parametrize("allowed", [True, False])
async def test_it_is_asked_what_we_may_do(allowed: bool) -> None:
    server = ScriptedApiServer(Answer(orjson.dumps({"status": {"allowed": allowed, "reason": "RBAC"}}), 201))
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        assert await is_allowed(kube, PROXY) is allowed

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    body = orjson.loads(asked.body)
    assert (body["apiVersion"], body["kind"]) == ("authorization.k8s.io/v1", "SelfSubjectAccessReview")
    assert body["spec"]["resourceAttributes"] == {
        "verb": "get",
        "group": "",
        "resource": "services",
        "subresource": "proxy",
        "namespace": "monitoring",
    }


async def test_it_is_asked_who_we_are() -> None:
    server = ScriptedApiServer(Answer(orjson.dumps({"status": {"userInfo": {"username": "jane"}}}), 201))
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        assert await whoami(kube) == "jane"
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(Answer(b"<html>"), UnavailableError, id="a proxy's page"),
        pytest.param(status_error(401), ForbiddenError, id="refused"),
        pytest.param(status_error(404), NotFoundError, id="not served"),
    ],
)
async def test_an_answer_that_says_nothing_is_an_error(answer: Answer, error: type[Exception]) -> None:
    server = ScriptedApiServer(answer, answer)
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        with pytest.raises(error):
            await is_allowed(kube, PROXY)
        with pytest.raises(error):
            await whoami(kube)
