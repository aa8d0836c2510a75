"""The certificate of a server, reloaded from its files while it is in use."""

import logging
import ssl
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from toolset.errors import SettingsError

READ_S: Final = 10.0
"""Time between two checks of the files, seconds; the kubelet updates a renewed Secret within about a minute."""
_log: Final = logging.getLogger("toolset")


class ServerCertificate:
    """A TLS context whose certificate follows its files; if the new pair is not valid, the previous one stays in use.

    Attributes:
        context: For connections from clients, TLS 1.2 and newer.
    """

    def __init__(self, certificate: str, key: str) -> None:
        """Read the files.

        Args:
            certificate: The file of the chain in PEM, its leaf first.
            key: The file of its private key in PEM, not encrypted.

        Raises:
            SettingsError: They cannot be read or used.
        """
        self._certificate, self._key = Path(certificate), Path(key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            self._content = self._read()
            self._load()
        except OSError as error:  # of which ssl.SSLError is one
            raise SettingsError(
                f"the certificate {certificate} and the key {key} cannot be used: {_why(error)}; mount a Secret of "
                "type kubernetes.io/tls"
            ) from error

    async def run(self) -> None:
        """Follow the files until cancelled."""
        while True:
            await anyio.sleep(READ_S)
            await self.look()

    async def look(self) -> None:
        """Check the files once."""
        try:
            found = await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            if found == self._content:
                return
            self._load()
        except OSError as error:
            _log.warning("server certificate not renewed: the former one stays", extra={"error": _why(error)})
            return
        self._content = found
        _log.info("server certificate renewed")

    def _read(self) -> tuple[bytes, bytes]:
        return self._certificate.read_bytes(), self._key.read_bytes()

    def _load(self) -> None:
        probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # a mismatched pair would leave the context without one
        for context in (probe, self.context):
            context.load_cert_chain(self._certificate, self._key, password=lambda: b"")


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not valid").replace("_", " ").lower()
    return error.strerror or type(error).__name__
