"""What the state of a cluster demands of the ConfigMap, and what the audit log must not show.

It is worked out a second time here, from what the API server says and by other means than the service has, for the
few forms of Services that the tests make.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any, Final

import yaml

from integration.cluster import KUBERNETES_KEY, USER, Cluster

PREFIX: Final = "kubernaut.io"
KINDS: Final = ("elasticsearch", "grafana", "jaeger", "prometheus")
EXTRAS: Final[Mapping[str, Mapping[str, str]]] = {
    "elasticsearch": {"health_endpoint": "/_cluster/health"},
    "jaeger": {"query_endpoint": "/api/traces"},
}
WRITER: Final = re.compile(r"kubernaut-dynamic-toolset/\S+ \((?P<identity>[^;]+); epoch (?P<epoch>\d+)\)")
"""The User-Agent of a write."""

Event = Mapping[str, Any]


def services(cluster: Cluster, namespaces: Iterable[str]) -> list[Event]:
    """Return every Service in ``namespaces`` as the API server has it."""
    answers = [cluster.admin.get(f"/api/v1/namespaces/{name}/services").raise_for_status() for name in namespaces]
    return [each for answer in answers for each in answer.json()["items"]]


def documents(present: Iterable[Event], is_healthy: Callable[[str], bool]) -> dict[str, Any]:
    """Return the toolsets, by key, that must stand in the ConfigMap.

    Args:
        present: Services.
        is_healthy: Whether a backend answers, by the authority that is published.
    """
    tools = [(_kind(each), each) for each in present]
    usable = [(kind, each) for kind, each in tools if kind and is_healthy(_authority(each))]
    usable.sort(key=lambda tool: (tool[0], *_age(tool[1])))
    incluster = {"incluster": True, "namespaces": ["*"]}
    demanded: dict[str, Any] = {KUBERNETES_KEY: {"toolset": "kubernetes", "enabled": True, "config": incluster}}
    for kind, instances in groupby(usable, key=lambda tool: tool[0]):
        for index, service in enumerate(_in_order([each for _, each in instances])):
            name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
            key = f"{kind}.{namespace}.{name}" if index else kind
            demanded[f"{key}-toolset.yaml"] = {"toolset": kind, "enabled": True, "config": _config(kind, service)}
    return demanded


def _said(service: Event, name: str) -> str:
    return str(service["metadata"].get("annotations", {}).get(f"{PREFIX}/{name}", ""))


def _kind(service: Event) -> str:
    """Return the type of the tool that a Service is; empty when it is none."""
    switch, labels, name = _said(service, "toolset"), service["metadata"].get("labels", {}), service["metadata"]["name"]
    if switch in {"disabled", "false"}:
        return ""
    if switch:
        return _said(service, "toolset-type")
    named = {labels.get("app"), labels.get("app.kubernetes.io/name"), name}
    return next((kind for kind in KINDS if kind in named), "")


def _authority(service: Event) -> str:
    (port,) = service["spec"]["ports"]
    return f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local:{port['port']}"


def _age(service: Event) -> tuple[str, str, str]:
    metadata = service["metadata"]
    return metadata["creationTimestamp"], metadata["namespace"], metadata["name"]


def _in_order(instances: Sequence[Event]) -> list[Event]:
    """Return the instances of a type, which are given by age; a priority exchanges those of one namespace only."""
    namespaces = [service["metadata"]["namespace"] for service in instances]
    places: list[Event | None] = [None] * len(instances)
    for namespace in set(namespaces):
        own = [service for service in instances if service["metadata"]["namespace"] == namespace]
        own.sort(key=lambda service: -int(_said(service, "toolset-priority") or 0))
        for place, service in zip([n for n, name in enumerate(namespaces) if name == namespace], own, strict=True):
            places[place] = service
    return [service for service in places if service]


def _config(kind: str, service: Event) -> dict[str, str]:
    base = {"url": f"http://{_authority(service)}{_said(service, 'toolset-path')}", "timeout": "30s"}
    custom = {"health_path": _said(service, "toolset-health-path"), "type": kind}
    return base | (dict(EXTRAS.get(kind, {})) if kind in KINDS else custom)


# --- What the audit log must not show; events are those of one ConfigMap


def is_ours(event: Event) -> bool:
    """Return whether the service made a request."""
    return bool(event["user"]["username"] == USER)


def applied(event: Event) -> Mapping[str, str] | None:
    """Return the whole data that a write of the service wanted; ``None`` where it wanted only single keys."""
    body = _part(event, "requestObject")  # nothing in one that was refused before it was read
    return _part(body, "data") if is_ours(event) and "kind" in body else None


def versions(events: Iterable[Event]) -> list[Event]:
    """Return the writes that were made, of everybody, in the order in which the API server made them."""
    made = [event for event in events if _part(event, "responseObject").get("kind") == "ConfigMap"]
    return sorted(made, key=lambda event: int(event["responseObject"]["metadata"]["resourceVersion"]))


def omissions(events: Sequence[Event], urls: Collection[str]) -> list[str]:
    """Return what the service wrote without one of ``urls`` after it had written that one once.

    Args:
        events: Oldest first.
        urls: Of backends that are well from then on.
    """
    wrong: list[str] = []
    seen: set[str] = set()
    for event in events:
        data = applied(event)
        if data is not None:
            now = urls_of(data) & set(urls)
            wrong += [f"{_named(event)} omits {url}" for url in sorted(seen - now)]
            seen |= now if event["responseStatus"]["code"] < 300 else set()
    return wrong


def losses(events: Sequence[Event], urls: Collection[str]) -> list[str]:
    """Return what of ``urls`` stood in the ConfigMap before a write of the service, and not after it."""
    wrong: list[str] = []
    for before, event in _steps(events):
        if is_ours(event):
            lost = (urls_of(_part(before, "data")) - urls_of(_part(event["responseObject"], "data"))) & set(urls)
            wrong += [f"{_named(event)} loses {url}" for url in sorted(lost)]
    return wrong


def trespasses(events: Sequence[Event], keys: Collection[str]) -> list[str]:
    """Return what of ``keys`` the service named in a write, or what was not as before after it had written."""
    wrong: list[str] = []
    for before, event in _steps(events):
        if is_ours(event):
            named = set(keys) & set(_part(event["requestObject"], "data"))
            old, new = _part(before, "data"), _part(event["responseObject"], "data")
            changed = {key for key in keys if old.get(key) != new.get(key)}
            wrong += [f"{_named(event)} touches {key}" for key in sorted(named | changed)]
    return wrong


def _steps(events: Sequence[Event]) -> Iterable[tuple[Mapping[str, Any], Event]]:
    """Yield each version with what the same object was before; nothing before its first version."""
    before: dict[str, Mapping[str, Any]] = {}
    for event in versions(events):
        now = event["responseObject"]
        yield before.get(now["metadata"]["uid"], {}), event
        before[now["metadata"]["uid"]] = now


def rivals(events: Sequence[Event], *, elected: bool) -> list[str]:
    """Return the turns of writers that must not have been; a turn is what one writer wrote without another in between.

    A writer whose turn is over never writes again. With an election epochs only grow, and each has one writer.
    """
    turns: list[tuple[int, str]] = []
    for event in versions(events):
        if is_ours(event):
            match = WRITER.fullmatch(event["userAgent"])
            assert match is not None, event["userAgent"]
            turn = (int(match["epoch"]), match["identity"])
            turns += [turn] if turns[-1:] != [turn] else []
    fair = all(one[0] < other[0] for one, other in pairwise(turns)) if elected else len(set(turns)) == len(turns)
    return [] if fair else [f"{identity} in epoch {epoch}" for epoch, identity in turns]


def urls_of(data: Mapping[str, str | None]) -> set[str]:
    """Return the URLs in the data of a ConfigMap; what is no toolset, because somebody edited it, has none."""
    found: set[str] = set()
    for key, text in data.items():
        if key.endswith("-toolset.yaml") and key != KUBERNETES_KEY and text:
            found.add(str(yaml.safe_load(text)["config"]["url"]))
    return found


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] | None = whole.get(name)
    return found or {}


def _named(event: Event) -> str:
    return f"{event['verb']} {event['requestReceivedTimestamp']} ({event['responseStatus']['code']})"
