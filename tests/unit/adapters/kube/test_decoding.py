from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolset.adapters.kube.decoding import JSON_DEPTH_LIMIT, decode

TEXTS = st.text(alphabet='a"\\{}[]\n\u00e9', max_size=5)
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
ANYTHING: msgspec.json.Decoder[object] = msgspec.json.Decoder(object)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("depth", [pytest.param(5000, id="for some versions"), pytest.param(20_000, id="for all")])
@settings(deadline=None)  # a deep part takes its time on a busy machine
@given(before=st.lists(VALUES, max_size=3), after=st.lists(VALUES, max_size=3))
def test_what_stands_next_to_a_part_that_is_too_deep_is_read_as_it_is(
    before: list[object], after: list[object], depth: int
) -> None:
    parts = [msgspec.json.encode(value) for value in before] + [nested(depth)]
    parts += [msgspec.json.encode(value) for value in after]
    found = decode(ANYTHING, b"[%s]" % b", ".join(parts))

    assert isinstance(found, list)
    items = cast("list[object]", found)
    assert items[: len(before)] == before
    assert items[len(before) + 1 :] == after
    assert depth_of(items[len(before)]) in {JSON_DEPTH_LIMIT - 1, *([depth] if depth == 5000 else [])}


def depth_of(value: object) -> int:
    """Return how deep ``value`` is nested, without recursion: how deep that may go differs between versions."""
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = cast("list[object]", value)[0] if value else None
    return depth


class RaisesOnce(msgspec.Struct):
    """A decoder of some version to come."""

    error: Exception
    bodies: list[bytes] = []

    def decode(self, body: bytes) -> object:
        self.bodies.append(body)
        if len(self.bodies) == 1:
            raise self.error
        return ANYTHING.decode(body)


@pytest.mark.parametrize(
    "error",
    [msgspec.DecodeError("?"), msgspec.ValidationError("?"), UnicodeError("?"), ValueError("?"), RecursionError()],
)
def test_whatever_a_version_of_the_decoder_raises_the_body_is_repaired(error: Exception) -> None:
    decoder = RaisesOnce(error)

    assert decode(cast("msgspec.json.Decoder[object]", decoder), b'["\xff"]') == ["\ufffd"]


@pytest.mark.parametrize("error", [UnicodeError("?"), ValueError("?"), RecursionError()])
def test_whatever_a_version_of_the_decoder_raises_in_the_end_it_is_a_decode_error(error: Exception) -> None:
    class Raises:
        def decode(self, _: bytes) -> object:
            raise error

    with pytest.raises(msgspec.DecodeError):
        decode(cast("msgspec.json.Decoder[object]", Raises()), b"{}")


@pytest.mark.parametrize("body", [nested(5000)[:-1], nested(5000) + b"]", b"[" * 5000, b'{"a": "' + nested(9)])
def test_what_is_no_json_is_refused_at_any_depth(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(ANYTHING, body)


@pytest.mark.parametrize(
    "around", [b"%b", b'[%b, "\xff", ' + nested(5000) + b"]"], ids=["alone", "next to a deep part"]
)
def test_bytes_that_are_no_utf_8_are_read_as_go_reads_them(around: bytes) -> None:
    found = decode(ANYTHING, around % b'{"f:\xff": "\xc3"}')

    read = {"f:\ufffd": "\ufffd"}
    assert found == read if around == b"%b" else isinstance(found, list) and found[:2] == [read, "\ufffd"]
