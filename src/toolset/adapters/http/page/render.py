"""Render the page. Jinja2 is loaded with the first page, so that it costs nothing if the page is never opened."""

import base64
import hashlib
from collections.abc import Callable
from importlib.resources import files
from typing import Final

from toolset.core.status.snapshot import ServiceStatus, StatusSnapshot
from toolset.core.status.texts import clock, counted, probe_text

TOOLS_SHOWN: Final = 500
OTHERS_SHOWN: Final = 200
"""Rows on the page; the JSON API has the others."""
QUERY_LIMIT: Final = 100

Template = Callable[..., str]


class Page:
    """Renders a snapshot as HTML; the same snapshot and filter are rendered once.

    Attributes:
        policy: The Content-Security-Policy under which the page works.
    """

    def __init__(self) -> None:
        folder = files("toolset.adapters.http.page")
        self._style = folder.joinpath("style.css").read_text("utf-8")
        self._script = folder.joinpath("script.js").read_text("utf-8")
        self._html = folder.joinpath("status.html").read_text("utf-8")
        self.policy = (
            f"default-src 'none'; style-src '{_hash(self._style)}'; script-src '{_hash(self._script)}'; "
            "connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        self._template: Template | None = None
        self._last: tuple[StatusSnapshot, str, bytes] | None = None

    def render(self, snapshot: StatusSnapshot, query: str = "") -> bytes:
        """Return the page; ``query`` filters the Services by words that must all occur."""
        last = self._last
        if last is not None and last[0] is snapshot and last[1] == query:
            return last[2]
        page = self._render(snapshot, query[:QUERY_LIMIT]).encode()
        self._last = (snapshot, query, page)
        return page

    def _render(self, snapshot: StatusSnapshot, query: str) -> str:
        template = self._template = self._template or self._load()
        words = query.lower().split()
        found = [each for each in snapshot.services if all(word in searched(each) for word in words)]
        tools = sorted((each for each in found if each.published), key=lambda each: (each.type, each.key))
        others = [each for each in found if not each.published]
        return template(
            summary=snapshot.summary,
            installation=snapshot.summary.installation,
            tools=tools[:TOOLS_SHOWN],
            tools_left=len(tools) - len(tools[:TOOLS_SHOWN]),
            others=others[:OTHERS_SHOWN],
            others_left=len(others) - len(others[:OTHERS_SHOWN]),
            others_total=len(others),
            omitted=snapshot.services_omitted,
            documents=snapshot.documents,
            query=query,
        )

    def _load(self) -> Template:
        import jinja2  # noqa: PLC0415 - 3 MiB, needed only once somebody opens the page

        environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, auto_reload=False)
        names = {
            "clock": clock,
            "counted": counted,
            "probed": probe_text,
            "searched": searched,
            "style": self._style,
            "script": self._script,
        }
        return environment.from_string(self._html, names).render


def searched(service: ServiceStatus) -> str:
    """Return the text that the filter searches."""
    parts = (service.type, f"{service.namespace}/{service.name}", service.url, service.verdict, service.product)
    return " ".join(parts).lower()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
