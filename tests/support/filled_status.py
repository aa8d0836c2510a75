"""A snapshot without an empty field, in which every value is another one."""

import types
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from support.status_source import NOW
from toolset.core.status.snapshot import StatusSnapshot
from toolset.core.status.texts import clock


class Filled:
    """Makes a value of a type in which every text, number and time is another one."""

    def __init__(self) -> None:
        self.number = 1000
        self.texts: list[str] = []

    def make(self, kind: Any) -> Any:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Annotated:
            return self.make(arguments[0])
        if origin in {Union, types.UnionType}:
            return self.make(next(each for each in arguments if each is not type(None)))
        if origin is Literal:
            return arguments[0]
        if origin is tuple:
            return (self.make(arguments[0]),)
        if origin in {Mapping, dict}:
            return {self.make(arguments[0]): self.make(arguments[1])}
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return kind(**{each.name: self.make(each.type) for each in msgspec.structs.fields(kind)})
        return self._leaf(kind)

    def _leaf(self, kind: Any) -> Any:
        self.number += 1
        if kind is bool:
            return True
        made: dict[Any, Any] = {
            str: f"text-{self.number}",
            int: self.number,
            float: self.number + 0.5,
            datetime: NOW + timedelta(seconds=self.number),
        }
        value = made[kind]
        self.texts.append(clock(value) if kind is datetime else str(value))
        return value


def filled() -> tuple[StatusSnapshot, list[str]]:
    """Return a snapshot without an empty field, and every value in it as it is shown."""
    maker = Filled()
    made: StatusSnapshot = maker.make(StatusSnapshot)
    (service,) = made.services
    other = maker.make(type(service))
    services = (service, msgspec.structs.replace(other, published=False))
    overrides = msgspec.structs.replace(made.summary.overrides, valid=False)
    summary = msgspec.structs.replace(made.summary, overrides=overrides)
    return msgspec.structs.replace(made, summary=summary, services=services), maker.texts
