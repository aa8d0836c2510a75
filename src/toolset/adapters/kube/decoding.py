"""Decode what the API server answers, however deep somebody nested a part of it, and whatever bytes it holds."""

import re
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

JSON_DEPTH_LIMIT: Final = 100
"""So many collections may lie within each other where an answer was too deep; what is read needs a dozen."""
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Return what ``body`` says; bytes that are no UTF-8 become U+FFFD, as Go reads them.

    Who may write an object may nest its ``managedFields`` some 9,000 deep (Go reads JSON to 10,000), and msgspec, which
    recurses even into what it skips, ends at Python's limit, which differs between versions: one Service would hide
    all others. What lies too deep is then left out.

    What msgspec raises for either differs between versions too, so the body is repaired after any error.

    Raises:
        DecodeError: It is not JSON, or not of the decoder's type.
    """
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError):
        repaired = _shallow(body.decode("utf-8", "replace").encode())
    try:
        return decoder.decode(repaired)
    except msgspec.DecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise msgspec.DecodeError(f"JSON cannot be read: {error}") from error


def _shallow(body: bytes) -> bytes:
    """Return the JSON ``body`` without what lies deeper than the limit: the collections there are empty."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        if token[0] in {b"{", b"["}:
            depth += 1
            if depth == JSON_DEPTH_LIMIT:
                kept.append(body[start : token.end()])
                start = len(body)  # where it does not end, neither does what is kept
        elif token[0] in {b"}", b"]"}:
            if depth == JSON_DEPTH_LIMIT:
                start = token.start()
            depth -= 1
    return b"".join([*kept, body[start:]])
