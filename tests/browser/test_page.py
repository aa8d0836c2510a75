"""The status page in a real Chromium: live, filtered, folded, accessible, alone, and safe."""

import re
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import pytest

import banners
from browser.webdriver import Browser
from support.build import candidate
from support.status_source import NOW, FakeSource, problem, row
from toolset.adapters.http.status_server import StatusServer
from toolset.core.status.snapshot import Probe
from toolset.demo.samples import FIRST, GRAFANA, JAEGER, Sample
from toolset.demo.stage import Stage
from toolset.model import Key
from toolset.sim import Backends, EmbeddedCluster

pytestmark = [pytest.mark.timeout(120)]

T = TypeVar("T")
ROWS: Final = "return [...document.querySelectorAll('tr[data-text]')].filter(e => !e.hidden).map(e => e.dataset.text)"
WIDTHS: Final = (360, 768, 1440)
HOSTILE: Final = "<script>document.title='owned'</script>\u202e" + "x" * 253
PROBE: Final = Probe(
    at=NOW - timedelta(seconds=4), outcome="alive", detail="", status=200, took_ms=3, successes=9, failures=0, fall=3
)


def publishes(sample: Sample, found: Mapping[str, str]) -> bool:
    return f"{sample.backend}-toolset.yaml" in found


async def off(work: Callable[[], T]) -> T:
    """Do what waits for the browser in a thread, so that the server answers meanwhile."""
    return await anyio.to_thread.run_sync(work)


async def shows(chromium: Browser, script: str, within_s: float, *arguments: object) -> Any:
    """Return what ``script`` returns in the page once that is true."""
    with anyio.fail_after(within_s):
        while not (found := await off(partial(chromium.run, script, *arguments))):  # noqa: ASYNC110 - a page sets no event
            await anyio.sleep(0.02)
    return found


def full() -> FakeSource:
    source = FakeSource(
        row("prometheus", probe=PROBE, evidence="label", product="prometheus", required=True),
        row("grafana", type="grafana", probe=PROBE, held=True, overridden=("url",)),
        row(
            "jaeger", "tracing", type="jaeger", published=False, verdict="Unhealthy", sentence="its health check fails"
        ),
        row("out", "shop", type="", published=False, verdict="OptedOut", sentence="its annotation opts it out"),
    )
    source.problems = (
        problem(severity="error", word="PermissionMissing", remedy='add to the ClusterRole the rule {apiGroups: [""]}'),
        problem(),
        problem(severity="info", word="ProbesOff", remedy=""),
    )
    source.history.settled({Key("monitoring", "grafana"): candidate("grafana")}, NOW)
    return source


@asynccontextmanager
async def served(source: FakeSource) -> AsyncGenerator[str]:
    server = StatusServer(source, "1.2.3")
    async with server.serve("127.0.0.1", 0):
        yield f"http://127.0.0.1:{server.port}/"


async def test_the_demo_shows_each_change_within_a_second(chromium: Browser) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedCluster() as cluster, Backends() as backends:
            stage = Stage(cluster, backends, Path(folder))
            async with stage.service():
                stage.add(FIRST[0])
                await stage.until(lambda found: "prometheus-toolset.yaml" in found)
                await off(partial(chromium.open, stage.status_url))
                await shows(chromium, f"{ROWS}.length === 1", 5)
                await shows(chromium, "return document.getElementById('connection').textContent === 'live'", 5)
                for number, sample in enumerate((GRAFANA, JAEGER), 2):
                    stage.add(sample)
                    await stage.until(partial(publishes, sample))
                    await shows(chromium, f"{ROWS}.length === {number}", 1)
    assert await off(chromium.console) == []


async def test_the_filter_and_the_folds_survive_an_update(chromium: Browser) -> None:
    source = full()
    async with served(source) as url:
        await off(partial(chromium.open, url))
        await shows(chromium, "return document.getElementById('connection').textContent === 'live'", 5)
        type_in = (
            "const box = document.getElementById('filter');"
            "box.value = arguments[0]; box.dispatchEvent(new Event('input'))"
        )
        await off(partial(chromium.run, type_in, "GRAFANA monitoring"))
        assert [text.split()[1] for text in await off(partial(chromium.run, ROWS))] == ["monitoring/grafana"]
        await off(
            partial(
                chromium.run, "document.getElementById('near').open = true; document.getElementById('filter').focus()"
            )
        )
        before = await off(partial(chromium.run, "return document.getElementById('live').dataset.revision"))
        source.history.settled({Key("a", "new"): candidate("new", namespace="a")}, NOW)
        await shows(chromium, "return document.getElementById('live').dataset.revision !== arguments[0]", 2, before)
        assert [text.split()[1] for text in await off(partial(chromium.run, ROWS))] == ["monitoring/grafana"]
        assert await off(partial(chromium.run, "return document.getElementById('near').open"))
        assert await off(partial(chromium.run, "return document.activeElement.id")) == "filter"
        assert "a/new" in await off(partial(chromium.run, "return document.getElementById('said').textContent"))


async def test_the_page_works_with_the_keyboard(chromium: Browser) -> None:
    async with served(full()) as url:
        await off(partial(chromium.open, url))
        await off(partial(chromium.press, "\ue004"))  # Tab
        assert await off(partial(chromium.run, "return document.activeElement.className")) == "skip"
        await off(partial(chromium.run, "document.querySelector('#near > summary').focus()"))
        await off(partial(chromium.press, "\ue007"))  # Enter
        assert await off(partial(chromium.run, "return document.getElementById('near').open"))


async def test_the_page_is_complete_without_a_script(chromium: Browser) -> None:
    async with served(full()) as url:
        await off(partial(chromium.command, "Emulation.setScriptExecutionDisabled", value=True))
        try:
            await off(partial(chromium.open, f"{url}?q=jaeger"))
            tree = await off(partial(chromium.command, "DOMSnapshot.captureSnapshot", computedStyles=[]))
            texts = tree["strings"]
            assert any("tracing/jaeger" in text for text in texts)
            assert not any(text == "monitoring/prometheus" for text in texts)
        finally:
            await off(partial(chromium.command, "Emulation.setScriptExecutionDisabled", value=False))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
async def test_axe_finds_nothing_and_nothing_is_cut_off(
    width: int, scheme: str, chromium: Browser, axe: str, pictures: Path
) -> None:
    async with served(full()) as url:
        await off(partial(chromium.show, width, scheme))
        await off(partial(chromium.open, url))
        await off(partial(chromium.run, "for (const each of document.querySelectorAll('details')) each.open = true"))
        await off(partial(chromium.command, "Runtime.evaluate", expression=axe))
        script = "axe.run().then(found => arguments[arguments.length - 1](found.violations))"
        violations = await off(partial(chromium.run_async, script))
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations] == []
        too_wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await off(partial(chromium.run, too_wide)) <= 0
        await off(partial(chromium.screenshot, pictures / f"status-{width}-{scheme}.png"))


@pytest.mark.parametrize("state", banners.states())
async def test_each_banner_is_the_one_in_the_documents(state: str, chromium: Browser, pictures: Path) -> None:
    status = banners.states()[state]
    source = FakeSource()
    source.services, source.problems = (), status.summary.problems
    source.installation = status.summary.installation
    async with served(source) as url:
        await off(partial(chromium.show, 768))
        await off(partial(chromium.open, url))
        await off(partial(chromium.screenshot, pictures / f"banner-{state}.png"))
        text = await off(partial(chromium.run, "return document.querySelector('.problems').innerText"))
    picture = (banners.FOLDER / f"{state}.svg").read_text("utf-8")
    drawn = unescape(" ".join(re.findall(r"<text[^>]*>(.*?)</text>", picture)))
    assert " ".join(text.split()) == " ".join(drawn.split())


async def test_the_page_has_no_error_and_asks_nobody_else(chromium: Browser) -> None:
    await off(lambda: ([*chromium.requested()], chromium.console()))
    async with served(full()) as url:
        await off(partial(chromium.open, url))
        await shows(chromium, "return document.getElementById('connection').textContent === 'live'", 5)
        requested = [each for each in await off(lambda: [*chromium.requested()]) if not each.startswith("data:")]
        assert requested
        assert [each for each in requested if not each.startswith(url)] == []
        assert await off(chromium.console) == []
        assert await off(partial(chromium.run, "return document.cookie")) == ""


async def test_a_hostile_service_is_shown_as_text(chromium: Browser) -> None:
    source = FakeSource(row(sentence=HOSTILE, url=HOSTILE, type=HOSTILE, note=HOSTILE, published=False, remedy=HOSTILE))
    source.problems = (problem(sentence=HOSTILE),)
    async with served(source) as url:
        await off(partial(chromium.show, 360))
        await off(partial(chromium.open, url))
        await shows(chromium, "return document.getElementById('connection').textContent === 'live'", 5)
        assert "owned" not in await off(partial(chromium.run, "return document.title"))
        assert await off(partial(chromium.run, "return document.scripts.length")) == 1
        assert await off(partial(chromium.run, "return document.body.innerText.includes('<script>')"))
        too_wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert await off(partial(chromium.run, too_wide)) <= 0


async def test_a_lost_connection_is_said_and_comes_back(chromium: Browser) -> None:
    source = full()
    async with served(source) as url:
        await off(partial(chromium.open, url))
        await shows(chromium, "return document.getElementById('connection').textContent === 'live'", 5)
    await shows(chromium, "return document.getElementById('connection').textContent.startsWith('not live')", 5)
