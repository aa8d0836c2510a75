"""The documentation site has every page, needs no other host, and is not built from pages with mistakes."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final, cast
from urllib.parse import unquote, urlsplit

import pytest
from typing_extensions import override

from support.lacking import lack

PROJECT: Final = Path(__file__).parents[2]
OTHERS: Final = ("CHANGELOG", "CONTRIBUTING", "SECURITY")
PAGES: Final = {
    "index.html": PROJECT / "README.md",
    **{f"{name}.html": PROJECT / f"{name}.md" for name in OTHERS},
    **{str(page.relative_to(PROJECT).with_suffix(".html")): page for page in sorted((PROJECT / "docs").rglob("*.md"))},
}
REPOSITORY: Final = "https://code.example/team/toolset"
LOADED_BY_STYLE: Final = re.compile(r"""(?:@import\s+|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")
SMALL: Final = {
    "README.md": "# Title\n\n[use](docs/use.md#first-steps), [all](docs), [code](src/code.py), [folder](src)\n",
    "docs/use.md": "# Use\n\n## First steps\n\n[top](../README.md#title)\n",
    "src/code.py": "print()\n",
    "hack/site/navigation.md": "```{toctree}\n:hidden:\n\ndocs/index\n```\n",
}


@dataclass
class Document(HTMLParser):
    """What a page of the site loads, links to, and can be linked to by; and its headings."""

    loads: list[str] = field(default_factory=list[str])
    links: list[str] = field(default_factory=list[str])
    ids: set[str] = field(default_factory=set[str])
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag == "a":
            self.links.append(given.get("href") or "")
        else:
            self.loads.extend(given.get(name) or "" for name in ("href", "src", "srcset", "data") if name in given)

    @override
    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(page: Path) -> Document:
    document = Document()
    document.feed(page.read_text("utf-8"))
    return document


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """See to it that the site can be built without a network."""
    script = PROJECT / "hack" / "site" / "tools"
    done = subprocess.run([script, "--where"], stdout=subprocess.PIPE, text=True, check=True)
    if not (Path(done.stdout.strip()) / ".done").exists():
        lack("what builds the documentation site is not there: run `make site-tools` once (half a minute)")


def build(project: Path, site: Path, repository: str = "") -> subprocess.CompletedProcess[str]:
    env = os.environ | {"REPOSITORY": repository}
    return subprocess.run(
        [project / "hack" / "site" / "build", site], cwd="/", env=env, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site of this checkout, built without a warning."""
    folder = tmp_path_factory.mktemp("site") / "built"
    done = build(PROJECT, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def documents(site: Path) -> dict[Path, Document]:
    return {page: parsed(page) for page in site.rglob("*.html")}


def small(folder: Path, **changed: str) -> Path:
    """Return a project of two pages in ``folder``, whose files are replaced by ``changed``."""
    (folder / "requirements").mkdir()
    shutil.copy(PROJECT / "requirements" / "site.txt", folder / "requirements")
    shutil.copytree(PROJECT / "hack" / "site", folder / "hack" / "site")
    for name, text in (SMALL | changed).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def targets(page: Path, links: list[str]) -> Iterator[tuple[Path, str]]:
    """Yield the file and the anchor of each link that stays in the site."""
    for link in links:
        address = urlsplit(link)
        if not address.scheme:
            yield (page.parent / unquote(address.path)).resolve() if address.path else page, unquote(address.fragment)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_in_the_site_and_its_navigation(site: Path, documents: dict[Path, Document], name: str) -> None:
    heading = re.search(r"^# (.+)$", PAGES[name].read_text("utf-8"), re.MULTILINE)
    assert heading is not None
    assert heading[1] in documents[site / name].text
    reached = {file for file, _ in targets(site / "index.html", documents[site / "index.html"].links)}
    assert site / name in reached


def test_links_and_pictures_lead_somewhere(site: Path, documents: dict[Path, Document]) -> None:
    followed = 0
    for page, document in documents.items():
        for file, anchor in targets(page, [*document.links, *document.loads]):
            assert file.is_file(), f"{page.relative_to(site)}: there is no {file}"
            if anchor and file.suffix == ".html":
                assert anchor in documents[file].ids, f"{page.relative_to(site)}: {file.name} has no #{anchor}"
            followed += 1
    assert followed > len(PAGES) ** 2


def test_the_site_needs_no_other_host(site: Path, documents: dict[Path, Document]) -> None:
    loads = {load for document in documents.values() for load in document.loads}
    assert {".css", ".js", ".svg"} <= {Path(urlsplit(load).path).suffix for load in loads}
    assert [load for load in loads if urlsplit(load).netloc] == []
    styled = [*site.rglob("*.css"), *site.rglob("*.html"), *site.rglob("*.svg")]
    assert [found for file in styled for found in LOADED_BY_STYLE.findall(file.read_text("utf-8"))] == []


def test_the_search_finds_headings_without_a_server(site: Path, documents: dict[Path, Document]) -> None:
    index = re.fullmatch(r"Search\.setIndex\((.*)\)\s*", (site / "searchindex.js").read_text("utf-8"), re.DOTALL)
    assert index is not None
    content = cast("dict[str, object]", json.loads(index[1]))
    names = cast("list[str]", content["docnames"])
    titles = cast("dict[str, list[tuple[int, str]]]", content["alltitles"])
    assert {(names[number], anchor) for number, anchor in titles["Blocked addresses"]} == {
        ("docs/health", "blocked-addresses")
    }
    assert "searchindex.js" in documents[site / "search.html"].loads


def test_diagrams_are_pictures(site: Path) -> None:
    page = (site / "docs" / "architecture.html").read_text("utf-8")
    picture = re.search(r'<img alt="Diagram" src="([^"]+)"', page)
    assert picture is not None
    drawing = (site / "docs" / picture[1]).read_text("utf-8")
    assert all(f">{layer}<" in drawing for layer in ("cli", "reconciler", "runtime", "errors"))
    assert re.search(r'<svg [^>]*width="\d+" height="\d+"', drawing), "a picture without a size fills its column"
    assert "flowchart TB" not in page


def test_mistakes_fail_the_build(tmp_path: Path) -> None:
    mistakes = {
        "docs/use.md": "# Use\n\n[x](../gone.md)\n\n[x](../src/gone.py)\n\n![x](x.svg)\n",
        "docs/new/more.md": "# More\n",
        "hack/site/navigation.md": SMALL["hack/site/navigation.md"].replace("docs/index", "docs/index\nafar"),
    }
    done = build(small(tmp_path, **mistakes), tmp_path / "site")
    assert done.returncode != 0
    assert sorted(re.sub(r" \[[a-z_.]+\]$", "", line) for line in done.stderr.splitlines()) == [
        "README.md:3: WARNING: local id not found in doc 'docs/use': 'first-steps'",
        "README.md:5: WARNING: toctree contains reference to nonexisting document 'afar'",
        "docs/new/more.md: WARNING: document isn't included in any toctree",
        "docs/use.md:3: WARNING: 'myst' cross-reference target not found: '../gone.md'",
        "docs/use.md:5: WARNING: 'myst' cross-reference target not found: '../src/gone.py'",
        "docs/use.md:7: WARNING: image file not readable: docs/x.svg",
    ]
    assert not (tmp_path / "site").exists()


def test_a_diagram_that_is_not_valid_fails_the_build(tmp_path: Path) -> None:
    page = {"docs/use.md": "# Use\n\n```mermaid\nflowchart TB\n  a -->\n```\n"}
    done = build(small(tmp_path, **page), tmp_path / "site")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == "docs/use.md:3: the Mermaid diagram is not valid"


def test_links_to_other_files_lead_to_copies(tmp_path: Path) -> None:
    done = build(small(tmp_path), tmp_path / "site")
    assert (done.returncode, done.stderr) == (0, "")
    page = tmp_path / "site" / "index.html"
    listing = tmp_path / "site" / "src" / "index.html"
    assert listing in {file for file, _ in targets(page, parsed(page).links)}
    for each in (page, listing):
        copies = [file for file, _ in targets(each, parsed(each).links) if file.name == "code.py"]
        assert [copy.read_text("utf-8") for copy in copies] == [SMALL["src/code.py"]]


def test_links_to_other_files_lead_to_the_repository(tmp_path: Path) -> None:
    done = build(small(tmp_path), tmp_path / "site", REPOSITORY)
    assert (done.returncode, done.stderr) == (0, "")
    links = parsed(tmp_path / "site" / "index.html").links
    assert {link for link in links if link.startswith(REPOSITORY)} == {
        f"{REPOSITORY}/blob/main/src/code.py",
        f"{REPOSITORY}/tree/main/src",
    }
    assert "docs/index.html" in links, "a folder with pages is in the site"


def test_a_repository_that_is_no_address_is_rejected(tmp_path: Path) -> None:
    done = build(PROJECT, tmp_path / "site", "team/toolset")
    assert (done.returncode, done.stderr) == (1, "REPOSITORY=team/toolset: expected https://HOST/OWNER/NAME\n")
