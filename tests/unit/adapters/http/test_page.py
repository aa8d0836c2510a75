"""The page says all that the snapshot holds, as text, without a script and without anything from elsewhere."""

from collections.abc import Iterator
from html.parser import HTMLParser

import msgspec
import pytest
from typing_extensions import override

from support.filled_status import filled
from support.status_source import FakeSource, problem, row
from toolset.adapters.http.page import render
from toolset.adapters.http.page.render import Page


class Parsed(HTMLParser):
    """The elements of a page, its attributes and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(page.decode())

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in {"meta", "link", "input", "br"}:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"{tag} is not the element that is open"

    @override
    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.text += data

    def all(self, tag: str) -> Iterator[dict[str, str]]:
        return (attributes for found, attributes in self.elements if found == tag)


def test_every_field_of_the_snapshot_is_on_the_page() -> None:
    snapshot, texts = filled()
    parsed = Parsed(Page().render(snapshot))
    assert parsed.open == []
    assert len(texts) > 70
    assert [text for text in texts if text not in parsed.text] == []


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    snapshot, _ = filled()
    parsed = Parsed(Page().render(snapshot))
    places = [
        value
        for _, attributes in parsed.elements
        for name, value in attributes.items()
        if name in {"src", "href", "action"}
    ]
    assert places
    assert [place for place in places if not place.startswith(("/", "#", "data:,"))] == []
    assert not [
        name for _, attributes in parsed.elements for name in attributes if name.startswith("on") or name == "style"
    ]


def test_the_page_has_one_main_part_labels_and_headings_for_a_screen_reader() -> None:
    snapshot, _ = filled()
    parsed = Parsed(Page().render(snapshot))
    tags = [tag for tag, _ in parsed.elements]
    assert (tags.count("main"), tags.count("h1"), next(parsed.all("html"))["lang"]) == (1, 1, "en")
    ids = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["for"] for attributes in parsed.all("label")} <= set(ids)
    assert all(attributes["aria-labelledby"] in ids for attributes in parsed.all("section"))
    assert all(attributes["scope"] == "col" for attributes in parsed.all("th"))


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("field", ["sentence", "url", "type", "product", "note", "name", "verdict", "remedy"])
def test_hostile_text_is_shown_as_text(field: str) -> None:
    first = msgspec.structs.replace(row(), **{field: HOSTILE})
    second = msgspec.structs.replace(row("other", published=False), **{field: HOSTILE})
    source = FakeSource(first, second)
    source.problems = (problem(sentence=HOSTILE, remedy=HOSTILE),)
    source.documents = {HOSTILE: HOSTILE}
    page = Page().render(source.snapshot())
    parsed = Parsed(page)
    assert b"<script>alert" not in page
    assert len(list(parsed.all("script"))) == 1
    assert not list(parsed.all("img"))
    assert HOSTILE in parsed.text


def test_the_filter_works_on_the_server_too() -> None:
    source = FakeSource(
        row("prometheus"), row("grafana", type="grafana"), row("failing", published=False, verdict="Unhealthy")
    )
    page = Page()
    for query, names in [
        ("", {"prometheus", "grafana", "failing"}),
        ("GRAF", {"grafana"}),
        ("monitoring unhealthy", {"failing"}),
    ]:
        parsed = Parsed(page.render(source.snapshot(), query))
        rows = [attributes["data-text"] for attributes in parsed.all("tr") if "data-text" in attributes]
        assert {
            name for name in ("prometheus", "grafana", "failing") if any(f"monitoring/{name}" in text for text in rows)
        } == names
        assert next(each for each in parsed.all("input"))["value"] == query


def test_an_empty_status_says_so() -> None:
    source = FakeSource()
    source.services, source.documents = (), {}
    text = Parsed(Page().render(source.snapshot())).text
    assert "No tool is published." in text
    assert "Nothing has changed since this process began." in text
    assert "holds no document" in text


def test_a_large_status_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "TOOLS_SHOWN", 3)
    monkeypatch.setattr(render, "OTHERS_SHOWN", 2)
    rows = [row(f"s{number}") for number in range(5)] + [row(f"o{number}", published=False) for number in range(6)]
    text = Parsed(Page().render(FakeSource(*rows).snapshot())).text
    assert "3 shown, 2 more in the JSON API" in text
    assert "2 shown, 4 more in the JSON API" in text


def test_one_snapshot_is_rendered_once() -> None:
    page, snapshot = Page(), FakeSource().snapshot()
    first = page.render(snapshot)
    assert page.render(snapshot) is first
    assert page.render(snapshot, "x") is not first


def test_the_policy_allows_the_pages_own_style_and_script_only() -> None:
    policy = Page().policy
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy
