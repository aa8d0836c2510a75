"""What probes of a detector's candidates need in addition to the address: trusted certificates, and credentials."""

import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

from toolset.adapters.probe.error import ProbeError
from toolset.adapters.probe.limits import HEADER_FILE_LIMIT_BYTES
from toolset.adapters.tls import client_context
from toolset.core.candidate import Candidate
from toolset.core.globs import matches_any
from toolset.core.health.http_config import HttpConfig
from toolset.core.health.thresholds import Failure

T = TypeVar("T")


class LoadedHttpConfig:
    """The TLS context and the headers of one detector; files are read again when they change."""

    def __init__(self, http_config: HttpConfig) -> None:
        self._config = http_config
        self._ca = _Watched(http_config.ca_file, lambda: _context(http_config))
        self._headers = {name: _Watched(path, _header(path)) for name, path in http_config.headers_from.items()}

    async def tls(self) -> ssl.SSLContext:
        """Return the TLS context.

        Raises:
            Fault: The bundle cannot be read, and never could.
        """
        try:
            return await self._ca.value()
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
            raise ProbeError(Failure.TLS, f"{self._config.ca_file}, the CA bundle of its detector: {reason}") from error

    async def headers(self, candidate: Candidate) -> dict[str, str]:
        """Return the headers for ``candidate``; none for another scheme or port than detection names first.

        Raises:
            ProbeError: They must not be sent to its host, or one of their files cannot be read, and never could.
        """
        if not self._headers or candidate.has_moved or not matches_any(str(candidate.key), self._config.services):
            return {}
        if candidate.external:
            raise ProbeError(Failure.ADDRESS, "the headers of its detector are not sent to a host that is not its own")
        try:
            return {name: await file.value() for name, file in self._headers.items()}
        except (OSError, ValueError) as error:
            raise ProbeError(Failure.OTHER, "a header file of its detector cannot be read") from error

    def statuses(self, own: tuple[int, ...]) -> tuple[int, ...]:
        """Return the statuses that mean alive; ``own`` are those of the detector."""
        return own if self._config.statuses is None else self._config.statuses


class _Watched(Generic[T]):
    """A value loaded from a file, and loaded again when the file changes; if that fails, the last good one stays."""

    def __init__(self, path: str, make: Callable[[], T]) -> None:
        self._path = path
        self._make = make
        self._made: list[T] = []
        self._version: object = None
        self._lock = anyio.Lock()
        self._reading = threading.Lock()

    async def value(self) -> T:
        """Return it.

        Raises:
            OSError: The file cannot be read, and never could.
            ValueError: Its content is not valid, and never was.
        """
        async with self._lock:
            if self._path or not self._made:
                # in a thread: a bundle takes tens of milliseconds, and a mount may hang; then it is abandoned
                self._version, self._made = await anyio.to_thread.run_sync(
                    self._read, self._version, self._made, abandon_on_cancel=True
                )
            return self._made[0]

    def _read(self, version: object, made: list[T]) -> tuple[object, list[T]]:
        if not self._reading.acquire(blocking=False):  # an abandoned thread still has it: one is enough
            if not made:
                raise OSError("an earlier read hangs")
            return version, made
        try:
            return self._renewed(version, made)
        finally:
            self._reading.release()

    def _renewed(self, version: object, made: list[T]) -> tuple[object, list[T]]:
        found = self._look()
        if made and found == version:
            return version, made
        try:
            return found, [self._make()]
        except (OSError, ValueError):
            if not made:
                raise
            return found, made

    def _look(self) -> object:
        if not self._path:
            return None
        try:
            found = Path(self._path).stat()
        except OSError:
            return "absent"
        return found.st_mtime_ns, found.st_size, found.st_ino


def _context(http_config: HttpConfig) -> ssl.SSLContext:
    authority = Path(http_config.ca_file).read_bytes() if http_config.ca_file else None
    context = client_context(authority, verify=not http_config.insecure_skip_verify)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _header(path: str) -> Callable[[], str]:
    def read() -> str:
        with Path(path).open("rb") as file:
            text = file.read(HEADER_FILE_LIMIT_BYTES).decode("latin-1").strip()
        if not text or any(letter < " " or letter == "\x7f" for letter in text):
            raise ValueError("no value of a header")
        return text

    return read
