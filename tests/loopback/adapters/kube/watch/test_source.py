import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import anyio.lowlevel
import orjson
import pytest

from support.api_server import (
    Answer,
    FixedCredentials,
    ScriptedApiServer,
    Stream,
    line,
    page,
    status,
    status_error,
)
from support.background import running
from toolset.adapters.kube.transport import KubeTransport
from toolset.adapters.kube.watch.source import (
    LIST_LIMIT_BYTES,
    PAGE_LIMIT_BYTES,
    KubeSource,
    KubeStream,
    Resource,
    config_map,
    namespaces,
    services,
)
from toolset.adapters.kube.watch.wire import END_OF_LIST
from toolset.core.detection.reduction import Reduction
from toolset.errors import OutOfSyncError, ToolsetError, TransientError, UnavailableError
from toolset.model import ConfigMap, Key, Namespace, Service, namespace_key
from toolset.runtime.listwatch import Applied, Bookmark, Deleted, Event, Skipped

SERVICES = services("", Reduction("kubernaut.io"))


def service(name: str, version: str = "1", annotations: dict[str, str] | None = None) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default", "resourceVersion": version, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 80}]}}


def deep_fields(depth: int) -> bytes:
    """Return what the API server takes from anybody who may write a Service."""
    return b'"managedFields": [{"fieldsV1": %s{}%s}]' % (b'{"f:a\\"[": ' * depth, b"}" * depth)


@asynccontextmanager
async def source(
    server: ScriptedApiServer, resource: Resource[Service] = SERVICES, jitter: float = 0.0
) -> AsyncGenerator[KubeSource[Service]]:
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        yield KubeSource(transport, resource, jitter=lambda: jitter)


@asynccontextmanager
async def stream(*lines: bytes) -> AsyncGenerator[KubeStream[Service]]:
    server = ScriptedApiServer(Stream([b"".join(lines)]))
    async with source(server) as opened, opened.watch(version="5", stream_list=False) as events:
        yield events


async def events_of(*lines: bytes) -> list[Event[Service]]:
    events: list[Event[Service]] = []
    async with stream(*lines) as opened:
        while batch := await opened.next():
            events += batch
    return events


async def test_pages_are_followed_by_their_token_and_name_no_version() -> None:
    server = ScriptedApiServer(page([service("a")], token="t/1="), page([service("b")], "11"))
    async with source(server) as opened:
        first = await opened.list(version="", token="")
        second = await opened.list(version="5", token=first.next_token)

    assert [found.metadata.name for found in (*first.items, *second.items)] == ["a", "b"]
    assert (first.next_token, second.next_token, second.version) == ("t/1=", "", "11")
    assert [asked.params for asked in server.asked] == [{"limit": "500"}, {"limit": "500", "continue": "t/1="}]


async def test_a_list_that_names_a_version_has_no_limit() -> None:
    server = ScriptedApiServer(page([]))
    async with source(server) as opened:
        await opened.list(version="5", token="")

    assert server.asked[0].params == {"resourceVersion": "5", "resourceVersionMatch": "NotOlderThan"}


async def test_a_list_without_items_is_empty() -> None:
    async with source(ScriptedApiServer(page(None))) as opened:
        assert list((await opened.list(version="", token="")).items) == []


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"items": [{"metadata": {"name": 1}}]}', b'{"items": [tru'])
async def test_a_list_that_cannot_be_decoded_is_out_of_sync(body: bytes) -> None:
    async with source(ScriptedApiServer(Answer(body))) as opened:
        with pytest.raises(OutOfSyncError, match="the list could not be decoded"):
            await opened.list(version="", token="")


@pytest.mark.parametrize("depth", [1100, 9000])
async def test_an_object_that_somebody_nested_deep_hides_no_other_and_ends_nothing(depth: int) -> None:
    spoiled = orjson.dumps(service("a")).replace(b'"annotations":null', deep_fields(depth))
    items = b", ".join([spoiled, orjson.dumps(service("b"))])
    server = ScriptedApiServer(
        Answer(b'{"kind": "ServiceList", "items": [%s]}' % items),
        Stream([b'{"type": "ADDED", "object": %s}\n' % spoiled]),
    )
    async with source(server) as opened:
        listed = await opened.list(version="", token="")
        async with opened.watch(version="1", stream_list=False) as events:
            applied = (await events.next())[0]

    assert [found.metadata.name for found in listed.items] == ["a", "b"]
    assert isinstance(applied, Applied)
    assert applied.stored == listed.items[0]


async def test_a_list_that_is_cut_off_deep_inside_is_out_of_sync() -> None:
    body = b'{"kind": "ServiceList", "items": [{"metadata": {%s' % deep_fields(2000)[:9000]
    async with source(ScriptedApiServer(Answer(body))) as opened:
        with pytest.raises(OutOfSyncError, match="the list could not be decoded"):
            await opened.list(version="", token="")


async def test_a_token_that_has_ended_is_out_of_sync() -> None:
    async with source(ScriptedApiServer(page([], token="t"), status_error(410, "Expired"))) as opened:
        first = await opened.list(version="", token="")
        with pytest.raises(OutOfSyncError) as caught:
            await opened.list(version="", token=first.next_token)

    assert caught.value.version_unusable


async def test_only_our_annotations_of_a_service_are_kept() -> None:
    annotations = {"kubernaut.io/toolset": "enabled", "kubernaut.iox/y": "", "kubectl.kubernetes.io/last-applied": "{}"}
    kept = {"kubernaut.io/toolset": "enabled"}
    server = ScriptedApiServer(
        page([service("a", annotations=annotations), service("b")]),
        Stream([line("ADDED", service("a", annotations=annotations))]),
    )
    async with source(server) as opened:
        listed = await opened.list(version="", token="")
        async with opened.watch(version="1", stream_list=False) as events:
            applied = (await events.next())[0]

    assert [found.annotations for found in listed.items] == [kept, {}]
    assert isinstance(applied, Applied)
    assert applied.stored.annotations == kept


async def test_one_namespace_has_a_path_of_its_own() -> None:
    server = ScriptedApiServer(page([]))
    async with source(server, services("team-a", Reduction("kubernaut.io"))) as opened:
        await opened.list(version="", token="")

    assert server.asked[0].path == "/api/v1/namespaces/team-a/services"


async def test_list_and_watch_of_the_config_map_name_it() -> None:
    server = ScriptedApiServer(page([]), Stream([]))
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        opened: KubeSource[ConfigMap] = KubeSource(transport, config_map(Key("spaces", "tools")), jitter=lambda: 0.0)
        await opened.list(version="", token="")
        async with opened.watch(version="", stream_list=False) as events:
            assert await events.next() == []

    assert [asked.path for asked in server.asked] == ["/api/v1/namespaces/spaces/configmaps"] * 2
    assert [asked.params["fieldSelector"] for asked in server.asked] == ["metadata.name=tools"] * 2


@pytest.mark.parametrize(("name", "selector"), [("", None), ("team-a", "metadata.name=team-a")])
async def test_of_namespaces_all_or_one_are_listed(name: str, selector: str | None) -> None:
    labels = {"kubernaut.io/toolset-trust": "trusted", "kubernetes.io/metadata.name": "team-a"}
    server = ScriptedApiServer(page([{"metadata": {"name": "team-a", "resourceVersion": "3", "labels": labels}}]))
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        opened: KubeSource[Namespace] = KubeSource(transport, namespaces("kubernaut.io", name), jitter=lambda: 0.0)
        listed = await opened.list(version="", token="")

    assert [found.key for found in listed.items] == [namespace_key("team-a")]
    assert [found.labels for found in listed.items] == [{"kubernaut.io/toolset-trust": "trusted"}]
    assert (server.asked[0].path, server.asked[0].params.get("fieldSelector")) == ("/api/v1/namespaces", selector)


def no_memory(_: Service) -> Service:
    raise MemoryError


async def test_a_list_for_which_there_is_no_memory_is_asked_for_in_smaller_parts() -> None:
    server = ScriptedApiServer(page([service("a", "6")]), Stream([line("ADDED", service("a", "6"))]))
    greedy = Resource("/api/v1/services", Service, reduce=no_memory)
    async with source(server, greedy) as opened:
        with pytest.raises(UnavailableError, match="no memory for the list") as caught:
            await opened.list(version="", token="")
        async with opened.watch(version="5", stream_list=False) as events:
            with pytest.raises(OutOfSyncError, match="no memory for the events"):
                await events.next()
    assert caught.value.incomplete


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, "300"), (0.5, "450"), (0.999, "599")])
async def test_a_watch_asks_for_bookmarks_and_a_time_in_client_gos_range(jitter: float, seconds: str) -> None:
    server = ScriptedApiServer(Stream([]))
    async with source(server, jitter=jitter) as opened, opened.watch(version="5", stream_list=False):
        pass

    assert server.asked[0].params == {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": seconds,
        "resourceVersion": "5",
    }


async def test_a_streamed_list_asks_for_the_initial_events() -> None:
    server = ScriptedApiServer(Stream([]))
    async with source(server) as opened, opened.watch(version="", stream_list=True):
        pass

    params = server.asked[0].params
    assert (params["sendInitialEvents"], params["resourceVersionMatch"]) == ("true", "NotOlderThan")
    assert "resourceVersion" not in params


async def test_the_lines_of_a_watch_become_events() -> None:
    events = await events_of(
        line("ADDED", service("a", "6")),
        line("MODIFIED", service("a", "7")),
        line("DELETED", service("a", "8")),
        line("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": "9"}}),
    )

    assert [type(event) for event in events] == [Applied, Applied, Deleted, Bookmark]
    objects = [event for event in events if not isinstance(event, Skipped)]
    versions = [event.version if isinstance(event, Bookmark) else event.stored.version for event in objects]
    assert versions == ["6", "7", "8", "9"]


@pytest.mark.parametrize(
    ("annotations", "ends"),
    [({END_OF_LIST: "true"}, True), ({END_OF_LIST: "false"}, False), ({"other": "true"}, False), ({}, False)],
)
async def test_only_a_true_annotation_ends_the_initial_list(annotations: dict[str, str], *, ends: bool) -> None:
    mark = {"metadata": {"resourceVersion": "9", "annotations": annotations}}

    assert await events_of(line("BOOKMARK", mark)) == [Bookmark("9", initial_end=ends)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(status(410, "Expired"), OutOfSyncError(version_unusable=True, message=""), id="expired"),
        pytest.param(status(500, "InternalError"), OutOfSyncError(""), id="internal error"),
        pytest.param(status(429, "TooManyRequests"), UnavailableError("", throttled=True), id="throttled"),
        pytest.param(status(503, "ServiceUnavailable"), OutOfSyncError(""), id="unavailable"),
        pytest.param(status(504, "Timeout"), OutOfSyncError(""), id="timeout"),
        pytest.param(status(403, "Forbidden"), OutOfSyncError(""), id="forbidden"),
        pytest.param(status(404, "NotFound"), OutOfSyncError(""), id="not found"),
        pytest.param(status(400, "BadRequest"), OutOfSyncError(""), id="bad request"),
        pytest.param({"kind": "Status"}, OutOfSyncError(""), id="no code"),
        pytest.param({"kind": "Table", "rows": []}, OutOfSyncError(""), id="no status"),
    ],
)
async def test_any_error_in_the_stream_but_429_asks_for_a_new_list(
    content: dict[str, object], expected: ToolsetError
) -> None:
    async with stream(line("ERROR", content)) as opened:
        with pytest.raises(type(expected)) as caught:
            await opened.next()

    def flags(error: ToolsetError) -> list[object]:
        return [getattr(error, name, None) for name in ("version_unusable", "throttled")]

    assert flags(caught.value) == flags(expected)


@pytest.mark.parametrize("code", [429, 500, 503, 403])
async def test_an_error_in_the_stream_keeps_its_retry_after(code: int) -> None:
    content = status(code, "Reason", "later", {"retryAfterSeconds": 30})
    async with stream(line("ERROR", content)) as opened:
        with pytest.raises(TransientError) as caught:
            await opened.next()

    assert caught.value.retry_after_s == 30.0


@pytest.mark.parametrize(
    "broken",
    [
        b"{}\n",
        b"null\n",
        b"{\n",
        b"\xff\xfe\n",
        b'{"type":"ADDED"}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":1}}}\n',
        b'{"object":{"kind":"Service"}}\n',
    ],
)
async def test_a_line_that_cannot_be_decoded_is_out_of_sync(broken: bytes) -> None:
    async with stream(broken) as opened:
        with pytest.raises(OutOfSyncError, match="a watch line could not be decoded"):
            await opened.next()


@pytest.mark.parametrize(
    ("unknown", "what"),
    [
        pytest.param(line("STRANGE", service("a")), "type STRANGE", id="type"),
        pytest.param(b'{"type":"STRANGE"}\n', "type STRANGE", id="type without an object"),
        pytest.param(line("x" * 999, {"kind": "Service"}), "type " + "x" * 64, id="long type"),
        pytest.param(line("ADDED", {**service("a"), "kind": "Pod"}), "kind Pod", id="kind"),
        pytest.param(line("DELETED", {"kind": "Pod", "spec": {"ports": 1}}), "kind Pod", id="kind of another shape"),
        pytest.param(line("ADDED", {"kind": "K" * 999}), "kind " + "K" * 64, id="long kind"),
        pytest.param(
            line("ADDED", {"kind": "Pod", "metadata": {"ownerReferences": [{"x": "x" * 99, "kind": "Service"}]}}),
            "kind Pod",
            id="kind that names the right one elsewhere",
        ),
    ],
)
async def test_an_event_of_an_unknown_type_or_a_wrong_kind_is_skipped_and_the_next_one_read(
    unknown: bytes, what: str
) -> None:
    events = await events_of(unknown, line("ADDED", service("b", "7")))

    assert events[0] == Skipped(what)
    assert isinstance(events[1], Applied)


async def test_an_object_that_says_its_kind_last_or_not_at_all_is_believed() -> None:
    silent = {name: value for name, value in service("a").items() if name != "kind"}
    last = {**silent, "pad": "x" * 200, "kind": "Service"}

    assert [type(event) for event in await events_of(line("ADDED", silent), line("MODIFIED", last))] == [Applied] * 2


async def test_a_table_is_refused() -> None:
    async with stream(line("ADDED", {"kind": "Table", "metadata": {"resourceVersion": "7"}, "rows": []})) as opened:
        with pytest.raises(OutOfSyncError, match="tables instead of objects"):
            await opened.next()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"kind": "Table", "metadata": {"resourceVersion": "7"}, "rows": []}', "'Table'"),
        (b'{"kind": "PodList", "metadata": {"resourceVersion": "7"}, "items": []}', "'PodList'"),
        (b"{}", "''"),
    ],
    ids=["table", "another kind", "none"],
)
async def test_an_answer_that_is_no_list_of_the_kind_is_never_taken_for_an_empty_one(body: bytes, kind: str) -> None:
    async with source(ScriptedApiServer(Answer(body))) as opened:
        with pytest.raises(OutOfSyncError, match=f"the answer is no list of Service but of kind {kind}"):
            await opened.list(version="", token="")


async def test_a_list_may_say_its_kind_in_full() -> None:
    body = b'{"kind": "ServiceList", "metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}'
    async with source(ScriptedApiServer(Answer(body))) as opened:
        assert len((await opened.list(version="", token="")).items) == 1


async def test_an_object_is_reduced_once_and_a_deleted_one_not_at_all() -> None:
    reduced: list[str] = []

    def reduce(found: Service) -> Service:
        reduced.append(found.metadata.name)
        return found

    resource = Resource("/api/v1/services", Service, reduce=reduce)
    server = ScriptedApiServer(
        page([service("a")]),
        Stream([line("ADDED", service("b")) + line("MODIFIED", service("c")) + line("DELETED", service("d"))]),
    )
    async with source(server, resource) as opened:
        await opened.list(version="", token="")
        async with opened.watch(version="1", stream_list=False) as events:
            await events.next()

    assert reduced == ["a", "b", "c"]


BOOKMARK = line("BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": "9"}})


@asynccontextmanager
async def impatient(*streams: Stream) -> AsyncGenerator[KubeSource[Service]]:
    """Give a source that lets a server be silent for a fifth of a second."""
    server = ScriptedApiServer(*streams)
    async with server.serve(), KubeTransport(FixedCredentials(server.url), "test/1") as transport:
        yield KubeSource(transport, SERVICES, jitter=lambda: 0.0, idle_s=0.2)


async def test_a_bookmark_breaks_the_silence() -> None:
    async with (
        impatient(Stream([BOOKMARK] * 5, pause_s=0.1)) as opened,
        opened.watch(version="5", stream_list=False) as events,
    ):
        marks: list[Event[Service]] = []
        while batch := await events.next():
            marks += batch

    assert marks == [Bookmark("9")] * 5


async def test_a_watch_that_falls_silent_is_given_up() -> None:
    async with (
        impatient(Stream([BOOKMARK], end="silent")) as opened,
        opened.watch(version="5", stream_list=False) as events,
    ):
        assert await events.next() == [Bookmark("9")]
        with anyio.fail_after(2), pytest.raises(UnavailableError, match="the watch broke: Timeout"):
            await events.next()


async def test_a_caller_that_is_busy_for_longer_than_the_silence_allowed_loses_nothing() -> None:
    pieces = [BOOKMARK, *(line("ADDED", service(name)) for name in "abcdef")]
    async with (
        impatient(Stream(pieces, pause_s=0.1)) as opened,
        opened.watch(version="5", stream_list=False) as events,
    ):
        assert await events.next() == [Bookmark("9")]
        await anyio.sleep(0.5)
        rest: list[Event[Service]] = []
        while batch := await events.next():
            rest += batch

    assert len(rest) == 6


async def test_a_caller_that_is_busy_while_the_stream_falls_silent_is_not_interrupted() -> None:
    async with (
        impatient(Stream([BOOKMARK], end="silent")) as opened,
        opened.watch(version="5", stream_list=False) as events,
    ):
        await events.next()
        await anyio.sleep(0.5)
        with pytest.raises(UnavailableError, match="the watch broke: Timeout"):
            await events.next()


@pytest.mark.parametrize(
    ("version", "limit_bytes"), [("", PAGE_LIMIT_BYTES), ("5", LIST_LIMIT_BYTES)], ids=["page", "in one piece"]
)
async def test_an_answer_that_is_too_large_is_incomplete(version: str, limit_bytes: int) -> None:
    server = ScriptedApiServer(Answer(b" " * (limit_bytes + 1)))
    async with source(server) as opened:
        with pytest.raises(UnavailableError, match=f"larger than {limit_bytes} bytes") as caught:
            await opened.list(version=version, token="")
    assert caught.value.incomplete


async def test_of_a_page_of_large_services_no_more_than_one_is_held_as_a_whole_and_others_run_meanwhile() -> None:
    labels = {f"{'d' * 240}/{number:063}": "v" * 63 for number in range(1300)}
    large = [service(f"s{number}") for number in range(30)]
    body = orjson.dumps({"kind": "ServiceList", "metadata": {}, "items": [_labelled(each, labels) for each in large]})
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with source(ScriptedApiServer()) as opened:
        tracemalloc.start()
        async with running(turn):
            found = (await opened._page(body)).items
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert turns >= 10
    assert [len(each.labels) for each in found] == [16] * 30
    assert len(body) > 14_000_000
    assert most < 3_000_000


def _labelled(manifest: dict[str, object], labels: dict[str, str]) -> dict[str, object]:
    metadata = cast("dict[str, object]", manifest["metadata"])
    return {**manifest, "metadata": {**metadata, "labels": labels}}
