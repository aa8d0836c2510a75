"""An event recorder that sends nothing."""

import msgspec

from toolset.adapters.kube.write.events import Kind
from toolset.model import Key


class Recorded(msgspec.Struct, frozen=True):
    """What was recorded."""

    kind: str
    reason: str
    note: str
    related: Key | None = None
    action: str = "Publish"


class FakeEvents:
    """Keeps the promise of ``reconciler.EventRecorder``: takes everything at once, and never raises.

    It keeps what the real one counts, combines or drops, so that tests see what a reconcile wanted to record.

    Attributes:
        recorded: Everything, oldest first.
    """

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []

    def record(
        self, kind: Kind, reason: str, note: str, *, related: Key | None = None, action: str = "Publish"
    ) -> None:
        self.recorded.append(Recorded(kind, reason, note, related, action))

    def reasons(self) -> list[tuple[str, Key | None]]:
        """Return reason and Service of everything, oldest first."""
        return [(each.reason, each.related) for each in self.recorded]
