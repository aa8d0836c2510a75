"""What the API server demands of objects, as far as the service, the demo and kubectl come near it."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from toolset.sim.statuses import Cause, Object

DATA_LIMIT_BYTES: Final = 1_048_576
_INVALID: Final = "FieldValueInvalid"
_REQUIRED: Final = "FieldValueRequired"
_LABEL: Final = (
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?",
    (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{}')"
    ),
)
_SUBDOMAIN: Final = (
    r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*",
    (
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{}')"
    ),
)
_DATA_KEY: Final = (
    r"[-._a-zA-Z0-9]+",
    (
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
        "'KEY_NAME',  or 'key-name', regex used for validation is '{}')"
    ),
)
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_EVENT_REQUIRES: Final = ("reportingController", "reportingInstance", "action", "reason")
_EVENT_KEEPS: Final = {"note": "message", "reason": "reason", "type": "type", "action": "action"}


def nothing(_: Object, __: Object | None) -> Iterable[Cause]:
    """Return that nothing is wrong."""
    return ()


def namespace(content: Object, _: Object | None) -> Iterator[Cause]:
    """Yield what is wrong with a Namespace."""
    name = content["metadata"]["name"]
    if "." in name:
        yield "metadata.name", _INVALID, f'Invalid value: "{name}": must not contain dots'
    else:
        yield from _like("metadata.name", name, _LABEL)


def config_map(content: Object, _: Object | None) -> Iterator[Cause]:
    """Yield what is wrong with a ConfigMap."""
    yield from _like("metadata.name", content["metadata"]["name"], _SUBDOMAIN)
    data: dict[str, str] = content.get("data", {})
    for key in data:
        yield from _like(f"data[{key}]", key, _DATA_KEY)
    if sum(len(text.encode()) for text in data.values()) > DATA_LIMIT_BYTES:
        yield "[]", "FieldValueTooLong", f"Too long: may not be more than {DATA_LIMIT_BYTES} bytes"


def service(content: Object, old: Object | None) -> Iterator[Cause]:
    """Yield what is wrong with a Service."""
    spec, ports = content["spec"], content["spec"].get("ports", [])
    yield from _like("metadata.name", content["metadata"]["name"], _LABEL)
    if spec["type"] not in _TYPES:
        told = ", ".join(f'"{each}"' for each in _TYPES)
        yield "spec.type", "FieldValueNotSupported", f'Unsupported value: "{spec["type"]}": supported values: {told}'
    elif spec["type"] == "ExternalName" and "externalName" not in spec:
        yield "spec.externalName", _REQUIRED, "Required value"
    elif not ports and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        yield "spec.ports", _REQUIRED, "Required value"
    for place, port in enumerate(ports):
        yield from _port(f"spec.ports[{place}]", port, [each.get("name") for each in ports[:place]], len(ports))
    address, before = spec.get("clusterIP", ""), (old or {}).get("spec", {}).get("clusterIP", "")
    if before and address and address != before:
        yield "spec.clusterIPs[0]", _INVALID, f'Invalid value: ["{address}"]: may not change once set'


def _port(at: str, port: Object, taken: list[str | None], count: int) -> Iterator[Cause]:
    if "name" in port:
        yield from _like(f"{at}.name", port["name"], _LABEL)
        if port["name"] in taken:
            yield f"{at}.name", "FieldValueDuplicate", f'Duplicate value: "{port["name"]}"'
    elif count > 1:
        yield f"{at}.name", _REQUIRED, "Required value"
    for field in ("port", "targetPort"):
        number = port.get(field, 0)
        if isinstance(number, int) and not 1 <= number <= 65535:
            yield f"{at}.{field}", _INVALID, f"Invalid value: {number}: must be between 1 and 65535, inclusive"


def lease(content: Object, _: Object | None) -> Iterator[Cause]:
    """Yield what is wrong with a Lease."""
    spec = content["spec"]
    yield from _like("metadata.name", content["metadata"]["name"], _SUBDOMAIN)
    for field, least, told in (
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ):
        if spec.get(field, least) < least:
            yield f"spec.{field}", _INVALID, f"Invalid value: {spec[field]}: {told}"


def event(content: Object, old: Object | None) -> Iterable[Cause]:
    """Return what is wrong with an Event; the server stops at the first kind of mistake."""
    name, series = content["metadata"]["name"], content.get("series", {"count": 2})
    if old is not None and (changed := [each for each in _EVENT_KEEPS if content.get(each) != old.get(each)]):
        return [
            (_EVENT_KEEPS[each], _INVALID, f'Invalid value: "{content.get(each, "")}": field is immutable')
            for each in changed
        ]
    if missing := [each for each in ("eventTime", *_EVENT_REQUIRES) if each not in content]:
        return [(each, _REQUIRED, "Required value") for each in missing]
    if content.get("type") not in {"Normal", "Warning"}:
        return [("type", _INVALID, f'Invalid value: "": has invalid value: {content.get("type", "")}')]
    if len(content.get("note", "").encode()) > 1024:
        return [("message", _INVALID, 'Invalid value: "": can have at most 1024 characters')]
    if series.get("count", 0) < 2:
        return [("series.count", _INVALID, 'Invalid value: "": should be at least 2')]
    return _like("metadata.name", name, _SUBDOMAIN)


def _like(field: str, value: str, rule: tuple[str, str]) -> Iterator[Cause]:
    pattern, told = rule
    if not re.fullmatch(pattern, value):
        yield field, _INVALID, f'Invalid value: "{value}": {told.replace("{}", pattern)}'
