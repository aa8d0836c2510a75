"""Draw the banner of the status page in each state as docs/banners/*.svg, from the page that the service renders.

``python hack/docs/banners.py`` writes them; a test fails when one of them says something else than the page.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from html import escape, unescape
from pathlib import Path
from typing import Final

import msgspec

from toolset.adapters.http.page.render import Page
from toolset.config.settings import Settings
from toolset.core.health.removal_brake import Hold
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish
from toolset.core.publishing.writer_conflict import conflict_message
from toolset.core.status.build import Facts, snapshot
from toolset.core.status.history import History
from toolset.core.status.problems import Condition, MissingPermission
from toolset.core.status.required import Missing
from toolset.core.status.snapshot import Installation, StatusSnapshot
from toolset.model import Key
from toolset.service.permissions import needed

FOLDER: Final = Path(__file__).parents[2] / "docs" / "banners"
NOW: Final = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")
POD: Final = "kubernaut-dynamic-toolset-0_1"
_LEADER: Final = Condition(role="leader", target=TARGET, leader=POD)
_SECTION: Final = re.compile(r'<ul class="problems">(.*?)</ul>', re.DOTALL)
_PROBLEM: Final = re.compile(r'<li class="(\w+)">(.*?)</li>', re.DOTALL)
_PARAGRAPH: Final = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_COLUMNS: Final = 104
_LINE_PX: Final = 20
_STYLE: Final = """
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328; white-space: pre }
.card { fill: #f6f8fa } .error { fill: #b42318 } .warning { fill: #9a6700 } .info { fill: #0a5dc2 }
@media (prefers-color-scheme: dark) { text { fill: #e6e8ea } .card { fill: #1c2128 } .error { fill: #ff8a80 }
.warning { fill: #e3b341 } .info { fill: #79b8ff } }
"""


def states() -> Mapping[str, StatusSnapshot]:
    """Return the status in each state that has a banner, by its name."""
    return {
        "start": _status(role="starting", unsynced="services: not listed yet; configmaps: not listed yet"),
        "api-server-silent": _status(out_of_contact="no answer from the API server for 200 s"),
        "removals-held": _status(history=_holding()),
        "overrides-invalid": _status(history=_overridden("tools:\n  monitoring/grafana: {enable: false}\n")),
        "writer-conflict": _status(writer_conflict=conflict_message(TARGET)),
        "permission-missing": _status(missing=_permissions("services", "events")),
        "standby": _status(role="standby", leader="kubernaut-dynamic-toolset-1_2"),
        "required-tool-missing": _status(lost=Key("monitoring", "grafana")),
    }


def drawn(status: StatusSnapshot) -> str:
    """Return the picture of the banner of ``status``."""
    lines: list[tuple[str, str]] = []
    for severity, paragraphs in banner(status):
        for paragraph in paragraphs:
            lines += [(severity, line) for line in textwrap.wrap(paragraph, _COLUMNS, break_on_hyphens=False)]
        lines.append(("", ""))
    height = len(lines[:-1]) * _LINE_PX + 28
    rows = [
        f'<rect x="12" y="{15 + number * _LINE_PX}" width="4" height="{_LINE_PX}" class="{severity}"/>'
        f'<text x="28" y="{30 + number * _LINE_PX}">{escape(line)}</text>'
        for number, (severity, line) in enumerate(lines)
        if severity
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="940" height="{height}" role="img" xml:space="preserve">',
            f"<title>{escape(' '.join(line for _, line in lines if line))}</title>",
            f"<style>{_STYLE}</style>",
            '<rect width="100%" height="100%" rx="8" class="card"/>',
            *rows,
            "</svg>",
            "",
        ]
    )


def banner(status: StatusSnapshot) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the problems on the page of ``status``: the severity, and the text of each paragraph."""
    page = Page().render(status).decode()
    for severity, inner in _PROBLEM.findall("".join(_SECTION.findall(page))):
        yield severity, tuple(unescape(re.sub(r"<[^>]+>", "", each)) for each in _PARAGRAPH.findall(inner))


def _status(*, history: History | None = None, lost: Key | None = None, **condition: object) -> StatusSnapshot:
    made = msgspec.structs.replace(_LEADER, **condition)
    identity = "kubernaut-dynamic-toolset-2_3" if made.role == "standby" else POD
    installation = Installation(
        version="1.0.0", identity=identity, role=made.role, target=str(TARGET), leader=made.leader
    )
    missing = {lost: Missing(NOW - timedelta(minutes=7), 0.0, is_overdue=True)} if lost is not None else {}
    return snapshot(
        Facts(
            now=NOW,
            installation=installation,
            condition=made,
            history=history or History(TARGET),
            required=missing.keys(),
            missing=missing,
        )
    )


def _holding() -> History:
    history = History(TARGET)
    keys = frozenset(Key("monitoring", name) for name in ("grafana", "loki", "prometheus"))
    history.held_back(Hold(keys, begins=True, known=4, again_s=900.0), NOW)
    return history


def _overridden(text: str) -> History:
    history = History(TARGET)
    history.composed(publish((), OutputOptions(), text=text), NOW)
    return history


def _permissions(*resources: str) -> tuple[MissingPermission, ...]:
    found = {each.attributes.resource: each for each in reversed(needed(Settings()))}
    return tuple(MissingPermission(each.sentence, each.loss, each.remedy) for each in map(found.__getitem__, resources))


def main() -> None:
    """Write every picture."""
    FOLDER.mkdir(exist_ok=True)
    for name, status in states().items():
        (FOLDER / f"{name}.svg").write_text(drawn(status), "utf-8")


if __name__ == "__main__":
    main()
