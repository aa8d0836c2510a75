"""What to do about a Service that is not published, by reason."""

from typing import Final

from toolset.core.candidate import Reason
from toolset.model import Key

_ANNOTATE: Final = "annotate it with {prefix}/toolset=enabled and {prefix}/toolset-type=TYPE"
_ADVICE: Final = {
    Reason.NO_MATCH.word: f"to publish it anyway, {_ANNOTATE}",
    Reason.DENIED.word: f"if the rule is wrong here, {_ANNOTATE}",
    Reason.NO_USABLE_PORT.word: "to choose a port, annotate it with {prefix}/toolset-port",
    Reason.TYPE_MISSING.word: "annotate it with {prefix}/toolset-type as well",
    Reason.NOT_OPTED_IN.word: "annotate it with {prefix}/toolset=enabled, or see the settings discovery.mode and "
    "discovery.trusted_namespaces",
    Reason.UNTRUSTED.word: "see also the settings discovery.trusted_namespaces and discovery.untrusted",
    Reason.NAMESPACE_EXCLUDED.word: "see the settings discovery.namespaces and discovery.exclude_namespaces",
    Reason.EXTERNAL_NAME.word: "make a Service with a selector in front of what it names",
    Reason.SELECTORLESS.word: "give it a selector, so that its endpoints are pods",
    Reason.NAME_TAKEN.word: "rename the Service, or what has the name",
    Reason.AUTH_REQUIRED.word: "docs/health.md shows how to give HolmesGPT credentials or a tenant for it",
    Reason.SUPPRESSED.word: "to publish it again, change overrides.yaml in ConfigMap {overrides}",
    Reason.DUPLICATE.word: "nothing is lost: both lead to the same backend",
}


def remedy(word: str, prefix: str, overrides: Key) -> str:
    """Return what to do about a Service with the reason ``word``; empty for a reason that needs nothing.

    Args:
        word: The reason, as :attr:`Reason.word` says it.
        prefix: The annotation prefix.
        overrides: The ConfigMap with `overrides.yaml`.
    """
    return _ADVICE.get(word, "").format(prefix=prefix, overrides=overrides)
