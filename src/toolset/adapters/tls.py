"""The client's side of TLS as Go's ``crypto/tls`` has it, for the API server and for probes alike."""

import os
import re
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----")
"""One block of PEM. Text between blocks is a comment, and a block without an end is none."""

_FLAGS: Final = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
"""How chains are verified: any certificate of the bundle is an anchor.

Not ``VERIFY_X509_STRICT``, which Python sets from 3.13 on: it refuses certificates without an Authority Key Identifier
and those whose Basic Constraints are not critical, as many clusters still have them.
"""


def client_context(authority: bytes | None = None, *, verify: bool = True) -> ssl.SSLContext:
    """Return a context for connections to servers.

    Args:
        authority: Whom to trust, in PEM; ``None`` for whom the system trusts.
        verify: Whether the server has to prove who it is.

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
    """Let ``context`` show a client certificate to servers that ask for one.

    OpenSSL reads both from files only; they are in memory, and gone when this returns.

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
    """Trust every certificate in ``authority``; a block that is no certificate does not void the others."""
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
    """Give the path of a file that no directory has, so that it needs no writable one and nobody else can read it."""
    descriptor = os.memfd_create("pem")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
