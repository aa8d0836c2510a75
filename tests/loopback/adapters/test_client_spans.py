"""Requests that a traced pass makes are client spans, by OpenTelemetry's names for HTTP."""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from support.api_server import Answer, FixedCredentials, ScriptedApiServer, Stream, status_error
from support.spans import Exported, attributes
from toolset.adapters.consumer import HttpConsumer
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.wire import Request
from toolset.errors import ConflictError, ToolsetError, UnavailableError
from toolset.reconciler.spans import ReconcileTrace, changed

PATCH = Request("PATCH", "/api/v1/namespaces/a/configmaps/b", {"force": "true"}, b"{}")


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> Exported:
    return Exported(monkeypatch)


async def in_a_reconcile(work: Callable[[], Awaitable[object]], error: type[ToolsetError] | None = None) -> None:
    with ReconcileTrace(dict).under_way():
        changed()
        if error is None:
            await work()
            return
        with pytest.raises(error):
            await work()


async def test_a_request_to_the_api_server_is_a_span_of_its_reconcile(exported: Exported) -> None:
    server = ScriptedApiServer(Answer(status=201))
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        await in_a_reconcile(lambda: kube.send(PATCH))

    (root,) = exported.roots
    (request,) = exported.below(root)
    assert (request.name, request.kind, request.status.status_code) == ("PATCH", SpanKind.CLIENT, StatusCode.UNSET)
    assert attributes(request) == {
        "http.request.method": "PATCH",
        "http.response.status_code": 201,
        "url.full": f"{server.url}/api/v1/namespaces/a/configmaps/b",
        "server.address": "127.0.0.1",
        "server.port": urlsplit(server.url).port,
    }


@pytest.mark.parametrize(
    ("answer", "error", "found"),
    [
        pytest.param(
            status_error(409, "Conflict"),
            ConflictError,
            {"http.response.status_code": 409, "error.type": "409"},
            id="refused",
        ),
        pytest.param(Stream([], end="cut"), UnavailableError, {"http.response.status_code": 200}, id="cut"),
    ],
)
async def test_a_request_that_fails_is_a_failed_span(
    exported: Exported, answer: Answer | Stream, error: type[ToolsetError], found: dict[str, object]
) -> None:
    server = ScriptedApiServer(answer)
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        await in_a_reconcile(lambda: kube.send(PATCH), error)

    (request,) = exported.below(exported.roots[0])
    assert request.status.status_code is StatusCode.ERROR
    assert attributes(request).items() >= found.items()
    assert request.events == ()


async def test_a_request_outside_of_a_traced_reconcile_is_no_span(exported: Exported) -> None:
    server = ScriptedApiServer(Answer(), Answer())
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test") as kube:
        await kube.send(PATCH)
        with ReconcileTrace(dict).under_way():
            await kube.send(PATCH)

    assert exported.ended == []


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
async def test_the_usual_port_is_named_too(exported: Exported, scheme: str, port: int) -> None:
    async with KubeTransport(FixedCredentials(f"{scheme}://kubernetes.invalid"), "test") as kube:
        await in_a_reconcile(lambda: kube.send(PATCH, timeout_s=1.0), UnavailableError)

    (request,) = exported.below(exported.roots[0])
    assert (attributes(request)["server.address"], attributes(request)["server.port"]) == ("kubernetes.invalid", port)


async def test_notifying_a_reader_is_a_span_that_shows_no_secret(exported: Exported) -> None:
    server = ScriptedApiServer(Answer())
    async with server.serve():
        url = f"{server.url.replace('//', '//me:secret@')}/reload?token=secret"
        await in_a_reconcile(lambda: HttpConsumer(url, {}).notify("hash"))

    (request,) = exported.below(exported.roots[0])
    assert (request.name, request.kind) == ("POST", SpanKind.CLIENT)
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": f"{server.url}/reload",
        "server.address": "127.0.0.1",
        "server.port": urlsplit(server.url).port,
    }
