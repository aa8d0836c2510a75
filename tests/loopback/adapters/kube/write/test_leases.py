from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.api_server import Answer, FixedCredentials, ScriptedApiServer, status_error
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource
from toolset.adapters.kube.write.leases import KubeLeases, lease
from toolset.errors import ConflictError, ForbiddenError, InvalidError, UnavailableError
from toolset.model import Key, Lease, LeaseMeta, LeaseSpec
from toolset.sim import EmbeddedCluster

KEY = Key("spaces", "lead")
SPEC = LeaseSpec("a", 15, "2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:02.000002Z", 3)
SPEC_ON_THE_WIRE = {
    "holderIdentity": "a",
    "leaseDurationSeconds": 15,
    "acquireTime": "2025-01-01T00:00:00.000001Z",
    "renewTime": "2025-01-01T00:00:02.000002Z",
    "leaseTransitions": 3,
}
STORED = Lease(LeaseMeta("lead", "spaces", "u1", "7"), SPEC)
RELEASED = LeaseSpec("", 1, "2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:05.000000Z", 3)


@asynccontextmanager
async def leases(server: ScriptedApiServer) -> AsyncGenerator[KubeLeases]:
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        yield KubeLeases(transport, KEY)


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedCluster]:
    async with EmbeddedCluster() as running:
        running.create("Namespace", {"metadata": {"name": KEY.namespace}})
        yield running


@pytest.fixture
async def client(embedded: EmbeddedCluster) -> AsyncIterator[KubeLeases]:
    async with KubeTransport(FixedCredentials(embedded.url), "test/1") as transport:
        yield KubeLeases(transport, KEY)


async def test_a_lease_is_none_until_it_is_created_and_then_what_was_written(
    client: KubeLeases, embedded: EmbeddedCluster
) -> None:
    assert await client.read() is None
    created = await client.create(SPEC)
    assert created.spec == SPEC
    assert await client.read() == created
    stored = embedded.get("Lease", KEY.namespace, KEY.name)
    assert stored is not None
    assert stored["spec"] == SPEC_ON_THE_WIRE


async def test_a_lease_without_spec_has_no_holder(client: KubeLeases, embedded: EmbeddedCluster) -> None:
    embedded.create("Lease", {"metadata": {"name": KEY.name, "namespace": KEY.namespace}})
    read = await client.read()
    assert read is not None
    assert (read.holder, read.spec) == ("", LeaseSpec())


async def test_a_write_is_fenced_and_leaves_what_others_keep_in_the_lease(
    client: KubeLeases, embedded: EmbeddedCluster
) -> None:
    created = await client.create(SPEC)
    kept = {"metadata": {"labels": {"team": "a"}}, "spec": {"strategy": "OldestEmulationVersion"}}
    embedded.patch("Lease", KEY.namespace, KEY.name, kept)
    with pytest.raises(ConflictError):
        await client.replace(created, RELEASED)

    current = await client.read()
    assert current is not None
    assert (await client.replace(current, RELEASED)).spec == RELEASED
    stored = embedded.get("Lease", KEY.namespace, KEY.name)
    assert stored is not None
    assert (stored["metadata"]["labels"], stored["spec"]["strategy"]) == ({"team": "a"}, "OldestEmulationVersion")


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


async def test_a_list_of_the_lease_holds_it_alone(client: KubeLeases, embedded: EmbeddedCluster) -> None:
    created = await client.create(SPEC)
    embedded.create("Lease", {"metadata": {"name": "another", "namespace": KEY.namespace}})
    async with KubeTransport(FixedCredentials(embedded.url), "test/1") as transport:
        source: KubeSource[Lease] = KubeSource(transport, lease(KEY), jitter=lambda: 0.0)
        assert list((await source.list(version="", token="")).items) == [created]
