"""Resolve names in separate threads, so that a DNS that hangs blocks nothing else."""

import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import anyio
import anyio.from_thread
import msgspec
from anyio.lowlevel import EventLoopToken, current_token

from toolset.adapters.probe.error import is_exhaustion
from toolset.adapters.probe.limits import LOOKUPS

LookUp = Callable[[str], Sequence[str]]


class _Lookup(msgspec.Struct):
    """One name that is being resolved."""

    done: anyio.Event
    addresses: Sequence[str] = ()
    lacks: Exception | None = None  # why this process could not resolve it


class Resolver:
    """Resolves names; concurrent callers for the same name share one answer."""

    def __init__(self, look_up: LookUp | None = None) -> None:
        self._look_up: LookUp = look_up or system_addresses
        self._running: dict[str, _Lookup] = {}
        self._threads = threading.BoundedSemaphore(LOOKUPS)
        self._free = anyio.Event()

    async def addresses(self, host: str) -> Sequence[str]:
        """Return the addresses of ``host``, best first; empty if it has none.

        Raises:
            OSError: This process lacks the resources to resolve it.
            RuntimeError: No thread can be started.
        """
        if _is_address(host):
            return (host,)
        lookup = self._running.get(host)
        while lookup is None:
            if self._threads.acquire(blocking=False):
                lookup = self._running[host] = _Lookup(anyio.Event())
                # a daemon thread outside of any task group: if it hangs, it must not delay a probe or the exit
                self._start(host, lookup)
            else:
                await self._free.wait()
                lookup = self._running.get(host)
        await lookup.done.wait()
        if lookup.lacks is not None:
            raise OSError("it cannot be looked up for lack of resources") from lookup.lacks
        return lookup.addresses

    def _start(self, host: str, lookup: _Lookup) -> None:
        arguments = (host, lookup, current_token())
        try:
            threading.Thread(target=self._work, args=arguments, name=f"dns {host}"[:64], daemon=True).start()
        except RuntimeError:  # no thread left; its slot is free
            self._finish(host, lookup)
            raise

    def _work(self, host: str, lookup: _Lookup, token: EventLoopToken) -> None:
        try:
            lookup.addresses = self._look_up(_complete(host))
        except (OSError, ValueError, MemoryError) as error:  # unknown, or not a valid name
            lookup.lacks = _lack(error)
        try:
            anyio.from_thread.run_sync(self._finish, host, lookup, token=token)
        except (anyio.RunFinishedError, RuntimeError):  # the process ends, there are no waiters
            return

    def _finish(self, host: str, lookup: _Lookup) -> None:
        self._threads.release()
        del self._running[host]
        lookup.done.set()
        self._free.set()
        self._free = anyio.Event()


def system_addresses(host: str) -> Sequence[str]:
    """Return the addresses of ``host`` as the system's resolver orders them.

    Raises:
        OSError: It has none.
        ValueError: It is not a valid name.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _complete(host: str) -> str:
    """Return ``host`` with a final dot if it is the fully qualified name of a Service.

    Without one, the system tries its search list if the name has no address: on a node whose search domain has a
    wildcard record, another host would be probed in place of a Service without ready pods.
    """
    return f"{host}." if ".svc." in host and not host.endswith(".") else host


def _lack(error: Exception) -> Exception | None:
    """Return what this process lacked when a look-up failed with ``error``; ``None`` if the name has no address.

    The system's resolver reports a missing descriptor like a name server that does not answer.
    """
    try:
        socket.socket().close()
    except OSError as lacking:
        return lacking
    return error if is_exhaustion(error) else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
