"""Copy the Markdown pages of the repository to a folder that Sphinx builds the site from.

Usage: stage.py ROOT FOLDER [REPOSITORY]

The pages keep their places and their line numbers. README.md becomes index.md and carries the navigation, a Mermaid
block becomes a picture, and a link to what is no page leads to REPOSITORY, or without it to a copy. A linked folder
becomes a page that lists it, unless it has no pages and REPOSITORY shows it.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

README: Final = Path("README.md")
INDEX: Final = Path("index.md")
OTHERS: Final = (Path("CHANGELOG.md"), Path("CONTRIBUTING.md"), Path("SECURITY.md"))
NAVIGATION: Final = Path("hack", "site", "navigation.md")
BRANCH: Final = "main"
MERMAID: Final = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE_OR_LINK: Final = re.compile(
    r"^ *```.*?^ *```$|`[^`\n]*`|(?P<image>!\[[^]]*)?\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL
)
HEADING: Final = re.compile(r"^# (.+)$", re.MULTILINE)
NUMBERED: Final = re.compile(r"(\d+)-")


def drawn(source: str) -> str:
    """Return a Mermaid diagram as SVG, with a size and a white background of its own.

    Raises:
        subprocess.CalledProcessError: It is no valid diagram; the reason is on standard error.
    """
    command = [sys.executable, "-I", "-m", "mmdr", "--format", "svg", "--input", "-", "--output", "-"]
    svg = subprocess.run(command, input=source, stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.sub(
        r'width="100%"(.*?) style="(.*?viewBox="\S+ \S+ (\S+) (\S+)")',
        r'width="\3" height="\4"\1 style="background:white;\2',
        svg,
        count=1,
    )


@dataclass(frozen=True)
class Stage:
    """The repository at ``root``, and the ``folder`` that its pages are copied to."""

    root: Path
    folder: Path
    repository: str

    @cached_property
    def pages(self) -> set[Path]:
        """The pages of the repository, relative to its top."""
        found = {page.relative_to(self.root) for page in (self.root / "docs").rglob("*.md")}
        return found | {page for page in (README, *OTHERS) if (self.root / page).exists()}

    def fill(self) -> None:
        """Copy all pages, and what they need."""
        navigation = self._read(NAVIGATION)
        for page in sorted(self.pages):
            text = CODE_OR_LINK.sub(
                partial(self._link, page), MERMAID.sub(partial(self._diagram, page), self._read(page))
            )
            if page == README:
                self._write(INDEX, f"{text}\n{navigation}")
            else:
                self._write(page, text)

    def _read(self, path: Path) -> str:
        return (self.root / path).read_text("utf-8")

    def _write(self, path: Path, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text, encoding="utf-8")

    def _diagram(self, page: Path, block: re.Match[str]) -> str:
        line = block.string.count("\n", 0, block.start()) + 1
        picture = page.with_name(f"{page.stem}-line-{line}.svg")
        try:
            self._write(picture, drawn(block[1]))
        except subprocess.CalledProcessError:
            sys.exit(f"{page}:{line}: the Mermaid diagram is not valid")
        return f"![Diagram]({picture.name})" + "\n" * block[0].count("\n")

    def _link(self, page: Path, found: re.Match[str]) -> str:
        link = found["target"]
        if not link or ":" in link or link.startswith("#"):
            return found[0]
        file, hash_sign, anchor = link.partition("#")
        place = Path(os.path.normpath(page.parent / file))
        target = self._target(page, place, image=bool(found["image"]))
        return f"{found['image'] or ''}]({target or file}{hash_sign}{anchor})"

    def _target(self, page: Path, place: Path, *, image: bool) -> str | None:
        """Return where a link of ``page`` to ``place`` has to lead, None for where it leads already."""
        original = self.root / place
        if place == README:
            return os.path.relpath(INDEX, page.parent)
        if place in self.pages or not original.exists() or ".." in place.parts:
            return None
        if original.is_dir():
            return self._folder_target(page, place)
        if self.repository and not image:
            return f"{self.repository}/blob/{BRANCH}/{place}"
        return os.path.relpath(self._copy(place), page.parent)

    def _folder_target(self, page: Path, place: Path) -> str:
        held = sorted(each for each in self.pages if each.parent == place)
        if self.repository and not held:
            return f"{self.repository}/tree/{BRANCH}/{place}"
        listing = place / "index.md"
        if listing not in self.pages:
            self._write(listing, self._contents(place, held) if held else self._files(place))
        return os.path.relpath(listing, page.parent)

    def _copy(self, place: Path) -> Path:
        """Copy a file that is no page, and return the place of the copy, which Sphinx must not take for a page."""
        copy = place.with_name(f"{place.name}.txt") if place.suffix in {".md", ".rst"} else place
        (self.folder / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / place, self.folder / copy)
        return copy

    def _contents(self, place: Path, held: list[Path]) -> str:
        """Return a page that lists the pages of a folder, as part of the navigation."""
        entries = [f"{self._title(each)} <{each.stem}>" for each in held]
        return "\n".join([f"# {place}", "", "```{toctree}", ":maxdepth: 1", "", *entries, "```", ""])

    def _title(self, page: Path) -> str:
        heading = HEADING.search(self._read(page))
        title = heading[1] if heading else page.stem
        number = NUMBERED.match(page.name)
        return f"{int(number[1])}. {title}" if number else title

    def _files(self, place: Path) -> str:
        """Return a page that lists the files of a folder, and is not part of the navigation."""
        found = sorted(each.relative_to(self.root) for each in (self.root / place).rglob("*") if each.is_file())
        copies = [self._copy(each) for each in found if "__pycache__" not in each.parts]
        links = [f"- [{copy.relative_to(place)}]({copy.relative_to(place)})" for copy in copies]
        return "\n".join(["---", "orphan: true", "---", "", f"# {place}", "", *links, ""])


if __name__ == "__main__":
    Stage(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "").fill()
