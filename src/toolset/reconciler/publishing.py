"""The desired content of the ConfigMap: the documents of the tools, with the last valid overrides."""

from collections.abc import Mapping, Sequence
from typing import Final, Self

import msgspec
from msgspec.structs import replace

from toolset.core.candidate import Candidate
from toolset.core.health.http_config import HttpConfig
from toolset.core.publishing import overrides_source
from toolset.core.publishing.access import prepared, warned
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.overrides_source import InForce, OverridesSource
from toolset.core.publishing.plan import Desired, Plan, desired, legacy_keys, owned_keys, plan
from toolset.core.publishing.publication import Publication, annotations, foreign_bytes, publish
from toolset.core.publishing.writer_conflict import WriterConflict, conflict_message, installed_by, refusal
from toolset.errors import TerminalError
from toolset.model import ConfigMap, Key

DEFAULT_TARGET: Final = Key("kubernaut-system", "kubernaut-toolset-config")


class TargetOptions(msgspec.Struct, frozen=True):
    """The options of publishing.

    Attributes:
        prefix: The prefix of the service's annotations.
        output: The settings of the output.
        untrusted_limit: Maximum number of published tools per untrusted namespace; 0 means any number.
        target: The ConfigMap to write.
        http_configs: By product, how its candidates are reached.
    """

    prefix: str = "kubernaut.io"
    output: OutputOptions = OutputOptions()
    untrusted_limit: int = 0
    target: Key = DEFAULT_TARGET
    http_configs: Mapping[str, HttpConfig] = {}

    @property
    def separate(self) -> Key | None:
        """The ConfigMap that ``output.overrides_from`` names; ``None`` if it is empty."""
        name = self.output.overrides_from
        return Key(self.target.namespace, name) if name else None

    def source(self, cached: ConfigMap | None, separate: ConfigMap | None) -> OverridesSource:
        """Return the source of the overrides, given the target ConfigMap and the separate one."""
        return overrides_source.locate(self.target, self.output.overrides_from, cached, separate)

    def resumed(self, cached: ConfigMap | None) -> InForce:
        """Return the overrides that were in force when ``cached`` was written, as far as it records them."""
        return overrides_source.resumed(cached, self.prefix, self.output.policy)


class Publisher:
    """Composes the content, and remembers between reconciles the overrides in force and other writers."""

    def __init__(self, options: TargetOptions, in_force: InForce) -> None:
        """Create it; ``in_force`` are the overrides in force before."""
        self._options = options
        self._in_force = in_force
        self._writer_conflict = WriterConflict()

    @classmethod
    def resume(cls, options: TargetOptions, cached: ConfigMap | None) -> Self:
        """Create it with the overrides that were in force when ``cached`` was written."""
        return cls(options, options.resumed(cached))

    @property
    def in_force(self) -> InForce:
        """The overrides in force."""
        return self._in_force

    def compose(
        self, tools: Sequence[Candidate], cached: ConfigMap | None, separate: ConfigMap | None = None
    ) -> Publication:
        """Return what to publish for ``tools``, with the overrides of the admin.

        Args:
            tools: The healthy ones.
            cached: The target ConfigMap, as last seen.
            separate: The one that ``output.overrides_from`` names, as last seen.

        Raises:
            SettingsError: The settings alone produce an invalid document.
        """
        options = self._options
        source, before = options.source(cached, separate), self._in_force
        found = self._compose(tools, cached, before.text_of(source))
        self._in_force = before.after(source, found.overrides, found.error)
        is_withheld = source.is_separate and not self._in_force.known
        return replace(
            found,
            lost=overrides_source.lost(source, options.prefix, options.target) if before.outlives(source) else "",
            ignored=overrides_source.ignored(source),
            withheld=overrides_source.withheld(source, found.error) if is_withheld else "",
        )

    def _compose(self, tools: Sequence[Candidate], cached: ConfigMap | None, text: str | None) -> Publication:
        options = self._options
        entries = cached.entries if cached else {}
        binary = cached.binary_sizes if cached else {}
        owned = owned_keys(cached, options.prefix)
        publication = publish(
            prepared(tools, options.http_configs),
            options.output,
            last=self._in_force.overrides,
            text=text,
            taken=(entries.keys() | binary.keys()) - owned - self._legacy(cached),
            foreign=foreign_bytes(cached, owned),
            occupied=binary,
            untrusted_limit=options.untrusted_limit,
        )
        return warned(publication, options.http_configs)

    def wanted(self, publication: Publication) -> Desired:
        """Return the desired content of the ConfigMap."""
        options = self._options
        return desired(
            publication.data, len(publication.tools), options.prefix, annotations(publication, options.output.instance)
        )

    def plan(self, target: Key, wanted: Desired, cached: ConfigMap | None) -> Plan:
        """Compute the change that makes the ConfigMap ``target`` contain ``wanted``."""
        return plan(target, wanted, cached, self._options.prefix, self._legacy(cached))

    def _legacy(self, cached: ConfigMap | None) -> frozenset[str]:
        """Return the keys of a predecessor that this service takes over or removes."""
        options = self._options
        output = options.output
        return legacy_keys(cached, output.legacy_managers) if output.legacy_keys == "remove" else frozenset[str]()

    def check_writer_conflict(self, target: Key, wanted: Desired, cached: ConfigMap | None) -> None:
        """Make sure that no other instance owns the ConfigMap ``target``.

        Raises:
            TerminalError: Another instance of this service owns it; nothing must be written.
        """
        options = self._options
        if other := installed_by(cached, options.prefix, options.output.instance):
            raise TerminalError(refusal(target, options.prefix, options.output.instance, other))
        self._writer_conflict = self._writer_conflict.observe(cached, wanted, options.prefix)
        if self._writer_conflict.is_persistent:
            self._writer_conflict = WriterConflict()
            raise TerminalError(conflict_message(target))

    def wrote(self, wanted: Desired) -> None:
        """Record a write of this process."""
        self._writer_conflict = self._writer_conflict.after_write(wanted, self._options.prefix)
