"""Which pods a Service leads to, as far as the Service itself says."""

import msgspec

Selector = frozenset[tuple[str, str]]


class Backend(msgspec.Struct, frozen=True):
    """What of a Service decides whether another one leads to the same backend; see ``duplicates``.

    Attributes:
        selector: The pairs that the pods must have. Replicas of one StatefulSet are not told apart. Empty where nobody
            knows what is behind the Service, which then is a backend of its own.
        port: Number or name of the port on the pods.
        installation: What the Services of the parts of one installation have in common; empty where the Service
            names no part.
        part: The rank of the part among those that answer for the whole installation; lower is better.
        governing: Whether an operator made the Service for its StatefulSets, of which it may have several.
    """

    selector: Selector = frozenset()
    port: int | str = 0
    installation: str = ""
    part: int = 0
    governing: bool = False


UNKNOWN_BACKEND = Backend()
"""Of a Service with which no other one shares its backend."""
