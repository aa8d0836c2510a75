"""Decode responses of the API server, however deeply nested, and whatever bytes they contain."""

import re
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")

JSON_DEPTH_LIMIT: Final = 100
"""Maximum nesting that is kept of a response that was too deep; what is read needs a dozen levels."""
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]', re.DOTALL)


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Return the decoded ``body``; bytes that are not UTF-8 become U+FFFD, as in Go.

    A user who may write an object may nest its ``managedFields`` about 9,000 deep (Go reads JSON to 10,000). msgspec
    recurses even into skipped parts and fails at Python's limit, which differs between versions: one Service would
    hide all others. Parts that are too deep are then omitted.

    The errors of msgspec differ between versions too, so the body is repaired after any error.

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
    """Return the JSON ``body`` cut at the maximum depth: the collections there are empty."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKEN.finditer(body):
        if token[0] in {b"{", b"["}:
            depth += 1
            if depth == JSON_DEPTH_LIMIT:
                kept.append(body[start : token.end()])
                start = len(body)  # if it does not end, the kept part does not either
        elif token[0] in {b"}", b"]"}:
            if depth == JSON_DEPTH_LIMIT:
                start = token.start()
            depth -= 1
    return b"".join([*kept, body[start:]])
