"""The claims of a token; they are not verified here."""

import base64

import msgspec


class Claims(msgspec.Struct, frozen=True):
    """The claims that are read.

    Attributes:
        sub: The subject of the token; empty if it has none.
        exp: When it expires, seconds since 1970; 0 if it does not say.
    """

    sub: str = ""
    exp: float = 0.0


def claims(token: bytes) -> Claims:
    """Return the claims of a JWT; empty ones if ``token`` is another kind of token."""
    _, _, rest = token.strip().partition(b".")
    payload = rest.partition(b".")[0]
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)), type=Claims)
    except (ValueError, msgspec.DecodeError):
        return Claims()
