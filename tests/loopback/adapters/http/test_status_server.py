"""The JSON API: read-only, bounded, as its OpenAPI document says, and only for this machine."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import httpx
import msgspec
import orjson
import pytest

from support.build import candidate
from support.status_source import NOW, FakeSource, row
from support.waiting import until
from toolset.adapters.http import event_stream, status_server
from toolset.adapters.http.api import BASE, PAGE_LIMIT
from toolset.adapters.http.openapi import OPERATIONS, document
from toolset.adapters.http.status_server import StatusServer
from toolset.model import Key

GETS = [*(each.path for each in OPERATIONS if "{" not in each.path), f"{BASE}/services/monitoring/prometheus"]


@asynccontextmanager
async def asking(source: FakeSource, server: StatusServer | None = None) -> AsyncGenerator[httpx.AsyncClient]:
    server = server or StatusServer(source, "1.2.3")
    async with server.serve("127.0.0.1", 0):
        base = f"http://127.0.0.1:{server.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False) as client:
            yield client


@pytest.mark.parametrize("path", GETS)
async def test_every_path_answers_get_and_head_with_the_headers_that_protect(path: str) -> None:
    async with asking(FakeSource()) as client:
        answer, head = await client.get(path), await client.head(path)
    assert (answer.status_code, head.status_code, head.content) == (200, 200, b"")
    assert answer.headers["content-type"].startswith("application/json")
    assert "set-cookie" not in answer.headers
    assert {name.lower(): value for name, value in status_server.HEADERS.items()}.items() <= dict(
        answer.headers
    ).items()


@pytest.mark.parametrize("path", GETS)
async def test_every_answer_is_what_its_type_says(path: str) -> None:
    operation = next(
        each for each in OPERATIONS if each.path.partition("{")[0] == path or each.path == path or "{" in each.path
    )
    by_path = {each.path: each for each in OPERATIONS}
    operation = by_path.get(path, operation)
    async with asking(FakeSource()) as client:
        content = (await client.get(path)).content
    assert msgspec.json.encode(msgspec.json.decode(content, type=operation.answers)) == content


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
async def test_nothing_but_reading_is_allowed(method: str) -> None:
    async with asking(FakeSource()) as client:
        answer = await client.request(method, f"{BASE}/status")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_discover_of_the_plan_is_gone_and_says_why(method: str) -> None:
    async with asking(FakeSource()) as client:
        answer = await client.request(method, f"{BASE}/discover")
    assert answer.status_code == 410
    assert "the service watches the cluster" in answer.json()["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8081", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8081", 200),
        ("evil.example", 403),
        ("evil.example:8081", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ],
)
async def test_a_request_for_another_host_is_refused(host: str, status: int) -> None:
    async with asking(FakeSource()) as client:
        answer = await client.get(f"{BASE}/status", headers={"Host": host})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"{BASE}/nothing", 404, "openapi.json"),
        (f"{BASE}/services/monitoring/unknown", 404, "nothing is known of Service monitoring/unknown"),
        (f"{BASE}/services/monitoring/UPPER", 404, "no name"),
        (f"{BASE}/services/a/{'x' * 300}", 404, "no name"),
        (f"{BASE}/status?a=b", 400, "unknown parameter"),
        (f"{BASE}/services?namespce=a", 400, "known are namespace, type"),
        (f"{BASE}/services?namespace=a&namespace=b", 400, "twice"),
        (f"{BASE}/services?type=%3Cscript%3E", 400, "`type` takes letters"),
        (f"{BASE}/services?limit=0", 400, "from 1 to 500"),
        (f"{BASE}/services?limit=", 400, "from 1 to 500"),
        (f"{BASE}/services?continue=", 400, "namespace/name"),
        (f"{BASE}/services?limit=501", 400, "from 1 to 500"),
        (f"{BASE}/services?limit=-1", 400, "from 1 to 500"),
        (f"{BASE}/services?continue=a/b/c", 400, "namespace/name"),
        (f"{BASE}/events?a=b", 400, "unknown parameter"),
    ],
)
async def test_a_wrong_request_is_refused_in_one_sentence(path: str, status: int, said: str) -> None:
    async with asking(FakeSource()) as client:
        answer = await client.get(path)
    assert answer.status_code == status
    assert said in answer.json()["error"]
    assert "script" not in answer.text


async def test_services_come_in_pages_that_hold_each_once() -> None:
    rows = [row(f"s{number:03}", f"ns{number % 3}" if number % 3 else "") for number in range(25)]  # or static
    source = FakeSource(*sorted(rows, key=lambda each: each.key))
    seen: list[str] = []
    async with asking(source) as client:
        more: str | None = ""
        while more is not None:
            page = (await client.get(f"{BASE}/services?limit=4{more and f'&continue={more}'}")).json()
            more = page["next"]
            assert (len(page["services"]) <= 4, page["total"]) == (True, 25)
            seen += [str(Key(each["namespace"], each["name"])) for each in page["services"]]
        everything = (await client.get(f"{BASE}/services?limit={PAGE_LIMIT}")).json()
    assert seen == [str(each.key) for each in source.services]
    assert (len(everything["services"]), everything["next"]) == (25, None)


async def test_services_are_filtered() -> None:
    source = FakeSource(
        row("a", "one"),
        row("b", "two", type="grafana"),
        row("c", "two", type="grafana", verdict="Unhealthy", published=False),
    )
    async with asking(source) as client:
        for query, names in [
            ("namespace=two", ["b", "c"]),
            ("type=grafana&reason=Unhealthy", ["c"]),
            ("reason=Published", ["a", "b"]),
            ("namespace=three", []),
        ]:
            page = (await client.get(f"{BASE}/services?{query}")).json()
            assert ([each["name"] for each in page["services"]], page["total"]) == (names, len(names))
        tools = (await client.get(f"{BASE}/tools")).json()["tools"]
    assert [each["name"] for each in tools] == ["b", "a"]


async def test_too_many_requests_are_refused_until_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_server, "BURST", 3.0)
    monkeypatch.setattr(status_server, "REQUESTS_PER_S", 0.5)
    async with asking(FakeSource()) as client:
        codes = [(await client.get(f"{BASE}/status")).status_code for _ in range(10)]
        assert codes[:3] == [200] * 3
        assert 429 in codes
        await anyio.sleep(2.1)
        assert (await client.get(f"{BASE}/status")).status_code == 200


async def test_a_request_with_a_body_is_not_read() -> None:
    async with asking(FakeSource()) as client:
        answer = await client.request("GET", f"{BASE}/status", content=b"x" * 100_000)
    assert answer.status_code in {200, 413}


async def test_the_openapi_document_names_every_path_and_resolves() -> None:
    async with asking(FakeSource()) as client:
        answer = (await client.get(f"{BASE}/openapi.json")).json()
        assert answer == orjson.loads(orjson.dumps(document("1.2.3")))
    assert {*answer["paths"]} == {*(each.path for each in OPERATIONS), f"{BASE}/events"}
    schemas = answer["components"]["schemas"]

    found = set(re.findall(r'"#/[^"]*/([^"/]+)"', msgspec.json.encode(answer).decode()))
    assert found
    assert found <= schemas.keys()
    assert {"Summary", "ServiceStatus", "Change", "Failed", "Revision"} <= schemas.keys()


class Listener:
    """Reads server-sent events."""

    def __init__(self) -> None:
        self.text = ""

    async def follow(self, client: httpx.AsyncClient, headers: dict[str, str] | None = None) -> None:
        async with client.stream("GET", f"{BASE}/events", headers=headers, timeout=None) as answer:
            async for chunk in answer.aiter_text():
                self.text += chunk


@asynccontextmanager
async def listening(client: httpx.AsyncClient, headers: dict[str, str] | None = None) -> AsyncGenerator[Listener]:
    listener = Listener()
    async with anyio.create_task_group() as group:
        group.start_soon(listener.follow, client, headers)
        await until(lambda: "event: status" in listener.text)
        yield listener
        group.cancel_scope.cancel()


def publish(source: FakeSource, name: str) -> None:
    tool = candidate(name)
    source.history.settled({Key("monitoring", name): tool}, NOW)


async def test_a_change_is_sent_at_once_with_its_number() -> None:
    source = FakeSource()
    async with asking(source) as client, listening(client) as listener:
        publish(source, "grafana")
        await until(lambda: "event: change" in listener.text, within_s=1)
        assert "id: 1\nevent: change\ndata: {" in listener.text
        assert '"kind":"added","namespace":"monitoring","name":"grafana"' in listener.text
        await until(lambda: listener.text.count("event: status") == 2)


async def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    source = FakeSource()
    for name in ("a", "b", "c"):
        publish(source, name)
    async with asking(source) as client, listening(client, {"Last-Event-ID": "1"}) as listener:
        assert [line for line in listener.text.splitlines() if line.startswith("id: ")] == ["id: 2", "id: 3"]
    async with asking(source) as client, listening(client, {"Last-Event-ID": "99"}) as listener:
        assert "event: change" not in listener.text


async def test_many_changes_are_one_word_for_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FakeSource()
    monkeypatch.setattr(source, "settle_s", 0.2)
    async with asking(source) as client, listening(client) as listener:
        for number in range(50):
            publish(source, f"s{number}")
        await until(lambda: "id: 50\n" in listener.text)
        assert listener.text.count("event: status") == 2


async def test_silence_is_broken_by_comments_and_a_gone_client_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.02)
    source = FakeSource()
    server = StatusServer(source, "1")
    async with asking(source, server) as client:
        async with listening(client) as listener:
            await until(lambda: ": alive" in listener.text)
            assert server.events.clients == 1
            assert source.history.has_listeners
        await until(lambda: server.events.clients == 0)
        assert not source.history.has_listeners


async def test_the_number_of_streams_is_limited_and_they_end_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STREAMS_LIMIT", 1)
    source = FakeSource()
    listener = Listener()
    async with anyio.create_task_group() as group:
        with anyio.fail_after(5):
            async with asking(source) as client:
                async with listening(client):
                    refused = await client.get(f"{BASE}/events")
                    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
                    assert (await client.head(f"{BASE}/events")).status_code == 503
                assert (await client.head(f"{BASE}/events")).headers["content-type"] == "text/event-stream"
        group.cancel_scope.cancel()
    assert listener.text == ""


async def test_a_client_that_does_not_read_costs_one_buffer_and_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "WRITE_S", 0.05)
    source = FakeSource()
    server = StatusServer(source, "1")
    async with server.serve("127.0.0.1", 0), await anyio.connect_tcp("127.0.0.1", server.port) as stream:
        await stream.send(f"GET {BASE}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(lambda: server.events.clients == 1)
        with anyio.fail_after(20):
            number = 0
            while server.events.clients:
                for _ in range(20):
                    number += 1
                    publish(source, f"{'s' * 200}{number}")
                await anyio.sleep(0.001)


async def test_the_page_comes_with_its_own_policy() -> None:
    async with asking(FakeSource()) as client:
        answer = await client.get("/?q=prom")
        refused = await client.get(f"/?q={'x' * 200}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'sha256-" in answer.headers["content-security-policy"]
    assert 'value="prom"' in answer.text
    assert (refused.status_code, refused.json()["error"]) == (400, "`q` takes at most 100 characters")
