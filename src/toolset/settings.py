"""Settings: read once from file, environment and flags, checked once, then passed as values.

Precedence: flag, then environment (``TOOLSET_HEALTH__TIMEOUT=5s``), then file, then default.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, cast

import msgspec
import yaml
from typing_extensions import override

from toolset.errors import SettingsError

ENVIRONMENT_PREFIX: Final = "TOOLSET_"
_NOT_SETTINGS: Final = frozenset({"TOOLSET_CONFIG", "TOOLSET_CACHE"})  # the file's own path; the build scripts' cache
_DURATION: Final = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")
_UNIT_S: Final = (3600.0, 60.0, 1.0, 0.001)

Positive = Annotated[int, msgspec.Meta(ge=1, le=1000)]
PortNumber = Annotated[int, msgspec.Meta(ge=0, le=65535)]
DnsLabel = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
DnsName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
VariableName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class Duration(float):
    """A length of time in seconds, written as ``5m``, ``30s``, ``1m30s`` or ``250ms``."""

    @classmethod
    def parse(cls, text: object) -> "Duration":
        """Return the duration that ``text`` says.

        Raises:
            ValueError: It says none.
        """
        match = _DURATION.fullmatch(text) if isinstance(text, str) and text else None
        if match is None:
            raise ValueError("Expected a duration such as `30s`, `5m` or `250ms`")
        return cls(sum(float(part) * unit for part, unit in zip(match.groups("0"), _UNIT_S, strict=True)))


class Interval(Duration):
    """A duration of more than nothing, so that what waits for it does not spin."""

    @classmethod
    @override
    def parse(cls, text: object) -> "Interval":
        """Return the interval that ``text`` says.

        Raises:
            ValueError: It says none.
        """
        length = super().parse(text)
        if length <= 0:
            raise ValueError("Expected a duration of more than `0s`")
        return cls(length)


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the settings."""


class TargetSettings(_Section, frozen=True):
    """The ConfigMap that is kept.

    Attributes:
        namespace: Its namespace.
        name: Its name.
    """

    namespace: DnsLabel = "kubernaut-system"
    name: DnsName = "kubernaut-toolset-config"


class DiscoverySettings(_Section, frozen=True):
    """Which Services are looked at, and how their names are built.

    Attributes:
        namespaces: Globs of namespaces to look at.
        exclude_namespaces: Globs of namespaces to leave out in any case.
        cluster_domain: The DNS domain of the cluster.
        annotation_prefix: The prefix of the annotations.
        external_endpoints: Whether ``toolset-endpoint`` may name another host than the Service's own.
    """

    namespaces: tuple[str, ...] = ("*",)
    exclude_namespaces: tuple[str, ...] = ()
    cluster_domain: DnsName = "cluster.local"
    annotation_prefix: DnsName = "kubernaut.io"
    external_endpoints: bool = False


class HealthSettings(_Section, frozen=True):
    """How candidates are probed.

    Attributes:
        enabled: Without probes every candidate counts as healthy.
        timeout: For one whole probe: DNS, connect, TLS, headers and body.
        interval: Between two probes of a tool that is well.
        concurrency: Probes in flight at once.
        rise: Successes in a row that make a tool up.
        fall: Failures in a row that make it down.
        connect_to: Dial ``host:port`` at another ``host:port``, as curl's option of that name; for tests.
    """

    enabled: bool = True
    timeout: Interval = Interval(5)
    interval: Interval = Interval(30)
    concurrency: Positive = 32
    rise: Positive = 1
    fall: Positive = 3
    connect_to: dict[str, str] = {}


class OutputSettings(_Section, frozen=True):
    """What is written.

    Attributes:
        grafana_api_key_env: For ``namespace/name`` of a Grafana, the reader's environment variable with its API key.
    """

    grafana_api_key_env: dict[str, VariableName] = {}


class ControllerSettings(_Section, frozen=True):
    """The safety nets beside the events.

    Attributes:
        resync: Between two passes over every Service, from the store.
        reconcile: Between two passes over the target, from the store.
        retry_base: Before a failed list or watch is tried again for the first time; doubled each time, with jitter.
        retry_cap: The longest such delay, before jitter.
    """

    resync: Interval = Interval(300)
    reconcile: Interval = Interval(30)
    retry_base: Interval = Interval(0.8)
    retry_cap: Interval = Interval(30)


class KubeSettings(_Section, frozen=True):
    """How the API server is reached.

    Attributes:
        kubeconfig: A kubeconfig file; empty means in-cluster credentials, else the usual places.
        context: A context of that file; empty means its current one.
    """

    kubeconfig: str = ""
    context: str = ""


class ServerSettings(_Section, frozen=True):
    """The HTTP server for health and metrics.

    Attributes:
        host: Address to listen on; empty means all, IPv4 and IPv6.
        port: Port to listen on; 0 lets the system choose.
    """

    host: str = ""
    port: PortNumber = 8080


class ShutdownSettings(_Section, frozen=True):
    """How the process ends.

    Attributes:
        delay: Not ready for this long before anything stops, so that endpoints can propagate.
        timeout: For everything, the delay included.
    """

    delay: Duration = Duration(5)
    timeout: Duration = Duration(30)


class LogSettings(_Section, frozen=True):
    """What is logged.

    Attributes:
        level: The least important level that is written.
        format: ``json``, or ``text`` for people; ``auto`` is text on a terminal.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class Settings(_Section, frozen=True):
    """The whole configuration."""

    target: TargetSettings = TargetSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    health: HealthSettings = HealthSettings()
    output: OutputSettings = OutputSettings()
    controller: ControllerSettings = ControllerSettings()
    kube: KubeSettings = KubeSettings()
    server: ServerSettings = ServerSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    log: LogSettings = LogSettings()


_SECTIONS: Final = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def load(
    text: str, environment: Mapping[str, str], flags: Mapping[str, object], *, source: str = "settings"
) -> Settings:
    """Return the settings of one YAML file, an environment and flags.

    Args:
        text: The file's content.
        environment: Variables; those without our prefix are passed over.
        flags: Values by dotted path, for example ``health.timeout``.
        source: The file's name, for messages.

    Raises:
        SettingsError: A key is unknown or a value is wrong; the message names the place and the remedy.
    """
    document = _merge(_parse(text, source), source)
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _NOT_SETTINGS:
            path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
            place = f"environment variable {name}"
            _put(document, path, value if _is_text(path) else _parse(value, place), place)
    for dotted, flag in flags.items():
        _put(document, dotted.split("."), flag, "command line")
    return msgspec.convert(document, Settings, dec_hook=_decode)


def _is_text(path: list[str]) -> bool:
    """Tell whether the setting at ``path`` is text; then `1` and `on` in a variable are just that."""
    section = _SECTIONS.get(path[0])
    fields = {field.name: field.type for field in msgspec.structs.fields(section)} if section else {}
    return isinstance(msgspec.inspect.type_info(fields.get(path[-1])), msgspec.inspect.StrType)


def _parse(text: str, source: str) -> object:
    try:
        return cast("object", yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:  # PyYAML lets all out
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{source}{place}: this is not valid YAML") from error


def _merge(document: object, source: str) -> dict[str, object]:
    """Return a copy of ``document`` in which every name has been checked."""
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SettingsError(f"{source}: expected a mapping of sections such as `health:`")
    content: dict[str, object] = {}
    for section, values in cast("dict[object, object]", document).items():
        _check_name(str(section), _SECTIONS, "", source)
        if isinstance(values, dict):
            for name, value in cast("dict[object, object]", values).items():
                _put(content, [str(section), str(name)], value, source)
        elif values is not None:
            _put(content, [str(section)], values, source)
    return content


def _put(document: dict[str, object], path: list[str], value: object, source: str) -> None:
    """Set one value by path.

    Raises:
        SettingsError: There is no setting of that name, or the value does not suit it.
    """
    _check_name(path[0], _SECTIONS, "", source)
    if len(path) == 1:
        raise SettingsError(f"{source}: `{path[0]}` is a section; set one of its settings")
    fields = {field.name: field.type for field in msgspec.structs.fields(_SECTIONS[path[0]])}
    _check_name(".".join(path[1:]), fields, f"{path[0]}.", source)
    try:
        msgspec.convert(value, fields[path[1]], dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{source}: `{'.'.join(path)}`: {error}") from error
    cast("dict[str, object]", document.setdefault(path[0], {}))[path[1]] = value


def _check_name(name: str, known: Mapping[str, object], parent: str, source: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    hint = f"did you mean `{parent}{near[0]}`?" if near else f"known are {', '.join(sorted(known))}"
    raise SettingsError(f"{source}: unknown setting `{parent}{name}`; {hint}")


def _decode(kind: type[object], value: object) -> object:
    if issubclass(kind, Duration):
        return kind.parse(value)
    raise NotImplementedError(kind)  # pragma: no cover - a field of a type that nobody taught to decode
