"""Each fake keeps the promises of its port as the real adapter does, which here talks to the embedded cluster."""

from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import msgspec
import orjson
import pytest

from support.api_server import FixedCredentials
from support.build import candidate
from support.config_maps import FakeApplier, FakeConfigMaps
from support.lister_watcher import FakeServer, Thing
from support.prober import HEALTHY, HUNG, UNHEALTHY, FakeProber
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import KubeSource, Resource
from toolset.adapters.kube.write.applier import KubeApplier
from toolset.adapters.probe import HttpProber, ProberOptions
from toolset.core.candidate import Candidate
from toolset.core.publishing.plan import FIELD_MANAGER
from toolset.errors import ConflictError, OutOfSyncError
from toolset.model import ConfigMap, Key
from toolset.reconciler.ports import Applier, Prober
from toolset.runtime.listwatch import Applied, Bookmark, Deleted, Event, EventStream, ListerWatcher, Page
from toolset.sim import Backends, EmbeddedCluster

TARGET = Key("default", "tools")
EVERYBODY = pytest.mark.parametrize("who", ["fake", "real"])


@pytest.fixture
async def cluster() -> AsyncIterator[EmbeddedCluster]:
    async with EmbeddedCluster() as running:
        yield running


@pytest.fixture
async def transport(cluster: EmbeddedCluster) -> AsyncIterator[KubeTransport]:
    async with KubeTransport(FixedCredentials(cluster.url), "test/1") as opened:
        yield opened


# --- ListerWatcher


class Server:
    """A lister-watcher with two things a page, and what somebody else does to the things."""

    def __init__(
        self,
        watcher: ListerWatcher[Thing] | ListerWatcher[ConfigMap],
        put: Callable[[str], object],
        remove: Callable[[str], object],
        compact: Callable[[], object],
    ) -> None:
        self.watcher = watcher
        self.put = put
        self.remove = remove
        self.compact = compact

    async def list(self, version: str = "", token: str = "") -> Page[Thing] | Page[ConfigMap]:
        return await self.watcher.list(version=version, token=token, limit=2, heard=lambda: None)


@pytest.fixture
def server(request: pytest.FixtureRequest, who: str) -> Server:
    if who == "fake":
        fake = FakeServer(page_size=2)
        return Server(fake, fake.put, fake.remove, fake.compact)
    cluster: EmbeddedCluster = request.getfixturevalue("cluster")
    transport: KubeTransport = request.getfixturevalue("transport")
    resource = Resource("/api/v1/namespaces/default/configmaps", ConfigMap)

    def put(name: str) -> object:
        if cluster.get("ConfigMap", "default", name) is None:
            return cluster.create("ConfigMap", {"metadata": {"name": name, "namespace": "default"}})
        return cluster.patch("ConfigMap", "default", name, {"data": {"changed": str(cluster.store.version)}})

    def remove(name: str) -> None:
        cluster.delete("ConfigMap", "default", name)

    return Server(KubeSource(transport, resource, jitter=lambda: 0.0), put, remove, cluster.store.compact)


async def take(stream: EventStream[Thing] | EventStream[ConfigMap], count: int) -> list[str]:
    """Return the next ``count`` events as text."""
    events: list[str] = []
    with anyio.fail_after(5):
        while len(events) < count:
            events += [text(each) for each in await stream.next()]
    return events


def text(event: Event[Thing] | Event[ConfigMap]) -> str:
    match event:
        case Applied(stored):
            return f"+{stored.key.name}"
        case Deleted(stored):
            return f"-{stored.key.name}"
        case Bookmark():
            return "end of the list" if event.initial_end else "bookmark"
        case _:
            raise AssertionError(event)


def names(page: Page[Thing] | Page[ConfigMap]) -> list[str]:
    items: Sequence[Thing | ConfigMap] = page.items
    return [each.key.name for each in items]


@EVERYBODY
async def test_all_pages_are_of_one_moment(server: Server) -> None:
    for name in "abc":
        server.put(name)
    first = await server.list()
    server.remove("c")
    server.put("d")
    second = await server.list(token=first.next_token)

    assert (names(first), names(second)) == (["a", "b"], ["c"])
    assert (first.version, second.next_token) == (second.version, "")


@EVERYBODY
async def test_a_list_is_not_older_than_the_version_asked_for(server: Server) -> None:
    server.put("a")
    before = await server.list()
    server.put("b")
    now = await server.list(version=(await server.list()).version)

    assert names(now) == ["a", "b"]
    assert now.version != before.version


@EVERYBODY
async def test_a_watch_reports_what_came_after_its_version_in_order_and_once(server: Server) -> None:
    server.put("a")
    version = (await server.list()).version
    server.put("b")
    server.put("a")
    server.remove("b")
    async with server.watcher.watch(version=version, stream_list=False) as stream:
        assert await take(stream, 3) == ["+b", "+a", "-b"]
        server.put("b")
        assert await take(stream, 1) == ["+b"]


@EVERYBODY
async def test_a_streamed_list_ends_with_a_mark_and_goes_on_as_a_watch(server: Server) -> None:
    server.put("a")
    server.put("b")
    async with server.watcher.watch(version="", stream_list=True) as stream:
        assert await take(stream, 3) == ["+a", "+b", "end of the list"]
        server.remove("a")
        assert await take(stream, 1) == ["-a"]


@EVERYBODY
async def test_a_version_moves_with_every_change_and_with_the_deletion(server: Server) -> None:
    version = (await server.list()).version
    server.put("a")
    server.put("a")
    server.remove("a")
    async with server.watcher.watch(version=version, stream_list=False) as stream:
        versions: list[str] = []
        while len(versions) < 3:
            versions += [each.stored.version for each in await stream.next() if isinstance(each, Applied | Deleted)]
    assert len({version, *versions}) == 4


@EVERYBODY
async def test_what_was_compacted_cannot_be_watched_from_nor_listed_on(server: Server) -> None:
    for name in "abc":
        server.put(name)
    page = await server.list()
    server.put("d")
    server.compact()

    with pytest.raises(OutOfSyncError) as caught:
        async with server.watcher.watch(version=page.version, stream_list=False) as stream:
            await stream.next()
    assert caught.value.version_unusable
    with pytest.raises(OutOfSyncError) as caught:
        await server.list(token=page.next_token)
    assert caught.value.version_unusable


@EVERYBODY
async def test_a_version_that_is_yet_to_come_is_refused(server: Server) -> None:
    with pytest.raises(OutOfSyncError) as caught:
        await server.list(version="99999")
    assert caught.value.version_unusable


# --- Applier


@pytest.fixture
def applier(request: pytest.FixtureRequest, who: str) -> tuple[Applier, Callable[[], object]]:
    """Return an applier, and what deletes the ConfigMap."""
    if who == "fake":
        maps = FakeConfigMaps()
        return FakeApplier(maps), lambda: maps.delete(TARGET)
    cluster: EmbeddedCluster = request.getfixturevalue("cluster")
    transport: KubeTransport = request.getfixturevalue("transport")
    return KubeApplier(transport, FIELD_MANAGER), lambda: cluster.delete("ConfigMap", TARGET.namespace, TARGET.name)


def manifest(fence: ConfigMap | None = None, **data: str) -> bytes:
    fences = {"resourceVersion": fence.version, "uid": fence.uid} if fence else {}
    metadata = {"name": TARGET.name, "namespace": TARGET.namespace, **fences}
    return orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


@EVERYBODY
async def test_an_apply_creates_changes_and_takes_back_what_it_no_longer_names(
    applier: tuple[Applier, Callable[[], object]],
) -> None:
    writes, _ = applier
    first = await writes.apply(TARGET, manifest(a="1", b="1"))
    second = await writes.apply(TARGET, manifest(first, a="2"))

    assert (first.entries, second.entries) == ({"a": "1", "b": "1"}, {"a": "2"})
    assert (first.key, first.uid) == (TARGET, second.uid)
    assert first.version != second.version
    assert await writes.apply(TARGET, manifest(second, a="2")) == second
    assert [(each.manager, each.operation) for each in second.metadata.managed_fields or ()] == [
        (FIELD_MANAGER, "Apply")
    ]


@EVERYBODY
async def test_a_patch_writes_and_removes_in_one_request(applier: tuple[Applier, Callable[[], object]]) -> None:
    writes, _ = applier
    first = await writes.apply(TARGET, manifest(a="1", b="1"))
    second = await writes.patch(first, {"a": None, "c": "3"})
    assert second.entries == {"b": "1", "c": "3"}


@EVERYBODY
async def test_a_write_conflicts_when_somebody_was_faster(applier: tuple[Applier, Callable[[], object]]) -> None:
    writes, _ = applier
    stale = await writes.apply(TARGET, manifest(a="1"))
    await writes.apply(TARGET, manifest(stale, a="2"))
    with pytest.raises(ConflictError):
        await writes.apply(TARGET, manifest(stale, a="3"))
    with pytest.raises(ConflictError):
        await writes.patch(stale, {"a": None})


@EVERYBODY
async def test_a_write_to_what_was_deleted_conflicts_and_creates_nothing(
    applier: tuple[Applier, Callable[[], object]],
) -> None:
    writes, delete = applier
    gone = await writes.apply(TARGET, manifest(a="1"))
    delete()
    with pytest.raises(ConflictError):
        await writes.apply(TARGET, manifest(gone, a="2"))
    with pytest.raises(ConflictError):
        await writes.patch(gone, {"a": "2"})
    assert (await writes.apply(TARGET, manifest(a="3"))).uid != gone.uid


# --- Prober

WELL_ONE, SICK_ONE, HUNG_ONE = (candidate(name) for name in ("well", "failing", "hung"))
TIMEOUT_S = 0.3


@pytest.fixture
async def prober(who: str) -> AsyncIterator[Prober]:
    if who == "fake":
        yield FakeProber({SICK_ONE.key: UNHEALTHY, HUNG_ONE.key: HUNG})
        return
    async with Backends() as backends:
        for each in (WELL_ONE, SICK_ONE, HUNG_ONE):
            backends.put(authority(each), "prometheus")
        backends.fail(authority(SICK_ONE))
        backends.hang(authority(HUNG_ONE))
        yield HttpProber(ProberOptions(timeout_s=TIMEOUT_S, connect_to=backends.connect_to()))


def authority(asked: Candidate) -> str:
    return f"{asked.host}:{asked.port}"


@EVERYBODY
async def test_a_probe_says_what_is_wrong_and_never_raises(prober: Prober) -> None:
    assert await prober.probe(WELL_ONE) == HEALTHY
    assert await prober.probe(SICK_ONE) == UNHEALTHY
    hung = await prober.probe(HUNG_ONE)
    assert hung.detail.startswith("no answer within ")
    assert msgspec.structs.replace(hung, detail=HUNG.detail) == HUNG
