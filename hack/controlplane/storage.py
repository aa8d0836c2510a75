"""Objects as the API server stores them in etcd: protobuf in an envelope that names version and kind.

The numbers of the fields are those of generated.proto in k8s.io/api and k8s.io/apimachinery. Only what Services and
IPAddresses of seeding.py have is known here; any other field is a KeyError.
"""

from __future__ import annotations

import json
from calendar import timegm
from collections.abc import Callable
from functools import cache
from time import strptime
from typing import Any

Field = Callable[[int, Any], bytes]
"""Returns the encoded field of a number, with a value as in JSON."""


@cache  # of lengths and numbers of fields there are few
def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _data(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _data(number, value.encode())


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _pairs(number: int, value: dict[str, str]) -> bytes:
    return b"".join(_data(number, _text(1, key) + _text(2, item)) for key, item in value.items())


def _time(number: int, value: str) -> bytes:
    return _data(number, _integer(1, _seconds(value)))


@cache
def _seconds(value: str) -> int:
    return timegm(strptime(value, "%Y-%m-%dT%H:%M:%SZ"))


def _int_or_string(number: int, value: int | str) -> bytes:
    if isinstance(value, int):
        return _data(number, _integer(1, 0) + _integer(2, value))
    return _data(number, _integer(1, 1) + _text(3, value))


def _fields_v1(number: int, value: dict[str, Any]) -> bytes:
    return _data(number, _data(1, json.dumps(value, separators=(",", ":")).encode()))


def _many(field: Field) -> Field:
    return lambda number, value: b"".join(field(number, item) for item in value)


def _message(**fields: tuple[int, Field]) -> Field:
    def encode(number: int, value: dict[str, Any]) -> bytes:
        parts: list[bytes] = []
        for name, item in value.items():
            each, field = fields[name]
            parts.append(field(each, item))
        return _data(number, b"".join(parts))

    return encode


_MANAGED_FIELDS = _message(
    manager=(1, _text),
    operation=(2, _text),
    apiVersion=(3, _text),
    time=(4, _time),
    fieldsType=(6, _text),
    fieldsV1=(7, _fields_v1),
)
_METADATA = _message(
    name=(1, _text),
    namespace=(3, _text),
    uid=(5, _text),
    creationTimestamp=(8, _time),
    labels=(11, _pairs),
    annotations=(12, _pairs),
    managedFields=(17, _many(_MANAGED_FIELDS)),
)
_PORT = _message(name=(1, _text), protocol=(2, _text), port=(3, _integer), targetPort=(4, _int_or_string))
_SERVICE_SPEC = _message(
    ports=(1, _many(_PORT)),
    selector=(2, _pairs),
    clusterIP=(3, _text),
    type=(4, _text),
    sessionAffinity=(7, _text),
    ipFamilyPolicy=(17, _text),
    clusterIPs=(18, _many(_text)),
    ipFamilies=(19, _many(_text)),
    internalTrafficPolicy=(22, _text),
)
_PARENT = _message(resource=(2, _text), namespace=(3, _text), name=(4, _text))
_KINDS = {
    "Service": _message(
        metadata=(1, _METADATA), spec=(2, _SERVICE_SPEC), status=(3, _message(loadBalancer=(1, _message())))
    ),
    "IPAddress": _message(metadata=(1, _METADATA), spec=(2, _message(parentRef=(1, _PARENT)))),
}


def encoded(stored: dict[str, Any]) -> bytes:
    """Return the bytes of an object, which is given as JSON has it."""
    content = {name: value for name, value in stored.items() if name not in {"apiVersion", "kind"}}
    kind = _text(1, stored["apiVersion"]) + _text(2, stored["kind"])
    return b"k8s\0" + _data(1, kind) + _KINDS[stored["kind"]](2, content) + _text(3, "") + _text(4, "")
