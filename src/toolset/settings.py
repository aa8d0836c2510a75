"""Every setting with its default; what reads and checks them is ``loading``."""

import re
from typing import Annotated, Final, Literal

import msgspec
from typing_extensions import override

from toolset.core.detection import Mode
from toolset.core.detector import Detector

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
        mode: ``annotated`` takes only Services whose annotation opts in; ``auto`` takes what detectors recognise too.
        trusted_namespaces: Globs of namespaces in which labels, names and ports count; elsewhere only an annotation.
        watch_namespaces: Names of namespaces to watch one by one, where RBAC does not allow to watch them all.
        detectors: Detectors of your own; they come before the built-in ones, and one that has the product of a
            built-in one replaces it.
        disabled_detectors: Products whose built-in detector is left out.
    """

    namespaces: tuple[str, ...] = ("*",)
    exclude_namespaces: tuple[str, ...] = ()
    cluster_domain: DnsName = "cluster.local"
    annotation_prefix: DnsName = "kubernaut.io"
    external_endpoints: bool = False
    mode: Mode = "auto"
    trusted_namespaces: tuple[str, ...] = ("*",)
    watch_namespaces: tuple[DnsLabel, ...] = ()
    detectors: tuple[Detector, ...] = ()
    disabled_detectors: tuple[str, ...] = ()


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
        retry_base: Before a failed list, watch or write is tried again for the first time; doubled each time.
        retry_cap: The longest such delay, before jitter.
    """

    resync: Interval = Interval(300)
    reconcile: Interval = Interval(30)
    retry_base: Interval = Interval(0.8)
    retry_cap: Interval = Interval(30)


class ElectionSettings(_Section, frozen=True):
    """How replicas agree on who works.

    Attributes:
        enabled: Without an election every replica works; then run one only.
        lease_name: The Lease, in the namespace of the ConfigMap.
        lease_duration: How long a leadership is valid after its last renewal, and how long standbys wait for one.
        renew_deadline: How long a leader tries to renew before it gives up.
        retry_period: Between two renewals.
    """

    enabled: bool = False
    lease_name: DnsName = "kubernaut-dynamic-toolset"
    lease_duration: Interval = Interval(15)
    renew_deadline: Interval = Interval(10)
    retry_period: Interval = Interval(2)


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
    election: ElectionSettings = ElectionSettings()
    kube: KubeSettings = KubeSettings()
    server: ServerSettings = ServerSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    log: LogSettings = LogSettings()
