"""The client side of TLS, compatible with Go's ``crypto/tls``, for the API server and for probes."""

import os
import re
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----")
"""One PEM block. Text between blocks is a comment, and a block without an end is ignored."""

_FLAGS: Final = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
"""How chains are verified: any certificate of the bundle is a trust anchor.

Not ``VERIFY_X509_STRICT``, which Python sets from 3.13 on: it rejects certificates without an Authority Key Identifier
and those whose Basic Constraints are not critical, which many clusters still have.
"""


def client_context(authority: bytes | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """Return a context for connections to servers.

    Args:
        authority: Trusted CA certificates, in PEM; ``None`` for those of the system.
        verify: Whether to verify the server's certificate.

    Raises:
        ValueError: There is no certificate in ``authority``; the message says why, and quotes nothing.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags = _FLAGS
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is None:
        context.load_default_certs()
    else:
        _trust(context, authority)
    return context


def show_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Add a client certificate to ``context``, for servers that request one.

    OpenSSL reads both from files only; those are in memory, and removed when this returns.

    Args:
        context: What to change.
        certificate: The chain in PEM, its leaf first.
        key: Its private key in PEM, not encrypted.

    Raises:
        ValueError: The two are not valid, or do not belong together; the message quotes nothing.
    """
    with _in_memory(certificate) as certificate_file, _in_memory(key) as key_file:
        try:
            context.load_cert_chain(certificate_file, key_file, password=lambda: b"")
        except ssl.SSLError as error:
            raise ValueError(f"the client certificate and its key cannot be used: {_reason(error)}") from error


def _trust(context: ssl.SSLContext, authority: bytes) -> None:
    """Trust every certificate in ``authority``; a block that is not a certificate does not invalidate the others."""
    reason = "no PEM block of a certificate is complete" if b"-----BEGIN" in authority else "it holds no PEM block"
    trusted = 0
    for block in _CERTIFICATE.findall(authority):
        try:
            context.load_verify_locations(cadata=block.decode("ascii"))
            trusted += 1
        except ssl.SSLError as error:
            reason = _reason(error)
    if not trusted:
        raise ValueError(f"no certificate of an authority can be read: {reason}")


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "not valid").replace("_", " ").lower()


@contextmanager
def _in_memory(content: bytes) -> Generator[str]:
    """Yield the path of a file outside of any directory, which needs no writable one and is not readable by others."""
    descriptor = os.memfd_create("pem")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
