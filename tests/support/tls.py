"""A server's side of TLS."""

import ssl

import trustme


def server_tls(authority: trustme.CA, *, host: str = "127.0.0.1", client_certificate: bool = False) -> ssl.SSLContext:
    """Return a context with a certificate for ``host`` from ``authority``."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = authority.issue_cert(host)
    with certificate.private_key_and_cert_chain_pem.tempfile() as file:
        context.load_cert_chain(file)
    if client_certificate:
        context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context
