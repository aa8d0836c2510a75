"""What each type adds to every request that HolmesGPT sends to a model; docs/holmesgpt.md has the figures."""

import os
from pathlib import Path
from typing import Final

import pytest

from consumer.answers import Backend, Server
from consumer.holmes import Holmes, Loaded
from support.build import candidate
from toolset.core.backends.backend_type import BackendType
from toolset.core.backends.catalog import BACKEND_TYPES
from toolset.core.dialects.holmesgpt import DOCUMENT_KEY
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.publication import publish

pytestmark = [pytest.mark.consumer, pytest.mark.timeout(300)]

PAGE: Final = Path(__file__).parents[2] / "docs" / "holmesgpt.md"
BEGIN: Final = "<!-- begin costs: held by tests/consumer/test_costs.py -->\n"
END: Final = "<!-- end costs -->"
HEADER: Final = (
    "| type | toolset | tools | tokens of the first | of a second | of a third |",
    "|---|---|---|---|---|---|",
)


def loaded(kind: str, count: int, holmes: Holmes, plain: Server) -> Loaded:
    """Let HolmesGPT load so many backends of a type, which all answer."""
    tools = [candidate(f"{kind}-{number}", tool_type=kind) for number in range(count)]
    plain.put({f"{tool.host}:{tool.port}": Backend(kind) for tool in tools})
    text = publish(tools, OutputOptions()).data[DOCUMENT_KEY]
    found = holmes.load(text, connect_to={}, elsewhere=plain.address, tokens=True)
    assert found.error is None
    return found


def tools_of(found: Loaded) -> set[str]:
    return {tool for toolset in found.toolsets if toolset.status == "enabled" for tool in toolset.tools}


def row(backend_type: BackendType, none: Loaded, holmes: Holmes, plain: Server) -> str:
    kind = backend_type.type
    one, two, three = (loaded(kind, count, holmes, plain) for count in (1, 2, 3))
    names = backend_type.mapping.toolsets or ("`type: http`, one for each",)
    for name in backend_type.mapping.toolsets:
        assert one.toolset(name).status == "enabled", one.toolset(name).error
    shown = ", ".join(name if "`" in name else f"`{name}`" for name in names)
    added = (one.tokens - none.tokens, two.tokens - one.tokens, three.tokens - two.tokens)
    counts = " | ".join(f"{number:,}" for number in added)
    return f"| `{kind}` | {shown} | {len(tools_of(one) - tools_of(none))} | {counts} |"


def test_the_table_of_costs_is_what_holmesgpt_counts(holmes: Holmes, plain: Server) -> None:
    if os.environ.get("HOLMESGPT"):
        pytest.skip("the figures are those of the pinned HolmesGPT")
    none = loaded("prometheus", 0, holmes, plain)
    first = f"| none | the base toolsets, and what HolmesGPT turns on | {len(tools_of(none))} | {none.tokens:,} | | |"
    table = "\n".join((*HEADER, first, *(row(each, none, holmes, plain) for each in BACKEND_TYPES)))
    written = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0].strip()
    assert written == table, f"docs/holmesgpt.md should have:\n{table}"
