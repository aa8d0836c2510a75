"""The permissions that the service needs with its settings."""

from collections.abc import Iterator
from itertools import product

import msgspec

from toolset.adapters.kube.reviews import ResourceAttributes
from toolset.config.options import lease_key, target_key
from toolset.config.settings import Settings
from toolset.model import Key


class Permission(msgspec.Struct, frozen=True, order=True):
    """One required permission.

    Attributes:
        attributes: What it is.
        loss: What does not work without it.
    """

    attributes: ResourceAttributes
    loss: str

    @property
    def reads(self) -> bool:
        """Whether the service cannot start without it."""
        return self.attributes.verb in {"list", "watch"} and self.attributes.resource in {"services", "configmaps"}

    @property
    def sentence(self) -> str:
        """Its name, for example ``list services in every namespace``."""
        about = self.attributes
        named = f" {about.name}" if about.name else ""
        where = f"in namespace {about.namespace}" if about.namespace else "in every namespace"
        return f"{about.verb} {_resource(about)}{named} {where}"

    @property
    def remedy(self) -> str:
        """The rule to add, as in a Role, and where."""
        about = self.attributes
        role = f"the Role in namespace {about.namespace}" if about.namespace else "the ClusterRole"
        names = f", resourceNames: [{about.name}]" if about.name else ""
        group = about.group or '""'
        return (
            f"add to {role} the rule {{apiGroups: [{group}], resources: [{_resource(about)}]{names}, "
            f"verbs: [{about.verb}]}}"
        )


def needed(settings: Settings) -> tuple[Permission, ...]:
    """Return all permissions that the service needs with these settings."""
    return tuple(Permission(attributes, loss) for attributes, loss in _needed(settings))


def _needed(settings: Settings) -> Iterator[tuple[ResourceAttributes, str]]:
    yield from _services(settings)
    yield from _config_map(target_key(settings))
    if settings.output.overrides_from:
        yield from _overrides(Key(settings.target.namespace, settings.output.overrides_from))
    if settings.election.enabled:
        yield from _lease(lease_key(settings))
    for verb in ("create", "patch"):
        events = ResourceAttributes(verb, "events.k8s.io", "events", "", settings.target.namespace)
        yield events, "no Kubernetes Events are recorded"
    if settings.status.enabled and settings.status.auth == "kubernetes":
        loss = "nobody can read the status"
        yield ResourceAttributes("create", "authentication.k8s.io", "tokenreviews"), loss
        yield ResourceAttributes("create", "authorization.k8s.io", "subjectaccessreviews"), loss
    if settings.notify.deployment:
        space, _, name = settings.notify.deployment.partition("/")
        yield (
            ResourceAttributes("patch", "apps", "deployments", "", space, name),
            "its pods are not notified",
        )


def _services(settings: Settings) -> Iterator[tuple[ResourceAttributes, str]]:
    spaces = settings.discovery.watch_namespaces or ("",)
    for space, verb in product(spaces, ("list", "watch")):
        yield ResourceAttributes(verb, "", "services", namespace=space), "no Service is seen"
    if not settings.discovery.watch_namespaces:
        loss = "trust labels of namespaces are ignored, and a Service stays published until it is deleted itself"
        for verb in ("list", "watch"):
            yield ResourceAttributes(verb, "", "namespaces"), loss
    if settings.health.via == "apiserver-proxy":
        for space in spaces:
            yield ResourceAttributes("get", "", "services", "proxy", space), "no backend can be probed"


def _config_map(target: Key) -> Iterator[tuple[ResourceAttributes, str]]:
    losses = {
        "get": "`toolset doctor` cannot report another installation that owns the ConfigMap",
        "list": "what is published cannot be read",
        "watch": "edits by others are not noticed",
        "patch": "nothing can be published",
    }
    for verb, loss in losses.items():
        yield ResourceAttributes(verb, "", "configmaps", "", target.namespace, target.name), loss
    yield ResourceAttributes("create", "", "configmaps", "", target.namespace), "a missing ConfigMap cannot be created"


def _overrides(key: Key) -> Iterator[tuple[ResourceAttributes, str]]:
    losses = {
        "get": "`toolset doctor` cannot check the overrides",
        "list": "the overrides cannot be read, and without them nothing is published",
        "watch": "changes of the overrides are not noticed",
    }
    for verb, loss in losses.items():
        yield ResourceAttributes(verb, "", "configmaps", "", key.namespace, key.name), loss


def _lease(lease: Key) -> Iterator[tuple[ResourceAttributes, str]]:
    group = "coordination.k8s.io"
    losses = {
        "get": "no replica can lead",
        "list": "a standby takes over late",
        "watch": "a standby takes over late",
        "patch": "no replica can lead",
    }
    for verb, loss in losses.items():
        yield ResourceAttributes(verb, group, "leases", "", lease.namespace, lease.name), loss
    yield ResourceAttributes("create", group, "leases", "", lease.namespace), "the first replica cannot lead"


def _resource(about: ResourceAttributes) -> str:
    return f"{about.resource}/{about.subresource}" if about.subresource else about.resource
