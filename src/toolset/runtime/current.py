"""A value that changes while others read it."""

from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Current(Generic[T]):
    """One cell: the value in force, and a way to wait for the next one.

    Readers compare values after :meth:`changed`: several changes may have happened since. Use it from one event
    loop only.
    """

    def __init__(self, value: T) -> None:
        self._value = value
        self._changed = anyio.Event()

    @property
    def value(self) -> T:
        """The value in force."""
        return self._value

    def set(self, value: T) -> None:
        """Put ``value`` in force."""
        self._value = value
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def changed(self) -> None:
        """Return once another value is put in force."""
        await self._changed.wait()
