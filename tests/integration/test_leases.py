"""The fake Lease of the unit tests and the real one keep the same promises, and an election works on the real one."""

from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import pytest

from integration.cluster import NAMESPACE, SERVICE_ACCOUNT, Cluster
from support.background import running
from support.leases import FakeLeaseClient, FakeLeases
from support.stores import unexpected
from toolset.adapters.kube.credentials.providers import KubeconfigCredentials
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource
from toolset.adapters.kube.write.leases import KubeLeases, lease
from toolset.errors import ConflictError, ForbiddenError, InvalidError, ToolsetError
from toolset.model import Key, Lease, LeaseSpec
from toolset.runtime.election import ElectorOptions, Leadership, LeaseClient
from toolset.runtime.elector import Elector
from toolset.runtime.reflector import Reflector
from toolset.runtime.store import Delta, Store

pytestmark = pytest.mark.integration

KEY: Final = Key(NAMESPACE, SERVICE_ACCOUNT)
COLLECTION: Final = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
PATH: Final = f"{COLLECTION}/{KEY.name}"
HELD: Final = LeaseSpec("a", 15, "2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:02.000002Z", 3)
RENEWED: Final = LeaseSpec("a", 15, "2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:04.000000Z", 3)
RELEASED: Final = LeaseSpec("", 1, "2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:05.000000Z", 3)
FAST: Final = ElectorOptions(lease_s=5.0, renew_s=3.0, retry_s=0.5)


class Server:
    """A client of the Lease, and what an admin may do to it."""

    def __init__(self, client: LeaseClient, delete: Callable[[], object]) -> None:
        self.client = client
        self.delete = delete


@pytest.fixture
async def transport(cluster: Cluster) -> AsyncIterator[KubeTransport]:
    credentials = KubeconfigCredentials(cluster.kubeconfig(), "")
    async with KubeTransport(credentials, "test/1") as opened:
        cluster.admin.delete(PATH)
        yield opened
        cluster.admin.delete(PATH)


@pytest.fixture(params=["fake", "real"])
def server(request: pytest.FixtureRequest) -> Server:
    if request.param == "fake":
        fake = FakeLeases()
        return Server(FakeLeaseClient(fake), fake.delete)
    transport: KubeTransport = request.getfixturevalue("transport")
    cluster: Cluster = request.getfixturevalue("cluster")
    return Server(KubeLeases(transport, KEY), lambda: cluster.admin.delete(PATH).raise_for_status())


async def test_an_absent_lease_is_none_until_it_is_created(server: Server) -> None:
    assert await server.client.read() is None
    created = await server.client.create(HELD)
    assert created.spec == HELD
    assert created.uid
    assert created.version
    assert await server.client.read() == created


async def test_a_lease_is_created_only_once(server: Server) -> None:
    created = await server.client.create(HELD)
    with pytest.raises(ConflictError):
        await server.client.create(RENEWED)
    assert await server.client.read() == created


async def test_a_write_moves_the_version_and_keeps_the_uid(server: Server) -> None:
    created = await server.client.create(HELD)
    renewed = await server.client.replace(created, RENEWED)
    assert renewed.spec == RENEWED
    assert renewed.uid == created.uid
    assert renewed.version != created.version
    assert await server.client.read() == renewed


async def test_a_stale_write_conflicts_and_changes_nothing(server: Server) -> None:
    created = await server.client.create(HELD)
    renewed = await server.client.replace(created, RENEWED)
    with pytest.raises(ConflictError):
        await server.client.replace(created, RELEASED)
    assert await server.client.read() == renewed


async def test_a_write_that_changes_nothing_keeps_the_version(server: Server) -> None:
    created = await server.client.create(HELD)
    assert await server.client.replace(created, HELD) == created


async def test_a_lease_can_be_released_and_taken_again(server: Server) -> None:
    created = await server.client.create(HELD)
    released = await server.client.replace(created, RELEASED)
    assert released.holder == ""
    assert (await server.client.replace(released, HELD)).holder == "a"


async def test_a_write_to_a_deleted_lease_is_refused_and_makes_none(server: Server) -> None:
    created = await server.client.create(HELD)
    server.delete()
    with pytest.raises(InvalidError):
        await server.client.replace(created, RENEWED)
    assert await server.client.read() is None


async def test_a_write_to_the_successor_of_a_deleted_lease_conflicts(server: Server) -> None:
    created = await server.client.create(HELD)
    server.delete()
    successor = await server.client.create(HELD)
    assert successor.uid != created.uid
    with pytest.raises(ConflictError):
        await server.client.replace(created, RENEWED)
    assert await server.client.read() == successor


async def test_a_lease_must_last(server: Server) -> None:
    with pytest.raises(InvalidError):
        await server.client.create(LeaseSpec("a", 0))
    assert await server.client.read() is None


async def test_what_others_keep_in_the_lease_stays(transport: KubeTransport, cluster: Cluster) -> None:
    client = KubeLeases(transport, KEY)
    await client.create(HELD)
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "4ab8a11a-6f07-4a0e-b5a4-7c0f0e8b0a11"}
    kept = {"labels": {"team": "a"}, "ownerReferences": [owner]}
    cluster.patch(PATH, {"metadata": kept})

    current = await client.read()
    assert current is not None
    await client.replace(current, RENEWED)

    assert kept.items() <= metadata(cluster).items()


def metadata(cluster: Cluster) -> dict[str, object]:
    found: dict[str, object] = cluster.admin.get(PATH).raise_for_status().json()["metadata"]
    return found


async def test_the_shipped_rbac_allows_one_lease_by_its_name(transport: KubeTransport) -> None:
    other = KubeLeases(transport, Key(NAMESPACE, "somebody-elses"))
    with pytest.raises(ForbiddenError):
        await other.read()
    elsewhere = KubeLeases(transport, Key("default", KEY.name))
    with pytest.raises(ForbiddenError):
        await elsewhere.create(HELD)


class Replica:
    """An elector with a watch of its own, as the service runs it."""

    def __init__(self, transport: KubeTransport, identity: str) -> None:
        self.client = CountingClient(KubeLeases(transport, KEY))
        self.elector = Elector(self.client, identity, jitter=lambda: 0.5, options=FAST)
        self.errors: list[ToolsetError] = []
        self._store: Store[Lease] = Store(unexpected)
        source = KubeSource(transport, lease(KEY), jitter=lambda: 0.5)
        self._reflector = Reflector(source, self._store, self, jitter=lambda: 0.5)
        self.led: list[Leadership] = []
        self.leads = anyio.Event()
        self.scope = anyio.CancelScope()

    async def run(self) -> None:
        self._store.subscribe(self._on_lease)
        with self.scope:
            async with anyio.create_task_group() as group:
                group.start_soon(self._reflector.run)
                await self._store.wait_synced()
                await self.elector.run(self._lead)

    def listed(self, items: int, took_s: float, reason: str) -> None: ...

    def watch_ended(self, events: int, took_s: float) -> None: ...

    def failed(self, error: ToolsetError, retry_in_s: float) -> None:
        del retry_in_s
        self.errors.append(error)

    def _on_lease(self, delta: Delta[Lease]) -> None:
        self.elector.observe(delta.new)

    async def _lead(self, leadership: Leadership) -> None:
        self.led.append(leadership)
        self.leads.set()
        await anyio.sleep_forever()


class CountingClient:
    """Counts what is asked of another client."""

    def __init__(self, client: LeaseClient) -> None:
        self._client = client
        self.reads = 0

    async def read(self) -> Lease | None:
        self.reads += 1
        return await self._client.read()

    async def create(self, spec: LeaseSpec) -> Lease:
        return await self._client.create(spec)

    async def replace(self, current: Lease, spec: LeaseSpec) -> Lease:
        return await self._client.replace(current, spec)


async def test_a_watching_standby_asks_nothing_and_follows_a_clean_stop_within_a_second(
    transport: KubeTransport,
) -> None:
    first, second = Replica(transport, "first"), Replica(transport, "second")
    with anyio.fail_after(20):
        async with running(first.run):
            await first.leads.wait()
            async with running(second.run):
                await anyio.sleep(1.2 * FAST.lease_s)  # without the watch it would have expired by now
                assert second.elector.leader == "first"
                assert second.client.reads <= 2
                first.scope.cancel()
                with anyio.fail_after(1):
                    await second.leads.wait()
    assert [leadership.epoch for leadership in (*first.led, *second.led)] == [0, 1]
    assert first.led[0].lost.is_set()
    assert [*first.errors, *second.errors] == []


async def test_a_lease_that_an_admin_gives_to_another_ends_the_work_at_the_next_renewal(
    transport: KubeTransport, cluster: Cluster
) -> None:
    replica = Replica(transport, "robbed")
    async with running(replica.run):
        with anyio.fail_after(10):
            await replica.leads.wait()
        cluster.patch(PATH, {"spec": {"holderIdentity": "thief"}})
        with anyio.fail_after(FAST.retry_s + 1):
            await replica.led[0].lost.wait()
        assert replica.elector.leader == "thief"
