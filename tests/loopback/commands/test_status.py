"""`toolset status` finds the running service, and shows what it says."""

import functools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from html import unescape
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import msgspec
import pytest
from typing_extensions import override

from support.api_server import raw_server, saying
from support.build import candidate
from support.filled_status import filled
from support.port_forwards import ForwardingApiServer
from support.status_source import NOW, FakeSource, problem, row
from support.waiting import until
from toolset.adapters.http.status_client import StatusClient, by_url
from toolset.adapters.http.status_server import StatusServer
from toolset.cli import main
from toolset.commands import status
from toolset.config.loader import load
from toolset.config.settings import Settings
from toolset.core.status.snapshot import Probe, ServiceStatus, StatusSnapshot, Summary
from toolset.errors import InvalidError, NotFoundError, SettingsError, UnavailableError
from toolset.model import Key
from toolset.sim.cluster import kubeconfig

PROBE = Probe(
    at=NOW - timedelta(seconds=4),
    outcome="status",
    detail="answered 404",
    status=404,
    took_ms=3,
    successes=0,
    failures=2,
    fall=3,
)
UNHEALTHY = row(
    "grafana",
    type="grafana",
    verdict="Unhealthy",
    published=False,
    sentence="its health check fails (answered 404)",
    probe=PROBE,
    since=None,
)


@asynccontextmanager
async def served(source: FakeSource) -> AsyncGenerator[str]:
    server = StatusServer(source, "1.2.3")
    async with server.serve("127.0.0.1", 0):
        yield f"http://127.0.0.1:{server.port}"


async def run(*arguments: str) -> int:
    """Run the command in a thread of its own, as a process would be."""
    return await anyio.to_thread.run_sync(functools.partial(main, ["status", *arguments]))


async def test_the_whole_status_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    source = FakeSource(UNHEALTHY, row())
    source.problems = (problem(),)
    async with served(source) as url:
        assert await run("--server", url) == 0
    out = capsys.readouterr().out
    assert out.startswith("ConfigMap kubernaut-system/kubernaut-toolset-config: ")
    assert "warning: most tools stopped answering [RemovalsHeld]\n  remedy: check the network\n" in out
    assert "\nSERVICE                VERDICT    TYPE        SINCE  LAST PROBE" in out
    assert "\nmonitoring/prometheus  published  prometheus  " in out
    assert "answered 404, 4s ago, 2 of 3 failures" in out


class Filled(FakeSource):
    """A status without an empty field."""

    def __init__(self) -> None:
        super().__init__()
        made, self.texts = filled()
        self.made = msgspec.structs.replace(made, services=tuple(sorted(made.services, key=lambda each: each.key)))

    @override
    def snapshot(self) -> StatusSnapshot:
        return self.made


async def test_every_field_is_the_same_in_the_command_the_api_and_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    source = Filled()
    async with served(source) as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert await by_url(url).snapshot() == source.made
        assert await run("--server", url, "-o", "json") == 0
        page = unescape((await client.get("/")).text)
        answers = [(await client.get(f"/api/v1/{path}")).json() for path in ("status", "services", "toolsets")]
    assert msgspec.json.decode(capsys.readouterr().out, type=StatusSnapshot) == source.made
    assert [text for text in source.texts if text not in page] == []
    summary, services, toolsets = answers
    assert msgspec.convert(summary, Summary, strict=False) == source.made.summary
    assert msgspec.convert(services["services"], tuple[ServiceStatus, ...], strict=False) == source.made.services
    assert (services["omitted"], toolsets["documents"]) == (source.made.services_omitted, source.made.documents)


async def test_wide_and_json_show_more(capsys: pytest.CaptureFixture[str]) -> None:
    source = FakeSource(row(evidence="label", overridden=("url",), product="thanos-query"))
    async with served(source) as url:
        assert await run("--server", url, "-o", "wide") == 0
        assert "thanos-query  label" in (wide := capsys.readouterr().out)
        assert "OVERRIDDEN" in wide
        assert await run("--server", url, "-o", "json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["documents"] == source.documents
    assert content["services"][0]["product"] == "thanos-query"


async def test_one_service_says_since_when_and_the_exit_code_whether(capsys: pytest.CaptureFixture[str]) -> None:
    async with served(FakeSource(UNHEALTHY, row())) as url:
        assert await run("--server", url, "monitoring/prometheus") == 0
        assert capsys.readouterr().out.startswith(
            "monitoring/prometheus is published since 2026-01-01 12:00:00 UTC at http://prometheus.monitoring"
        )
        assert await run("--server", url, "monitoring/grafana") == 2
        assert "monitoring/grafana is not published: its health check fails" in capsys.readouterr().out
        assert await run("--server", url, "monitoring/grafana", "-o", "json") == 2
        assert json.loads(capsys.readouterr().out)["verdict"] == "Unhealthy"
        assert await run("--server", url, "monitoring/none") == 1
        assert "nothing is known of Service monitoring/none" in capsys.readouterr().err
        assert await run("--server", url, "none") == 1
        assert "write it as NAMESPACE/NAME" in capsys.readouterr().err


async def test_a_watch_shows_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "WATCH_S", 0.01)
    source = FakeSource()
    shown: list[StatusSnapshot] = []
    async with served(source) as url, anyio.create_task_group() as group:
        group.start_soon(status.watch, by_url(url), shown.append)
        await until(lambda: shown)
        source.history.settled({Key("a", "b"): candidate("b", namespace="a")}, NOW)
        await until(lambda: len(shown) == 2)
        group.cancel_scope.cancel()
    assert [len(each.summary.changes) for each in shown] == [0, 1]


async def test_a_status_of_many_services_is_read_page_by_page() -> None:
    rows = sorted((row(f"s{number:04}") for number in range(1234)), key=lambda each: each.key)
    async with served(FakeSource(*rows)) as url:
        assert (await by_url(url).snapshot()).services == tuple(rows)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8081", "ftp://127.0.0.1:8081", "http://", "http://a:99999", "http://a/path", "http://a/?b=c"]
)
def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"write it as `http://127\.0\.0\.1:8081`"):
        by_url(url)


@pytest.mark.parametrize(
    ("said", "error", "match"),
    [
        (b"", UnavailableError, "did not answer"),
        (b"SSH-2.0-x\r\n\r\n", UnavailableError, "did not answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", InvalidError, "is no status of this service"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\nno", InvalidError, r"\(500\) is no status"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", UnavailableError, "did not answer"),
    ],
)
async def test_what_is_no_status_server_is_named(said: bytes, error: type[Exception], match: str) -> None:
    async with raw_server(saying(said)) as port:
        with pytest.raises(error, match=match):
            await by_url(f"http://127.0.0.1:{port}").snapshot()


async def test_nobody_at_the_url_is_said_with_the_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    async with raw_server(saying(b"")) as port:
        pass
    assert await run("--server", f"http://127.0.0.1:{port}") == 1
    assert "no running service found: http://127.0.0.1" in (reported := capsys.readouterr().err)
    assert "is `status.enabled` on" in reported


async def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolset.adapters.http.status_client.BODY_LIMIT_BYTES", 1000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    async with raw_server(saying(answer)) as port:
        with pytest.raises(UnavailableError, match="it sends too much"):
            await by_url(f"http://127.0.0.1:{port}").snapshot()


@asynccontextmanager
async def forwarding(
    source: FakeSource, tmp_path: Path, **others: object
) -> AsyncGenerator[tuple[ForwardingApiServer, Settings]]:
    server = StatusServer(source, "1.2.3")
    async with server.serve("127.0.0.1", 0):
        api = ForwardingApiServer(server.port, **others)  # type: ignore[arg-type]
        async with api.serve() as url:
            file = tmp_path / "config"
            await anyio.Path(file).write_text(kubeconfig(url), "utf-8")
            yield api, load("", {}, {"kube.kubeconfig": str(file)})


async def test_the_leader_is_found_by_its_lease_and_reached_through_the_api_server(tmp_path: Path) -> None:
    rows = [row(f"s{number:04}") for number in range(600)]
    async with forwarding(FakeSource(*rows), tmp_path) as (api, settings), status.reached(settings) as client:
        assert len((await status.read(client)).services) == 600
        assert (await status.read_service(client, Key("monitoring", "s0001"))).name == "s0001"
        assert api.asked[0] == "/api/v1/namespaces/kubernaut-system/pods/pod-0/portforward?ports=8081"
        with pytest.raises(NotFoundError):
            await status.read_service(client, Key("a", "b"))


@pytest.mark.parametrize(
    ("others", "match"),
    [
        ({"holder": ""}, "no process holds Lease kubernaut-system/kubernaut-dynamic-toolset"),
        ({"holder": "gone_1"}, "no running service found: there is no pod kubernaut-system/gone; is"),
        ({"error": "connection refused"}, "no running service found: .*connection refused"),
        ({"refuses": 403}, "no running service found: .*403"),
    ],
)
async def test_a_leader_that_cannot_be_reached_is_said_with_the_remedy(
    others: dict[str, object], match: str, tmp_path: Path
) -> None:
    async with forwarding(FakeSource(), tmp_path, **others) as (_, settings):
        with pytest.raises((UnavailableError, NotFoundError), match=match):
            async with status.reached(settings) as client:
                await status.read(client)


async def test_in_a_pod_the_service_next_to_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    settings = load("status: {listen: '[::1]:1234'}", {}, {})
    async with status.reached(settings) as client:
        assert client.place == "http://[::1]:1234"


async def test_a_client_closes_what_it_could_not_open() -> None:
    client = StatusClient(by_url("http://127.0.0.1:1")._connect, "there")
    with pytest.raises(UnavailableError, match="there did not answer"):
        await client.snapshot()
