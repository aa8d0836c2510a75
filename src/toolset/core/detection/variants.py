"""The variants of a candidate: in which ways a Service may be reached where nothing on it decides.

What an annotation, ``appProtocol`` or the detector states is not varied. Of the rest, what is likely from the start is
an alternative; what only an answer can lead to is a fallback. In all there are at most four.
"""

from collections.abc import Sequence
from typing import Final

from toolset.core.candidate import Variant

VARIANTS_LIMIT: Final = 4
"""The variants of one candidate: a probe of it makes at most so many requests."""
_OTHER: Final = {"http": "https", "https": "http"}


def variants(
    first: Variant, sub_paths: Sequence[str], *, scheme_is_stated: bool, path_is_stated: bool, either_scheme: bool
) -> tuple[tuple[Variant, ...], tuple[Variant, ...]]:
    """Return the alternatives to ``first``, and the fallbacks.

    Args:
        first: The likeliest variant.
        sub_paths: The base paths at which installations of the product are known to serve, the commonest first.
        scheme_is_stated: Whether something on the Service decides the scheme.
        path_is_stated: Whether something on the Service decides the path.
        either_scheme: Whether the product serves HTTP or TLS on this port as its installation wants, so that the other
            scheme is likely as well.
    """
    schemes = (first.scheme,) if scheme_is_stated else (first.scheme, _OTHER[first.scheme])
    paths = (first.path,) if path_is_stated else (first.path, *(path for path in sub_paths if path != first.path))
    ways = [Variant(scheme, first.port, path) for path in paths for scheme in schemes]
    others = ways[1:VARIANTS_LIMIT]
    likely = 1 if either_scheme and not scheme_is_stated else 0
    return tuple(others[:likely]), tuple(others[likely:])
