"""Find values that are specific to one backend: credentials, headers, URLs, references to a reader's variables.

Such a value is valid only next to the URL that it was written for. Elsewhere another backend could receive it: a new
instance, or the first instance if a tenant's Service becomes the first.
"""

import re
from collections.abc import Iterator
from typing import Final

from toolset.core.dialects.texts import references
from toolset.core.json_values import Json, Path, leaves

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HEADERS: Final = ("header", "headers")
_LOGIN: Final = frozenset(
    {
        "apikey",
        "auth",
        "authorization",
        "bearer",
        "bearertoken",
        "clientcert",
        "clientcertpath",
        "clientkey",
        "clientkeypath",
        "cookie",
        "credentials",
        "password",
        "secret",
        "token",
        "user",
        "username",
    }
)
"""Keys of credentials in any dialect, in lower case without ``-`` and ``_``."""


def bound_values(node: Json, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield the path and the description of each value in ``node`` that is specific to one backend."""
    for inner, leaf in leaves(node, path):
        if isinstance(leaf, str) and references(leaf):
            yield inner, "a reference to a variable"
        elif leaf not in (None, {}, []):  # an empty one removes
            kind = _kind(inner[len(path) :])
            if kind or (isinstance(leaf, str) and _URL.match(leaf)):
                yield inner, kind or "a URL"


def has_credentials(node: Json) -> bool:
    """Return whether ``node`` holds a credential, a header or a reference to a variable."""
    return any(kind != "a URL" for _, kind in bound_values(node))


def _kind(path: Path) -> str:
    for name in path:
        plain = name.lower().replace("-", "").replace("_", "")
        if plain.endswith(_HEADERS):
            return "a header"
        if plain in _LOGIN:
            return "a credential"
    return ""
