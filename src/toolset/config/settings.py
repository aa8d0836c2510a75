"""Every setting with its default; what reads and checks them is ``loading``."""

from typing import Annotated, Final, Literal

import msgspec

from toolset.config.durations import Duration, Interval
from toolset.core.detection.detect import Mode
from toolset.core.detection.detector import Detector
from toolset.core.dialects.documents import Credentials
from toolset.core.dialects.holmesgpt import base_toolsets
from toolset.core.dialects.schema import BaseToolset
from toolset.core.health.http_config import AddressRange, HeaderName, HttpConfig, ServiceGlob
from toolset.core.publishing.rendering import DIALECTS, Dialect

Positive = Annotated[int, msgspec.Meta(ge=1, le=1000)]
PortNumber = Annotated[int, msgspec.Meta(ge=0, le=65535)]
DnsLabel = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", description="a name of lower-case letters, digits and `-`"
    ),
]
DnsName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        description="a name of lower-case letters, digits, `-` and `.`",
    ),
]
ServiceName = Annotated[
    str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}\Z", description="a Service as `namespace/name`")
]
RESTART: Final = frozenset(
    {
        "target",
        "kube",
        "server",
        "election",
        "discovery.annotation_prefix",
        "discovery.watch_namespaces",
        "controller.retry_base",
        "controller.retry_cap",
        "output.instance",
    }
)
"""Settings, and whole sections, that are read once at the start; all others follow the file while the service runs."""

VariableName = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$", description="the name of an environment variable")
]


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
        hold: How long removals are held when more than half of the tools, and at least 3, stop answering within one
            interval; ``0s`` holds nothing.
        via: ``direct``, or ``apiserver-proxy`` to probe from outside the cluster; that needs the right to ``get``
            ``services/proxy``.
        refused_ranges: Address ranges (CIDR) that are never dialled, beside loopback, link-local, metadata, multicast
            and the like.
        allow_selectorless: Globs of ``namespace/name``: Services without a selector that are taken all the same.
        allow_external_name: Globs of ``namespace/name``: Services of type ExternalName that are taken all the same.
        detectors: By product (or custom type), how its candidates are reached: ``ca_file``, ``insecure_skip_verify``,
            ``headers_from``, ``services``, ``statuses``.
        connect_to: Dial ``host:port`` at another ``host:port``, as curl's option of that name; for tests.
    """

    enabled: bool = True
    timeout: Interval = Interval(5)
    interval: Interval = Interval(30)
    concurrency: Positive = 32
    rise: Positive = 1
    fall: Positive = 3
    hold: Duration = Duration(120)
    via: Literal["direct", "apiserver-proxy"] = "direct"
    refused_ranges: tuple[AddressRange, ...] = ()
    allow_selectorless: tuple[ServiceGlob, ...] = ()
    allow_external_name: tuple[ServiceGlob, ...] = ()
    detectors: dict[str, HttpConfig] = {}
    connect_to: dict[str, str] = {}


class OutputSettings(_Section, frozen=True):
    """What is written.

    Attributes:
        dialects: Which documents are written: ``kubernaut``, ``holmesgpt``, ``json``.
        grafana_api_key_env: For ``namespace/name`` of a Grafana, the reader's environment variable with its API key.
        credentials: For ``namespace/name`` of a Service, the reader's environment variables with its credentials:
            ``api_key``, ``bearer_token``, ``username``, ``password``.
        variables: Further environment variables of the reader that ``overrides.yaml`` may refer to.
        base_toolsets: Toolsets of HolmesGPT that are always in its document, with ``enabled`` and ``config``.
        allow_unsafe_overrides: Whether ``overrides.yaml`` may hold keys with which HolmesGPT runs commands, reads
            files or talks to other tools.
        max_per_type: How many tools of one type are published; HolmesGPT checks them one after another within 20 s.
        max_http_tools: How many tools of types that HolmesGPT reads over HTTP; each is a tool of the language model,
            which takes 128 in all.
        limit_kib: The most that our documents take in the ConfigMap, KiB; what does not fit is left out.
        legacy_keys: Whether keys that an earlier system left in the ConfigMap are kept or removed: ``toolset.json``,
            and all that one of ``legacy_managers`` wrote.
        legacy_managers: Field managers that count as an earlier system, as ``managedFields`` names them.
        instance: Names this installation, so that another one on the same ConfigMap is noticed; when empty, its
            ServiceAccount does. Before another name counts, remove the annotation ``<prefix>/instance`` from the
            ConfigMap.
    """

    dialects: Annotated[tuple[Dialect, ...], msgspec.Meta(min_length=1)] = DIALECTS
    grafana_api_key_env: dict[ServiceName, VariableName] = {}
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


class NotifySettings(_Section, frozen=True):
    """Who is told that the ConfigMap has changed, and once of what it holds when a replica begins to work.

    Attributes:
        url: What to POST to, for example HolmesGPT's ``/api/admin/reload/toolsets``; empty tells nobody.
        headers_from: By header of that request, the file that holds its value; read each time.
        deployment: ``namespace/name`` of a Deployment to roll out anew by an annotation; empty rolls none out. RBAC has
            to allow a patch of it.
        delay: After a write, so that the kubelet has brought the ConfigMap to the pods.
    """

    url: Annotated[
        str, msgspec.Meta(pattern=r"^(https?://[^\s]+)?\Z", description="a URL such as `http://holmes.holmes:80/`")
    ] = ""
    headers_from: dict[HeaderName, Annotated[str, msgspec.Meta(min_length=1)]] = {}
    deployment: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([a-z0-9-]{1,63}/[a-z0-9.-]{1,253})?\Z", description="a Deployment as `namespace/name`"
        ),
    ] = ""
    delay: Interval = Interval(90)


class ControllerSettings(_Section, frozen=True):
    """The safety nets beside the events.

    Attributes:
        resync: Between two reconciles of every Service, from the store.
        reconcile_interval: Between two reconciles of the ConfigMap, from the store.
        retry_base: Before a failed list, watch or write is tried again for the first time; doubled each time.
        retry_cap: The longest such delay, before jitter, which at most doubles it. Liveness allows for it, so that an
            outage of the API server restarts nothing; readiness comes back with the first attempt after the outage.
    """

    resync: Interval = Interval(300)
    reconcile_interval: Interval = Interval(30)
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
        timeout: For all work to end, the delay included; to send the last traces may take 5 s more.
    """

    delay: Duration = Duration(5)
    timeout: Duration = Duration(24)


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
    notify: NotifySettings = NotifySettings()
    controller: ControllerSettings = ControllerSettings()
    election: ElectionSettings = ElectionSettings()
    kube: KubeSettings = KubeSettings()
    server: ServerSettings = ServerSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    log: LogSettings = LogSettings()


def reloads(path: str) -> bool:
    """Tell whether the setting ``path``, such as ``health.timeout``, follows the file while the service runs."""
    return path not in RESTART and path.partition(".")[0] not in RESTART
