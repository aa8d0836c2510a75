"""A server's side of TLS."""

import ssl
import tempfile

import trustme


def tls_with(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Return a context with ``certificate``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def server_tls(authority: trustme.CA, *, host: str = "127.0.0.1", client_certificate: bool = False) -> ssl.SSLContext:
    """Return a context with a certificate for ``host`` from ``authority``."""
    certificate = authority.issue_cert(host)
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    context = tls_with(chain, certificate.private_key_pem.bytes())
    if client_certificate:
        context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context
