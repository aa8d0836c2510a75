"""Where the admin keeps `overrides.yaml`, and which overrides count once it is gone from there.

It is a key of the ConfigMap that is written, or of one of the admin's own that ``output.overrides_from`` names and this
service only reads. A decision of the admin ends by another decision: the key is removed from the ConfigMap, or changed.
It does not end because the ConfigMap was deleted, or created again without the key: then the overrides that were valid
last stay in force. A ConfigMap of the admin's own has nothing but ``overrides.yaml`` to offer, so a missing key is no
decision there either, and where none were ever valid nothing is written.
"""

from typing import Final

import msgspec

from toolset.core.dialects.texts import Policy
from toolset.core.overrides.overrides import NO_OVERRIDES, Overrides, OverridesError, follow
from toolset.core.publishing.plan import OVERRIDES_IN_FORCE, OVERRIDES_KEPT, OVERRIDES_KEY
from toolset.model import ConfigMap, Key


class OverridesSource(msgspec.Struct, frozen=True):
    """What stands where the admin keeps the overrides.

    Attributes:
        key: The ConfigMap.
        text: Its ``overrides.yaml``; ``None`` when there is none.
        uid: Its ``metadata.uid``; empty when there is no such ConfigMap.
        is_separate: Whether it is one of the admin's own.
        ignored: The ConfigMap that is written, if ``overrides.yaml`` stands in it too and does not count.
    """

    key: Key
    text: str | None = None
    uid: str = ""
    is_separate: bool = False
    ignored: Key | None = None


class InForce(msgspec.Struct, frozen=True):
    """The overrides in force, and what has to be known to keep them.

    Attributes:
        overrides: Those that were valid last.
        uid: Of the ConfigMap in which their text stood; empty when that is not known, or it is gone.
        known: Whether any text was ever valid, be it empty.
    """

    overrides: Overrides = NO_OVERRIDES
    uid: str = ""
    known: bool = False

    def text_of(self, source: OverridesSource) -> str | None:
        """Return the text that counts, given what stands in ``source``."""
        return self.overrides.text if self.outlives(source) else source.text

    def outlives(self, source: OverridesSource) -> bool:
        """Return whether these overrides stay in force although ``source`` has none, because nobody has ended them."""
        if source.text is not None:
            return False
        return self.known if source.is_separate else bool(self.overrides.text) and source.uid != self.uid

    def follow(self, source: OverridesSource, policy: Policy) -> Overrides:
        """Return the overrides in force now that ``source`` is as it is."""
        return follow(self.overrides, self.text_of(source), policy)[0]

    def after(self, source: OverridesSource, overrides: Overrides, error: OverridesError | None) -> "InForce":
        """Return what to remember once ``overrides`` were found to be in force, in spite of ``error``."""
        if self.outlives(source):
            return self
        valid = source.text is not None and error is None
        return InForce(overrides, source.uid, known=self.known or valid)


NOTHING_IN_FORCE: Final = InForce()


def locate(target: Key, name: str, cached: ConfigMap | None, separate: ConfigMap | None) -> OverridesSource:
    """Return where the admin keeps the overrides.

    Args:
        target: The ConfigMap that is written.
        name: ``output.overrides_from``; empty for the ConfigMap that is written.
        cached: The ConfigMap that is written, as last seen.
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
    """Return what was in force when ``cached`` was written, where its annotations say so.

    They do while ``overrides.yaml`` is not valid or gone, so that a restart does not bring back what an admin hid.

    Args:
        cached: The ConfigMap that is written, as last seen.
        prefix: The prefix of our annotations.
        policy: What overrides may hold.
    """
    if cached is None:
        return NOTHING_IN_FORCE
    text = cached.annotations.get(f"{prefix}/{OVERRIDES_IN_FORCE}")
    kept = f"{prefix}/{OVERRIDES_KEPT}" in cached.annotations
    overrides, error = follow(NO_OVERRIDES, text, policy)
    return InForce(overrides, "" if kept else cached.uid, known=(kept or text is not None) and error is None)


def lost(source: OverridesSource, prefix: str, target: Key) -> str:
    """Return, for people, that the overrides in force are gone from ``source``, and how to put them back."""
    what = "has no overrides.yaml any more" if source.uid and source.is_separate else "was deleted with overrides.yaml"
    return (
        f"ConfigMap {source.key} {what}; the overrides that were valid last stay in force. Put it back there (the "
        f"annotation {prefix}/{OVERRIDES_IN_FORCE} of ConfigMap {target} has its text), or an empty one to end them"
    )


def withheld(source: OverridesSource, error: OverridesError | None) -> str:
    """Return, for people, why nothing is written before overrides were valid once."""
    why = f"its overrides.yaml is not valid: {error}" if error else "it has no overrides.yaml, or does not exist"
    return (
        f"nothing is written, because `output.overrides_from` names ConfigMap {source.key}, and {why}. Create it: "
        f"`kubectl create configmap {source.key.name} -n {source.key.namespace} --from-file=overrides.yaml`; an empty "
        "file will do"
    )


def ignored(source: OverridesSource) -> str:
    """Return, for people, that overrides stand in a place that is not read; empty when none do."""
    if source.ignored is None:
        return ""
    return (
        f"overrides.yaml in ConfigMap {source.ignored} is ignored, because `output.overrides_from` names ConfigMap "
        f"{source.key}: move it there"
    )
