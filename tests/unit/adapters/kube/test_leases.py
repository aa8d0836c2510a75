from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import orjson
import pytest

from fakes.api_server import Answer, FixedCredentials, ScriptedApiServer, page, status_error
from toolset.adapters.kube.leases import KubeLeases, lease
from toolset.adapters.kube.source import KubeSource
from toolset.adapters.kube.transport import KubeTransport
from toolset.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError
from toolset.model import Key, Lease, LeaseMeta, LeaseSpec

KEY = Key("spaces", "lead")
COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/spaces/leases"
SPEC = LeaseSpec("a", 15, "2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:02.000002Z", 3)
SPEC_ON_THE_WIRE = {
    "holderIdentity": "a",
    "leaseDurationSeconds": 15,
    "acquireTime": "2025-01-01T00:00:00.000001Z",
    "renewTime": "2025-01-01T00:00:02.000002Z",
    "leaseTransitions": 3,
}
STORED = Lease(LeaseMeta("lead", "spaces", "u1", "7"), SPEC)
ANSWER = Answer(
    orjson.dumps(
        {
            "metadata": {"namespace": "spaces", "name": "lead", "uid": "u1", "resourceVersion": "7"},
            "spec": SPEC_ON_THE_WIRE | {"strategy": "OldestEmulationVersion"},
        }
    )
)


@asynccontextmanager
async def leases(server: ScriptedApiServer) -> AsyncGenerator[KubeLeases]:
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        yield KubeLeases(transport, KEY)


async def test_the_lease_is_read_by_its_name_and_from_no_cache() -> None:
    server = ScriptedApiServer(ANSWER)
    async with leases(server) as opened:
        assert await opened.read() == STORED

    (asked,) = server.asked
    assert (asked.method, asked.path, asked.params) == ("GET", f"{COLLECTION}/lead", {})


async def test_a_lease_that_is_not_found_is_none() -> None:
    async with leases(ScriptedApiServer(status_error(404, "NotFound"))) as opened:
        assert await opened.read() is None


async def test_a_lease_without_spec_has_no_holder() -> None:
    async with leases(ScriptedApiServer(Answer(b'{"metadata": {"resourceVersion": "1"}}'))) as opened:
        read = await opened.read()

    assert read is not None
    assert (read.holder, read.spec) == ("", LeaseSpec())


async def test_it_is_created_with_its_name() -> None:
    server = ScriptedApiServer(ANSWER)
    async with leases(server) as opened:
        assert await opened.create(SPEC) == STORED

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", COLLECTION)
    assert asked.headers["content-type"] == "application/json"
    assert orjson.loads(asked.body) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "lead", "namespace": "spaces"},
        "spec": SPEC_ON_THE_WIRE,
    }


async def test_a_write_is_a_merge_patch_fenced_by_version_and_uid() -> None:
    server = ScriptedApiServer(ANSWER)
    async with leases(server) as opened:
        assert await opened.replace(STORED, SPEC) == STORED

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", f"{COLLECTION}/lead")
    assert asked.headers["content-type"] == "application/merge-patch+json"
    assert orjson.loads(asked.body) == {"metadata": {"resourceVersion": "7", "uid": "u1"}, "spec": SPEC_ON_THE_WIRE}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(status_error(409, "Conflict"), ConflictError, id="a conflict"),
        pytest.param(status_error(403, "Forbidden"), ForbiddenError, id="refused by RBAC"),
        pytest.param(status_error(503, "ServiceUnavailable"), UnavailableError, id="unavailable"),
    ],
)
async def test_errors_are_mapped_by_their_code(answer: Answer, expected: type[Exception]) -> None:
    async with leases(ScriptedApiServer(answer, answer, answer)) as opened:
        with pytest.raises(expected):
            await opened.read()
        with pytest.raises(expected):
            await opened.create(SPEC)
        with pytest.raises(expected):
            await opened.replace(STORED, SPEC)


async def test_a_refusal_names_the_lease() -> None:
    async with leases(ScriptedApiServer(status_error(404, "NotFound", "namespaces not found"))) as opened:
        with pytest.raises(InvalidError, match=r"^Lease spaces/lead: .*404 NotFound: namespaces not found"):
            await opened.create(SPEC)


async def test_an_answer_that_is_no_lease_is_unavailable() -> None:
    async with leases(ScriptedApiServer(Answer(b"<html>"))) as opened:
        with pytest.raises(UnavailableError, match="the Lease could not be decoded"):
            await opened.read()


async def test_a_list_of_the_lease_names_it() -> None:
    server = ScriptedApiServer(page([orjson.loads(ANSWER.body)]))
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        source: KubeSource[Lease] = KubeSource(transport, lease(KEY), jitter=lambda: 0.0)
        listed = await source.list(version="", token="")

    assert list(listed.items) == [STORED]
    assert server.asked[0].path == COLLECTION
    assert server.asked[0].params["fieldSelector"] == "metadata.name=lead"
