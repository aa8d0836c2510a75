"""What is written to the ConfigMap: a part of the settings."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal

import msgspec

from toolset.core.backends.catalog import TYPES
from toolset.core.backends.mapping import Types
from toolset.core.dialects.documents import Credentials, from_struct
from toolset.core.dialects.holmesgpt import base_toolsets
from toolset.core.dialects.schema import BaseToolset
from toolset.core.dialects.texts import Policy, references
from toolset.core.durations import Interval

Dialect = Literal["kubernaut", "holmesgpt", "json", "kubernaut-agent"]
DIALECTS: Final[tuple[Dialect, ...]] = ("kubernaut", "holmesgpt")
ServiceName = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}\Z", description="a Service as `namespace/name`")
]
VariableName = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z", description="the name of an environment variable")
]


class OutputOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written to the ConfigMap.

    Attributes:
        dialects: The document formats to write: ``kubernaut``, ``holmesgpt``, ``json``, ``kubernaut-agent``.
        credentials: For ``namespace/name`` of a Service, the reader's environment variables with its credentials:
            ``api_key``, ``bearer_token``, ``username``, ``password``.
        variables: Additional environment variables of the reader that ``overrides.yaml`` may refer to.
        base_toolsets: HolmesGPT toolsets that its document always contains, with ``enabled`` and ``config``.
        allow_unsafe_overrides: Whether ``overrides.yaml`` may contain keys that make HolmesGPT run commands, read files
            or connect to other tools.
        max_per_type: Maximum number of published tools per type; HolmesGPT checks them sequentially within 20 s.
        max_http_tools: Maximum number of tools of types that HolmesGPT queries over HTTP; each becomes a tool of the
            language model, which accepts 128 in total.
        limit_kib: Maximum size of all documents in the ConfigMap, KiB; tools that do not fit are omitted.
        legacy_keys: Whether keys that a predecessor left in the ConfigMap are kept or removed: ``toolset.json``, and
            all keys written by one of ``legacy_managers``.
        legacy_managers: Field managers of the predecessor, as in ``managedFields``.
        instance: Name of this installation, to detect another one on the same ConfigMap; default: its ServiceAccount,
            and none outside the cluster. A ConfigMap that names an installation is written by no other, and by none
            without a name. To change it, remove the annotation ``<prefix>/instance`` from the ConfigMap.
        overrides_from: Name of a ConfigMap in the namespace of ``target`` whose ``overrides.yaml`` is read in place of
            the one in ``target``; the service never writes it. While it was never valid there, nothing is published.
            Empty: the one in ``target`` is read.
        write_pause_cap: Maximum pause between two writes caused by one Service, or one namespace, that changes all the
            time; four times as long for writes that change no tool. Writes caused by others do not wait. Less than
            ``1s``: no pause.
    """

    dialects: Annotated[tuple[Dialect, ...], msgspec.Meta(min_length=1)] = DIALECTS
    credentials: dict[ServiceName, Credentials] = {}
    variables: tuple[VariableName, ...] = ()
    base_toolsets: Annotated[dict[str, BaseToolset], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=base_toolsets
    )
    allow_unsafe_overrides: bool = False
    max_per_type: Annotated[int, msgspec.Meta(ge=0)] = 500
    max_http_tools: Annotated[int, msgspec.Meta(ge=0)] = 80
    limit_kib: Annotated[int, msgspec.Meta(ge=4, le=900)] = 900
    legacy_keys: Literal["keep", "remove"] = "keep"
    legacy_managers: tuple[str, ...] = ()
    instance: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z0-9._:/@-]{0,128}\Z",
            description="at most 128 letters, digits and `.`, `_`, `:`, `/`, `@`, `-`",
        ),
    ] = ""
    overrides_from: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?\Z",
            description="the name of a ConfigMap: lower-case letters, digits, `-` and `.`",
        ),
    ] = ""
    write_pause_cap: Interval = Interval(30)

    @property
    def policy(self) -> Policy:
        """What overrides may contain."""
        named = [known.variables for known in self.credentials.values()]
        named += [references(from_struct(base)) for base in self.base_toolsets.values()]
        return Policy(frozenset(self.variables).union(*named), self.allow_unsafe_overrides)

    @property
    def api_keys(self) -> dict[str, str]:
        """The variable with the API key, by ``namespace/name``."""
        return {name: known.api_key for name, known in self.credentials.items() if known.api_key}

    @property
    def types(self) -> Types:
        """How each type is published; :class:`PublishOptions` adds those of the settings."""
        return TYPES

    @property
    def static_names(self) -> frozenset[str]:
        """The names of static backends; :class:`PublishOptions` adds those of the settings."""
        return frozenset()

    @property
    def limit_bytes(self) -> int:
        """The limit in bytes."""
        return self.limit_kib * 1024


class PublishOptions(OutputOptions, frozen=True, forbid_unknown_fields=True):
    """The output options, with those from other settings.

    Attributes:
        types: How each type is published.
        static_names: The names of static backends.
    """

    types: Types = TYPES  # pyright: ignore[reportIncompatibleMethodOverride]
    static_names: frozenset[str] = frozenset()  # pyright: ignore[reportIncompatibleMethodOverride]


def publish_options(
    output: OutputOptions,
    types: Types,
    credentials: Mapping[str, Credentials] = {},
    static_names: Iterable[str] = (),
) -> PublishOptions:
    """Return ``output`` with the options from other settings.

    Args:
        output: The section of the settings.
        types: How each type is published.
        credentials: Those of static backends, by name.
        static_names: The names of static backends.
    """
    options = PublishOptions(**{name: getattr(output, name) for name in output.__struct_fields__})
    return msgspec.structs.replace(
        options,
        credentials={**output.credentials, **credentials},
        types=types,
        static_names=frozenset(static_names),
    )
