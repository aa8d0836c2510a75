"""The source of `overrides.yaml`, and which overrides apply once it is removed.

It is a key of the target ConfigMap, or of a separate one that ``output.overrides_from`` names and this service only
reads. Overrides end only by a decision of the admin: the key is removed from the ConfigMap, or changed. If the
ConfigMap was deleted, or created again without the key, the last valid overrides stay in force. A separate ConfigMap
exists only for ``overrides.yaml``, so a missing key is not a decision there either, and if none were ever valid
nothing is written.
"""

from typing import Final

import msgspec

from toolset.core.dialects.texts import Policy
from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, OverridesError, follow
from toolset.core.publishing.plan import OVERRIDES_IN_FORCE, OVERRIDES_KEPT, OVERRIDES_KEY
from toolset.model import ConfigMap, Key


class OverridesSource(msgspec.Struct, frozen=True):
    """The current content of the source.

    Attributes:
        key: The ConfigMap.
        text: Its ``overrides.yaml``; ``None`` if there is none.
        uid: Its ``metadata.uid``; empty if there is no such ConfigMap.
        is_separate: Whether it is a separate ConfigMap.
        ignored: The target ConfigMap, if it contains an ``overrides.yaml`` that is not read.
    """

    key: Key
    text: str | None = None
    uid: str = ""
    is_separate: bool = False
    ignored: Key | None = None


class InForce(msgspec.Struct, frozen=True):
    """The overrides in force, and what is needed to keep them.

    Attributes:
        overrides: The last valid ones.
        uid: The uid of the ConfigMap with their text; empty if it is unknown or was deleted.
        known: Whether any text was ever valid, even an empty one.
    """

    overrides: Overrides = NO_OVERRIDES
    uid: str = ""
    known: bool = False

    def text_of(self, source: OverridesSource) -> str | None:
        """Return the text in force, given ``source``."""
        return self.overrides.text if self.outlives(source) else source.text

    def outlives(self, source: OverridesSource) -> bool:
        """Return whether these overrides stay in force although ``source`` has none, because nobody ended them."""
        if source.text is not None:
            return False
        return self.known if source.is_separate else bool(self.overrides.text) and source.uid != self.uid

    def follow(self, source: OverridesSource, policy: Policy) -> Overrides:
        """Return the overrides in force for ``source``."""
        return follow(self.overrides, self.text_of(source), policy)[0]

    def after(self, source: OverridesSource, overrides: Overrides, error: OverridesError | None) -> "InForce":
        """Return what to remember when ``overrides`` are in force, possibly with ``error``."""
        if self.outlives(source):
            return self
        valid = source.text is not None and error is None
        return InForce(overrides, source.uid, known=self.known or valid)


NOTHING_IN_FORCE: Final = InForce()


def locate(target: Key, name: str, cached: ConfigMap | None, separate: ConfigMap | None) -> OverridesSource:
    """Return the source of the overrides.

    Args:
        target: The target ConfigMap.
        name: ``output.overrides_from``; empty for the target ConfigMap.
        cached: The target ConfigMap, as last seen.
        separate: The one that ``name`` names, as last seen.
    """
    own_text = cached.entries.get(OVERRIDES_KEY) if cached else None
    if not name:
        return OverridesSource(target, own_text, cached.uid if cached else "")
    text = separate.entries.get(OVERRIDES_KEY) if separate else None
    ignored = target if own_text else None
    uid = separate.uid if separate else ""
    return OverridesSource(Key(target.namespace, name), text, uid, is_separate=True, ignored=ignored)


def resumed(cached: ConfigMap | None, prefix: str, policy: Policy) -> InForce:
    """Return what was in force when ``cached`` was written, if its annotations record it.

    They do while ``overrides.yaml`` is invalid or missing, so that a restart does not bring back what an admin hid.

    Args:
        cached: The target ConfigMap, as last seen.
        prefix: The annotation prefix.
        policy: What overrides may contain.
    """
    if cached is None:
        return NOTHING_IN_FORCE
    text = cached.annotations.get(f"{prefix}/{OVERRIDES_IN_FORCE}")
    kept = f"{prefix}/{OVERRIDES_KEPT}" in cached.annotations
    overrides, error = follow(NO_OVERRIDES, text, policy)
    return InForce(overrides, "" if kept else cached.uid, known=(kept or text is not None) and error is None)


def lost(source: OverridesSource, prefix: str, target: Key) -> str:
    """Return a message that the overrides in force are missing from ``source``, and how to restore them."""
    what = "has no overrides.yaml any more" if source.uid and source.is_separate else "was deleted with overrides.yaml"
    return (
        f"ConfigMap {source.key} {what}; the overrides that were valid last stay in force. Put it back there (the "
        f"annotation {prefix}/{OVERRIDES_IN_FORCE} of ConfigMap {target} has its text), or an empty one to end them"
    )


def withheld(source: OverridesSource, error: OverridesError | None) -> str:
    """Return a message why nothing is written before overrides were valid once."""
    why = f"its overrides.yaml is not valid: {error}" if error else "it has no overrides.yaml, or does not exist"
    return (
        f"nothing is written, because `output.overrides_from` names ConfigMap {source.key}, and {why}. Create it: "
        f"`kubectl create configmap {source.key.name} -n {source.key.namespace} --from-file=overrides.yaml`; an empty "
        "file will do"
    )


def ignored(source: OverridesSource) -> str:
    """Return a message that overrides are in a place that is not read; empty if there are none."""
    if source.ignored is None:
        return ""
    return (
        f"overrides.yaml in ConfigMap {source.ignored} is ignored, because `output.overrides_from` names ConfigMap "
        f"{source.key}: move it there"
    )
