import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolset.adapters.kube.decoding import JSON_DEPTH_LIMIT, decode

TEXTS = st.text(alphabet='a"\\{}[]\n\u00e9', max_size=5)
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | TEXTS
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
ANYTHING: msgspec.json.Decoder[object] = msgspec.json.Decoder(object)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_what_stands_beside_a_part_that_is_too_deep_is_read_as_it_is(before: list[object], after: list[object]) -> None:
    parts = [msgspec.json.encode(value) for value in before] + [nested(5000)]
    parts += [msgspec.json.encode(value) for value in after]
    found = decode(ANYTHING, b"[%s]" % b", ".join(parts))

    assert isinstance(found, list)
    assert found[: len(before)] == before
    assert found[len(before) + 1 :] == after
    assert msgspec.json.encode(found[len(before)]) == nested(JSON_DEPTH_LIMIT - 1)


@pytest.mark.parametrize("body", [nested(5000)[:-1], nested(5000) + b"]", b"[" * 5000, b'{"a": "' + nested(9)])
def test_what_is_no_json_is_refused_at_any_depth(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(ANYTHING, body)


@pytest.mark.parametrize("around", [b"%b", b'[%b, "\xff", ' + nested(5000) + b"]"], ids=["alone", "beside a deep part"])
def test_bytes_that_are_no_utf_8_are_read_as_go_reads_them(around: bytes) -> None:
    found = decode(ANYTHING, around % b'{"f:\xff": "\xc3"}')

    read = {"f:\ufffd": "\ufffd"}
    assert found == read if around == b"%b" else isinstance(found, list) and found[:2] == [read, "\ufffd"]
