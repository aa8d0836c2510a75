"""Which namespaces are trusted, and what happens with the Services of those that are not."""

from functools import cached_property
from typing import Final, Literal

import msgspec

from toolset.core.globs import Namespaces
from toolset.model import Namespace

Untrusted = Literal["admit", "pending", "refuse"]
"""What happens to a Service in an untrusted namespace whose annotation opts in: it is published, waits for an admin's
approval, or is rejected."""

TRUSTED: Final = "trusted"
UNTRUSTED: Final = "untrusted"
TRUST_LABEL: Final = "toolset-trust"
"""The label on a Namespace, below the prefix; users who may set it decide for the whole namespace."""


class Trust(msgspec.Struct, frozen=True, dict=True):
    """Which namespaces are trusted: a pure function of a namespace's name and its label.

    Attributes:
        globs: Globs of trusted namespaces.
        prefix: The label prefix.
    """

    globs: tuple[str, ...] = ("*",)
    prefix: str = "kubernaut.io"

    def includes(self, name: str, namespace: Namespace | None = None) -> bool:
        """Return whether the namespace ``name`` is trusted: its label decides, else the globs.

        Args:
            name: Its name.
            namespace: The Namespace object; ``None`` when it is not known, and the globs decide.
        """
        label = self.label(namespace)
        if label is None:
            return name in self._matching
        return label == TRUSTED if label in {TRUSTED, UNTRUSTED} else name in self._matching

    def label(self, namespace: Namespace | None) -> str | None:
        """Return the value of the label, valid or not; ``None`` when there is none."""
        return namespace.labels.get(self._label) if namespace else None

    def problem(self, namespace: Namespace) -> str:
        """Return why the label of ``namespace`` is ignored; empty when it is valid or absent."""
        label = self.label(namespace)
        if label in {None, TRUSTED, UNTRUSTED}:
            return ""
        place = f"label {self._label}={label} of namespace {namespace.key.name}"
        return f"{place} is ignored: the value must be {TRUSTED} or {UNTRUSTED}"

    @cached_property
    def _label(self) -> str:
        return f"{self.prefix}/{TRUST_LABEL}"

    @cached_property
    def _matching(self) -> Namespaces:
        return Namespaces(self.globs)
