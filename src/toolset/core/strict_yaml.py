"""A YAML parser for files that people write: rejects ambiguous syntax, records line and column.

Rejected are duplicate keys, anchors and aliases, tags, multiple documents, keys that are not strings, and values that
JSON does not have, such as dates.
"""

import math
import re
from collections.abc import Mapping
from typing import Final, cast

import msgspec
import yaml

from toolset.core.json_values import Json, Path

YAML_DEPTH_LIMIT: Final = 32
"""Maximum nesting; no setting and no document of this service needs half of that."""
NODE_LIMIT: Final = 10_000
"""Maximum number of keys, values and collections; reading these takes about 0.25 s."""
INTEGER_LIMIT: Final = 2**53
_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_STR, _NULL, _BOOL, _INT, _FLOAT = (f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool", "int", "float"))


class Mark(msgspec.Struct, frozen=True):
    """A place in a text; both count from 1."""

    line: int
    column: int


class StrictYaml(msgspec.Struct, frozen=True):
    """The parsed text.

    Attributes:
        value: Its content.
        marks: The position of each part, by path; for a map's entry, of its key.
    """

    value: Json
    marks: Mapping[Path, Mark]


class YamlFault(msgspec.Struct, frozen=True):
    """Why a text is rejected, and where."""

    message: str
    mark: Mark


class _RefusedError(Exception):
    def __init__(self, message: str, mark: object) -> None:
        super().__init__(message)
        self.fault = YamlFault(message, _mark(mark))


def parse(text: str) -> StrictYaml | YamlFault:
    """Return the content of ``text``, or why it is rejected."""
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
        marks: dict[Path, Mark] = {}
        return StrictYaml(None if node is None else _value(node, (), marks), marks)
    except _RefusedError as refused:
        return refused.fault
    except yaml.MarkedYAMLError as error:
        mark = _mark(error.problem_mark)
        return _depth_fault(text) or YamlFault(_problem(text, error, mark), mark)
    except UnicodeEncodeError:
        return YamlFault("it is not valid Unicode", Mark(1, 1))
    except yaml.reader.ReaderError as error:  # about one character, without a mark
        before = text[: error.position]
        return YamlFault("it holds control characters", Mark(before.count("\n") + 1, 1))


def _problem(text: str, error: yaml.MarkedYAMLError, mark: Mark) -> str:
    before = "".join(text.splitlines()[mark.line - 1 : mark.line])[: mark.column]
    if "\t" in before and not before.strip():
        return "a tab is used for indentation; use spaces"
    return f"this is not valid YAML: {error.problem}"


def _depth_fault(text: str) -> YamlFault | None:
    try:
        _check_events(up_to_depth(text, YAML_DEPTH_LIMIT))
    except _RefusedError as refused:
        return refused.fault
    except yaml.YAMLError:  # like the error for the whole text
        return None
    return None


def up_to_depth(text: str, limit: int) -> str:
    """Return the invalid YAML ``text`` up to where more than ``limit`` brackets are open; empty if never.

    libyaml 0.2.6 rejects a text that is nested 1,000 deep before it reports any event; its events for the beginning
    show whether that was the reason, and where.
    """
    depth = 0
    for token in _BRACKET.finditer(text):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if depth > limit:
            return text[: token.end()]
    return ""


def _check_events(text: str) -> None:
    """Scan the text without building objects, so that no depth and no alias can do harm."""
    depth = documents = nodes = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        documents += isinstance(event, yaml.DocumentStartEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        depth += int(isinstance(event, yaml.CollectionStartEvent)) - int(isinstance(event, yaml.CollectionEndEvent))
        if nodes > NODE_LIMIT:
            raise _RefusedError(f"it has more than {NODE_LIMIT} keys and values", event.start_mark)
        if problem := _event_problem(event, documents, depth):
            raise _RefusedError(problem, event.start_mark)


def _event_problem(event: yaml.Event, documents: int, depth: int) -> str:
    if documents > 1:
        return "expected one document, there is another"
    if depth > YAML_DEPTH_LIMIT:
        return f"it is nested more than {YAML_DEPTH_LIMIT} deep"
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        return "anchors and aliases are not allowed; write it out"
    return "tags are not allowed" if getattr(event, "tag", None) else ""


def _value(node: yaml.Node, path: Path, marks: dict[Path, Mark]) -> Json:
    marks.setdefault(path, _mark(node.start_mark))
    if isinstance(node, yaml.MappingNode):
        return _map(node, path, marks)
    if isinstance(node, yaml.SequenceNode):
        items = cast("list[yaml.Node]", node.value)
        return [_value(item, (*path, str(position)), marks) for position, item in enumerate(items)]
    return _scalar(cast("yaml.ScalarNode", node))


def _map(node: yaml.MappingNode, path: Path, marks: dict[Path, Mark]) -> Json:
    content: dict[str, Json] = {}
    for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
        if not isinstance(key, yaml.ScalarNode) or key.tag != _STR:
            raise _RefusedError("a key must be text; put it into quotes", key.start_mark)
        name = str(key.value)
        if name in content:
            raise _RefusedError(f"`{name[:64]}` is there twice; merge the two", key.start_mark)
        marks[*path, name] = _mark(key.start_mark)
        content[name] = _value(value, (*path, name), marks)
    return content


def _scalar(node: yaml.ScalarNode) -> Json:
    text = str(node.value)
    if node.tag == _STR:
        return text
    if node.tag == _NULL:
        return None
    if node.tag in {_BOOL, _INT, _FLOAT}:
        value = _number(text)
        if value is not None:
            return value
    raise _RefusedError(
        f"`{text[:64]}` is read as a {node.tag.rpartition(':')[2]}; put it into quotes", node.start_mark
    )


def _number(text: str) -> bool | int | float | None:
    """Return the boolean or number in ``text``; ``None`` if JSON has no such number."""
    try:
        value = cast("object", yaml.load(text, Loader=yaml.CSafeLoader))
    except ValueError:  # `0b_` looks like a number but is not, and Python reads at most 4,300 digits
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) <= INTEGER_LIMIT:
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


def _mark(mark: object) -> Mark:
    place = cast("yaml.Mark", mark)  # libyaml always sets one, although the types allow None
    return Mark(place.line + 1, place.column + 1)
