"""Every setting with its default; ``loader`` reads and checks them."""

from typing import Annotated, Final, Literal

import msgspec

from toolset.core.detection.annotations import TypeWord
from toolset.core.detection.detect import Mode
from toolset.core.detection.detector import Detector
from toolset.core.durations import Duration, Interval
from toolset.core.health.http_config import AddressRange, HeaderName, HttpConfig, ServiceGlob
from toolset.core.health.options import HealthOptions
from toolset.core.publishing.options import OutputOptions
from toolset.core.publishing.static_backends import StaticBackend
from toolset.core.trust import Untrusted

PortNumber = Annotated[int, msgspec.Meta(ge=0, le=65535)]
DnsLabel = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z", description="a name of lower-case letters, digits and `-`"
    ),
]
DnsName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z",
        description="a name of lower-case letters, digits, `-` and `.`",
    ),
]
ServiceName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\Z",
        description="a Service as `namespace/name`",
    ),
]
RESTART: Final = frozenset(
    {
        "target",
        "kube",
        "server",
        "status",
        "election",
        "discovery.annotation_prefix",
        "discovery.watch_namespaces",
        "controller.retry_base",
        "controller.retry_cap",
        "output.instance",
        "output.overrides_from",
    }
)
"""Settings and sections that are read only at startup; changes of all others take effect while the service runs."""


class _Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A section of the settings."""


class TargetSettings(_Section, frozen=True):
    """The ConfigMap to write.

    Attributes:
        namespace: Its namespace.
        name: Its name.
    """

    namespace: DnsLabel = "kubernaut-system"
    name: DnsName = "kubernaut-toolset-config"


class DiscoverySettings(_Section, frozen=True):
    """Which Services are discovered, and how.

    Attributes:
        namespaces: Globs of namespaces to include.
        exclude_namespaces: Globs of namespaces to exclude; they take precedence.
        cluster_domain: The DNS domain of the cluster.
        annotation_prefix: The prefix of all annotations that the service reads and writes.
        external_endpoints: Whether ``toolset-endpoint`` may name a host other than the Service's own.
        mode: ``annotated`` publishes only Services that opt in by annotation; ``auto`` also those that a detector
            recognises.
        trusted_namespaces: Globs of trusted namespaces; the label ``toolset-trust`` (``trusted`` or ``untrusted``) on a
            Namespace overrides them. Elsewhere only annotations are evidence, and trusted tools always come first.
        untrusted: What happens with a Service in an untrusted namespace whose annotation opts in: ``admit`` publishes
            it, ``pending`` waits for ``approve`` in ``overrides.yaml``, ``refuse`` rejects it.
        untrusted_limit: Maximum number of published tools per untrusted namespace; 0 means any number.
        untrusted_types: Custom types that annotations in an untrusted namespace may name.
        watch_namespaces: Names of namespaces to watch individually, if RBAC does not allow watching all.
        detectors: Custom detectors; they take precedence over the built-in ones, and replace one with the same product.
        disabled_detectors: Products whose built-in detector is disabled.
        enabled_detectors: Products whose built-in detector is disabled by default: ``alertmanager``, ``zipkin``.
    """

    namespaces: tuple[str, ...] = ("*",)
    exclude_namespaces: tuple[str, ...] = ()
    cluster_domain: DnsName = "cluster.local"
    annotation_prefix: DnsName = "kubernaut.io"
    external_endpoints: bool = False
    mode: Mode = "auto"
    trusted_namespaces: tuple[str, ...] = ("*",)
    untrusted: Untrusted = "admit"
    untrusted_limit: Annotated[int, msgspec.Meta(ge=0)] = 20
    untrusted_types: tuple[TypeWord, ...] = ()
    watch_namespaces: tuple[DnsLabel, ...] = ()
    detectors: tuple[Detector, ...] = ()
    disabled_detectors: tuple[str, ...] = ()
    enabled_detectors: tuple[str, ...] = ()


class HealthSettings(HealthOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How candidates are probed.

    Attributes:
        enabled: Whether candidates are probed; otherwise each counts as healthy.
        timeout: Time limit of a whole probe: DNS, connect, TLS, headers and body.
        interval: Time between two probes of a healthy tool.
        concurrency: Maximum number of concurrent probes.
        rise: Consecutive successes until a tool is up.
        fall: Consecutive failures until it is down.
        hold: How long removals are held when more than half of the tools, and at least 3, stop answering within one
            interval; every namespace counts the same, trusted ones without the others; ``0s`` holds nothing.
        via: ``direct``, or ``apiserver-proxy`` to probe from outside the cluster; that needs the right to ``get``
            ``services/proxy``.
        refused_ranges: Address ranges (CIDR) that are never dialled, in addition to loopback, link-local, metadata,
            multicast and similar addresses.
        allow_selectorless: Globs of ``namespace/name``: Services without a selector that are allowed.
        allow_external_name: Globs of ``namespace/name``: Services of type ExternalName that are allowed.
        detectors: By product (or custom type), the HTTP options of its probes: ``ca_file``, ``insecure_skip_verify``,
            ``headers_from``, ``services``, ``statuses``.
    """

    via: Literal["direct", "apiserver-proxy"] = "direct"
    refused_ranges: tuple[AddressRange, ...] = ()
    allow_selectorless: tuple[ServiceGlob, ...] = ()
    allow_external_name: tuple[ServiceGlob, ...] = ()
    detectors: dict[str, HttpConfig] = msgspec.field(default_factory=dict[str, HttpConfig])


class PublishSettings(_Section, frozen=True):
    """What has to be published.

    Attributes:
        required: Services (``namespace/name``) that have to be published. One that is not for 5 min is a problem in the
            status, a Kubernetes Event ``RequiredToolMissing`` and an alert.
    """

    required: Annotated[tuple[ServiceName, ...], msgspec.Meta(max_length=100)] = ()


class NotifySettings(_Section, frozen=True):
    """How readers are notified when the ConfigMap has changed, and once when a replica starts to work.

    Attributes:
        url: URL to POST to, for example HolmesGPT's ``/api/admin/reload/toolsets``; empty disables it.
        headers_from: Headers of that request, each with the file that holds its value; read for each request.
        deployment: ``namespace/name`` of a Deployment to restart by an annotation; empty disables it. RBAC must allow
            patching it.
        delay: Time after a write, for the kubelet to update the mounted ConfigMap.
        min_interval: Minimum time between two restarts of the Deployment.
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
    min_interval: Duration = Duration(600)


class ControllerSettings(_Section, frozen=True):
    """Periodic reconciles in addition to events, and retries.

    Attributes:
        resync: Time between two reconciles of every Service, from the store.
        reconcile_interval: Time between two reconciles of the ConfigMap, from the store.
        retry_base: Delay before the first retry of a failed list, watch or write; doubled each time.
        retry_cap: Maximum retry delay, before jitter, which at most doubles it. Liveness allows for it, so that an
            outage of the API server restarts no pod; the first attempt after the outage restores readiness.
    """

    resync: Interval = Interval(300)
    reconcile_interval: Interval = Interval(30)
    retry_base: Interval = Interval(0.8)
    retry_cap: Interval = Interval(30)


class ElectionSettings(_Section, frozen=True):
    """Leader election.

    Attributes:
        enabled: Whether replicas elect a leader; otherwise every process writes, so run only one. Also then
            nothing is written while another process holds the Lease.
        lease_name: Name of the Lease, in the namespace of the ConfigMap.
        lease_duration: How long a leadership is valid after its last renewal, and how long standbys wait for one.
        renew_deadline: How long a leader retries a renewal before it gives up the leadership.
        retry_period: Time between two renewals.
    """

    enabled: bool = True
    lease_name: DnsName = "kubernaut-dynamic-toolset"
    lease_duration: Interval = Interval(15)
    renew_deadline: Interval = Interval(10)
    retry_period: Interval = Interval(2)


class KubeSettings(_Section, frozen=True):
    """Access to the API server.

    Attributes:
        kubeconfig: A kubeconfig file; empty means KUBECONFIG, else in-cluster credentials, else ~/.kube/config.
        context: A context of that file; empty means its current context.
    """

    kubeconfig: str = ""
    context: str = ""


class ServerSettings(_Section, frozen=True):
    """The HTTP server for health and metrics.

    Attributes:
        host: Address to listen on; empty means all addresses, IPv4 and IPv6.
        port: Port to listen on; 0 means a free port.
    """

    host: str = ""
    port: PortNumber = 8080


class StatusSettings(_Section, frozen=True):
    """The HTTP server for the status: a page and a JSON API.

    It shows which Services there are. Without authentication it listens on loopback only: `kubectl port-forward`
    reaches it, and the right to do that decides who sees it.

    Attributes:
        enabled: Whether the status is served.
        listen: An address and a port, for example ``127.0.0.1:8081`` or ``[::]:8443``; port 0 means a free port. If it
            is in use, the service works without the status, and logs that.
        auth: ``none``, which requires a loopback address; ``kubernetes`` to check bearer tokens with the API server
            (TokenReview, then SubjectAccessReview of `get` on `/toolset-status` and the path), which requires TLS.
        tls_cert_file: The file of the server's certificate chain; read again when it changes. Empty for plain HTTP.
        tls_key_file: The file of its private key.
        metrics: Whether `/metrics` is served here, behind the same authentication, and not at ``server.port``.
        mcp: Whether agents may ask at `/mcp` (Model Context Protocol), behind the same authentication; needs the Python
            package `mcp`, an extra of this one.
    """

    enabled: bool = True
    listen: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(\[[0-9a-f:]{2,39}\]|[0-9.]{7,15}):[0-9]{1,5}\Z",
            description="an address and a port such as `127.0.0.1:8081`",
        ),
    ] = "127.0.0.1:8081"
    auth: Literal["none", "kubernetes"] = "none"
    tls_cert_file: str = ""
    tls_key_file: str = ""
    metrics: bool = False
    mcp: bool = False


class ShutdownSettings(_Section, frozen=True):
    """Graceful shutdown.

    Attributes:
        delay: How long the process is not ready before it stops anything, so that endpoints can propagate.
        timeout: Time limit for the shutdown, including the delay; flushing traces may take another 5 s.
    """

    delay: Duration = Duration(5)
    timeout: Duration = Duration(24)


class LogSettings(_Section, frozen=True):
    """Logging.

    Attributes:
        level: Minimum level.
        format: ``json`` or ``text``; ``auto`` means text on a terminal, else JSON.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class Settings(_Section, frozen=True):
    """The whole configuration: sections, and the list of static backends."""

    target: TargetSettings = TargetSettings()
    discovery: DiscoverySettings = DiscoverySettings()
    health: HealthSettings = HealthSettings()
    output: OutputOptions = OutputOptions()
    publish: PublishSettings = PublishSettings()
    notify: NotifySettings = NotifySettings()
    controller: ControllerSettings = ControllerSettings()
    election: ElectionSettings = ElectionSettings()
    kube: KubeSettings = KubeSettings()
    server: ServerSettings = ServerSettings()
    status: StatusSettings = StatusSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    log: LogSettings = LogSettings()
    static: tuple[StaticBackend, ...] = ()


def reloads(path: str) -> bool:
    """Return whether a change of the setting ``path`` (``health.timeout``) takes effect while the service runs."""
    return path not in RESTART and path.partition(".")[0] not in RESTART
