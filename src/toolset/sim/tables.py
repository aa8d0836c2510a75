"""Tables, which kubectl asks for instead of objects: the columns of each kind, and one row for each object."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from toolset.sim.kinds import CONFIG_MAP, EVENT, LEASE, NAMESPACE, SERVICE, Kind
from toolset.sim.statuses import Object

TABLE: Final = "as=Table"
"""What is in the Accept header of a request for tables."""
_OF_LISTS: Final = {"resourceVersion", "continue", "remainingItemCount"}
_NONE: Final = "<none>"
_UNKNOWN: Final = "<unknown>"


class Column(msgspec.Struct, frozen=True):
    """A column: its head, and the cell of an object at a time; one that is not ``wide`` is always shown."""

    name: str
    cell: Callable[[Object, datetime], object]
    wide: bool = False

    @property
    def definition(self) -> Object:
        """The definition that kubectl reads."""
        kind = "integer" if self.name in {"Data", "Count"} else "string"
        form = "name" if self.name == "Name" else ""
        return {"name": self.name, "type": kind, "format": form, "description": "", "priority": int(self.wide)}


def as_table(kind: Kind, content: Object, now: datetime) -> Object:
    """Return the table of a list, or of one object; anything else, such as a refusal, as it is.

    Args:
        kind: Of the objects.
        content: The answer to a request.
        now: For ages.
    """
    if content["kind"] not in {kind.name, f"{kind.name}List"}:
        return content
    columns, objects = _COLUMNS[kind], content.get("items", [content])
    rows = [{"cells": [each.cell(found, now) for each in columns], "object": _partial(found)} for found in objects]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {name: each for name, each in content["metadata"].items() if name in _OF_LISTS},
        "columnDefinitions": [each.definition for each in columns],
        "rows": rows,
    }


def as_tables(kind: Kind, events: Sequence[Object], now: datetime) -> list[Object]:
    """Return the events of a watch with tables instead of objects; each defines the columns, which is allowed."""
    return [{**event, "object": as_table(kind, event["object"], now)} for event in events]


def duration(seconds: float) -> str:
    """Return a duration as kubectl prints ages: the two largest units of a short one, the largest of a long one."""
    left = max(0, int(seconds))
    minutes, hours, days = left // 60, left // 3600, left // 86400
    if left < 120:
        return f"{left}s"
    if minutes < 10:
        return _pair(minutes, "m", left % 60, "s")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _pair(days // 365, "y", days % 365 if days < 8 * 365 else 0, "d")


def _pair(large: int, unit: str, small: int, of_small: str) -> str:
    return f"{large}{unit}{small}{of_small}" if small else f"{large}{unit}"


def _partial(content: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": content["metadata"]}


def _since(text: str | None, now: datetime) -> str:
    return duration((now - datetime.fromisoformat(text)).total_seconds()) if text else _UNKNOWN


def _age(content: Object, now: datetime) -> str:
    return _since(content["metadata"].get("creationTimestamp"), now)


def _name(content: Object, _: datetime) -> str:
    return str(content["metadata"]["name"])


def _entries(content: Object, _: datetime) -> int:
    return len(content.get("data", {})) + len(content.get("binaryData", {}))


def _phase(content: Object, _: datetime) -> str:
    return str(content["status"]["phase"])


def _holder(content: Object, _: datetime) -> str:
    return str(content["spec"].get("holderIdentity", ""))


def _type(content: Object, _: datetime) -> str:
    return str(content["spec"]["type"])


def _cluster_ip(content: Object, _: datetime) -> str:
    return str(content["spec"].get("clusterIP", _NONE))


def _external_ip(content: Object, _: datetime) -> str:
    spec: Object = content["spec"]
    addresses: list[str] = spec.get("externalIPs", [])
    if spec["type"] == "ExternalName":
        return str(spec.get("externalName", _NONE))
    return ",".join(addresses) or ("<pending>" if spec["type"] == "LoadBalancer" else _NONE)


def _ports(content: Object, _: datetime) -> str:
    ports: list[Object] = content["spec"].get("ports", [])
    shown = (f"{each['port']}{':' + str(each['nodePort']) if 'nodePort' in each else ''}" for each in ports)
    return ",".join(f"{port}/{each['protocol']}" for port, each in zip(shown, ports, strict=True)) or _NONE


def _selector(content: Object, _: datetime) -> str:
    pairs: dict[str, str] = content["spec"].get("selector", {})
    return ",".join(f"{name}={value}" for name, value in sorted(pairs.items())) or _NONE


def _last_seen(content: Object, now: datetime) -> str:
    series: Object = content.get("series", {})
    return _since(series.get("lastObservedTime") or content.get("eventTime"), now)


def _first_seen(content: Object, now: datetime) -> str:
    return _since(content.get("eventTime"), now)


def _about(content: Object, _: datetime) -> str:
    regarding: Object = content.get("regarding", {})
    return f"{str(regarding.get('kind', '')).lower()}/{regarding.get('name', '')}"


def _count(content: Object, _: datetime) -> int:
    series: Object = content.get("series", {})
    return int(series.get("count", 1))


def _field(name: str) -> Callable[[Object, datetime], str]:
    return lambda content, _: str(content.get(name, ""))


_NAME: Final = Column("Name", _name)
_AGE: Final = Column("Age", _age)
_COLUMNS: Final[dict[Kind, tuple[Column, ...]]] = {
    NAMESPACE: (_NAME, Column("Status", _phase), _AGE),
    CONFIG_MAP: (_NAME, Column("Data", _entries), _AGE),
    LEASE: (_NAME, Column("Holder", _holder), _AGE),
    SERVICE: (
        _NAME,
        Column("Type", _type),
        Column("Cluster-IP", _cluster_ip),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        _AGE,
        Column("Selector", _selector, wide=True),
    ),
    EVENT: (
        Column("Last Seen", _last_seen),
        Column("Type", _field("type")),
        Column("Reason", _field("reason")),
        Column("Object", _about),
        Column("Message", _field("note")),
        Column("First Seen", _first_seen, wide=True),
        Column("Count", _count, wide=True),
        Column("Name", _name, wide=True),
    ),
}
