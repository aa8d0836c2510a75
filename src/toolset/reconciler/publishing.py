"""What the ConfigMap should hold: the documents of the tools, under the overrides that were valid last."""

from collections.abc import Sequence
from typing import Self

import msgspec

from toolset.core.candidate import Candidate
from toolset.core.overrides.overrides import Overrides
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.plan import OVERRIDES_KEY, Desired, Plan, desired, legacy_keys, owned_keys, plan
from toolset.core.publishing.publication import Publication, annotations, foreign_bytes, publish, resume
from toolset.core.publishing.writer_conflict import WriterConflict, conflict_message, installed_by, refusal
from toolset.errors import TerminalError
from toolset.model import ConfigMap, Key


class TargetOptions(msgspec.Struct, frozen=True):
    """How to publish.

    Attributes:
        prefix: The prefix of the service's annotations.
        output: The settings of the output.
        untrusted_limit: How many tools of one untrusted namespace are published; 0 means any number.
    """

    prefix: str = "kubernaut.io"
    output: OutputOptions = OutputOptions()
    untrusted_limit: int = 0


class Publisher:
    """Composes what is published, and remembers between two passes which overrides hold and who else writes."""

    def __init__(self, options: TargetOptions, overrides: Overrides) -> None:
        """Make it; ``overrides`` are those in force before."""
        self._options = options
        self._overrides = overrides
        self._writer_conflict = WriterConflict()

    @classmethod
    def resume(cls, options: TargetOptions, cached: ConfigMap | None) -> Self:
        """Make it with the overrides that were in force when ``cached`` was written."""
        return cls(options, resume(cached.annotations if cached else {}, options.prefix, options.output))

    @property
    def overrides(self) -> Overrides:
        """Those in force."""
        return self._overrides

    def compose(self, tools: Sequence[Candidate], cached: ConfigMap | None) -> Publication:
        """Return what ``tools`` come to, under the overrides in ``cached``.

        Raises:
            SettingsError: The settings themselves give a document that is not valid.
        """
        options = self._options
        entries = cached.entries if cached else {}
        binary = cached.binary_sizes if cached else {}
        owned = owned_keys(cached, options.prefix)
        publication = publish(
            tools,
            options.output,
            last=self._overrides,
            text=entries.get(OVERRIDES_KEY),
            taken=(entries.keys() | binary.keys()) - owned - self._legacy(cached),
            foreign=foreign_bytes(cached, owned),
            occupied=binary,
            untrusted_limit=options.untrusted_limit,
        )
        self._overrides = publication.overrides
        return publication

    def wanted(self, publication: Publication) -> Desired:
        """Return all that is ours on the ConfigMap."""
        options = self._options
        return desired(
            publication.data, len(publication.tools), options.prefix, annotations(publication, options.output.instance)
        )

    def plan(self, target: Key, wanted: Desired, cached: ConfigMap | None) -> Plan:
        """Decide how to make the ConfigMap ``target`` hold ``wanted``."""
        return plan(target, wanted, cached, self._options.prefix, self._legacy(cached))

    def _legacy(self, cached: ConfigMap | None) -> frozenset[str]:
        """Return the keys of an earlier system that this service takes over or removes."""
        options = self._options
        output = options.output
        return legacy_keys(cached, output.legacy_managers) if output.legacy_keys == "remove" else frozenset[str]()

    def check_writer_conflict(self, target: Key, wanted: Desired, cached: ConfigMap | None) -> None:
        """Make sure that nobody else keeps the ConfigMap ``target``.

        Raises:
            TerminalError: Another instance of this service does; nothing must be written.
        """
        options = self._options
        if other := installed_by(cached, options.prefix, options.output.instance):
            raise TerminalError(refusal(target, options.prefix, options.output.instance, other))
        self._writer_conflict = self._writer_conflict.observe(cached, wanted, options.prefix)
        if self._writer_conflict.is_persistent:
            self._writer_conflict = WriterConflict()
            raise TerminalError(conflict_message(target))

    def wrote(self, wanted: Desired) -> None:
        """Take note of an own write."""
        self._writer_conflict = self._writer_conflict.after_write(wanted, self._options.prefix)
