"""Whatever tenants put into untrusted namespaces, what is published of trusted ones stays the same, byte for byte."""

from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
import yaml
from hypothesis import given
from hypothesis import strategies as st

from support.build import candidate
from toolset.core.backends.backend_type import types_of
from toolset.core.backends.catalog import BACKEND_TYPES
from toolset.core.candidate import Candidate
from toolset.core.dialects.documents import to_yaml
from toolset.core.inventory import instances
from toolset.core.json_values import Document, Json
from toolset.core.publishing.options import DIALECTS, OutputOptions
from toolset.core.publishing.publication import publish

HOLMES, JSON = "custom_toolset.yaml", "toolset.json"
TYPES = st.sampled_from(["prometheus", "grafana", "elasticsearch", "jaeger", "note", "note-a", "aaa"])
NAMES = st.sampled_from(["a", "b", "a-b", "b-a", "prometheus"])
TIMES = st.sampled_from(["2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z"])


def services(namespaces: st.SearchStrategy[str], *, trusted: bool, most: int) -> st.SearchStrategy[list[Candidate]]:
    built = st.builds(
        candidate,
        name=NAMES,
        namespace=namespaces,
        tool_type=TYPES,
        created=TIMES,
        priority=st.integers(-999999, 999999),
        trusted=st.just(trusted),
    )
    return st.lists(built, unique_by=lambda tool: tool.key, max_size=most)


ours = services(st.sampled_from(["a", "a-b", "ops"]), trusted=True, most=6)
attackers = services(st.sampled_from(["b", "a-a", "b-a", "team"]), trusted=False, most=16)
options = st.builds(
    OutputOptions,
    dialects=st.just((*DIALECTS, "json")),
    max_per_type=st.integers(0, 3),
    max_http_tools=st.integers(0, 4),
    limit_kib=st.integers(4, 12),
)
notes = st.integers(0, 1500).map("x".__mul__)
"""Laid over the HolmesGPT document by the admin, which takes more room than the tools themselves say."""


@given(ours, attackers, options, notes)
def test_nothing_in_an_untrusted_namespace_changes_what_is_published_of_trusted_ones(
    trusted: list[Candidate], untrusted: list[Candidate], output: OutputOptions, note: str
) -> None:
    text = f"toolsets: {{prometheus/metrics: {{description: '{note}'}}}}" if note else None
    alone = publish(instances(trusted), output, text=text, untrusted_limit=3)
    among = publish(instances([*untrusted, *trusted]), output, text=text, untrusted_limit=3)
    assert [tool for tool in among.tools if tool.trusted] == list(alone.tools)
    assert restricted(among.data, alone.tools) == restricted(alone.data, alone.tools)
    assert {key: among.rejected[key] for key in alone.rejected} == alone.rejected


def test_room_that_an_overlay_takes_is_taken_from_untrusted_tools_first() -> None:
    """An overlay is not a part of what a tool costs, so the documents may be too large at the first attempt."""
    trusted = [candidate(f"p{n}") for n in range(100)]
    untrusted = [candidate("jaeger", namespace=f"t{n}", tool_type="jaeger", trusted=False) for n in range(8)]
    output = OutputOptions(dialects=("holmesgpt",), limit_kib=12)
    text = f"toolsets: {{prometheus/metrics: {{description: '{'x' * 1800}'}}}}"
    assert publish(instances(trusted), output, text=text).tools == tuple(instances(trusted))
    among = publish(instances([*untrusted, *trusted]), output, text=text)
    assert [tool for tool in among.tools if tool.trusted] == instances(trusted)


def restricted(data: Mapping[str, str], trusted: Sequence[Candidate]) -> dict[str, str]:
    """Return the texts of all documents without what is in them of other tools."""
    urls = {tool.url for tool in trusted}
    found: dict[str, str] = {}
    for key, text in data.items():
        if key == HOLMES:
            found |= {f"{key} {name}": to_yaml(block) for name, block in _toolsets(text, trusted).items()}
        elif key == JSON:
            tools = cast("list[dict[str, str]]", msgspec.json.decode(text)["tools"])
            found[key] = msgspec.json.encode([tool for tool in tools if tool["endpoint"] in urls]).decode()
        elif key == "kubernetes-toolset.yaml" or yaml.safe_load(text)["config"]["url"] in urls:
            found[key] = text
    return found


def _toolsets(text: str, trusted: Sequence[Candidate]) -> dict[str, Document]:
    """Return the toolsets of HolmesGPT with the config of trusted tools as lists: whether one stands flat depends on
    how many there are, and so does whether it has a name."""
    types = {name: kind for kind, mapping in types_of(BACKEND_TYPES).items() for name in mapping.toolsets}
    found: dict[str, Document] = {}
    for name, block in cast("dict[str, Document]", yaml.safe_load(text)["toolsets"]).items():
        config = cast("Document", block.get("config") or {})
        if name in types:
            mine = [tool for tool in trusted if tool.type == types[name]]
            given = cast("list[dict[str, Json]]", config.get("instances", [config]))
            kept = [instance for instance in given if {tool.url for tool in mine} & {*map(str, instance.values())}]
            if len(mine) == 1:
                kept = [{field: value for field, value in kept[0].items() if field != "name"}]
            if kept:
                found[name] = {**block, "config": cast("Json", kept)}
        elif not config or any(f"//{tool.host}:" in str(config["endpoints"]) for tool in trusted):
            found[name] = block
    return found
