"""The variants of a candidate: the ways to reach a Service that does not state one.

What an annotation, ``appProtocol`` or the detector states is not varied. Likely variants are alternatives; those that
only an answer can lead to are fallbacks. There are at most four in total.
"""

from collections.abc import Sequence
from typing import Final

from toolset.core.candidate import Variant

VARIANTS_LIMIT: Final = 4
"""Maximum number of variants of one candidate, and of requests of one probe."""
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
        either_scheme: Whether the product serves HTTP or TLS on this port, depending on its installation, so that the
            other scheme is likely too.
    """
    schemes = (first.scheme,) if scheme_is_stated else (first.scheme, _OTHER[first.scheme])
    paths = (first.path,) if path_is_stated else (first.path, *(path for path in sub_paths if path != first.path))
    ways = [Variant(scheme, first.port, path) for path in paths for scheme in schemes]
    others = ways[1:VARIANTS_LIMIT]
    likely = 1 if either_scheme and not scheme_is_stated else 0
    return tuple(others[:likely]), tuple(others[likely:])
