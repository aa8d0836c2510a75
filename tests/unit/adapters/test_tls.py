import ssl
from collections.abc import Callable

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from support.old_certificates import OldAuthority
from support.tls import tls_with
from toolset.adapters.tls import client_context, show_certificate

ADDRESS = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def serving(certificate: bytes, key: bytes, clients: bytes = b"") -> ssl.SSLContext:
    context = tls_with(certificate, key)
    if clients:
        context.load_verify_locations(cadata=clients.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def pair(authority: trustme.CA, *names: str) -> tuple[bytes, bytes]:
    issued = authority.issue_cert(*names)
    return b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """Let the two sides talk in memory until both are content.

    Raises:
        ssl.SSLError: One of them is not.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(down, up, server_hostname=ADDRESS),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(10):
        for side in [*sides]:
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert sides == []


def test_an_authority_is_trusted_and_another_is_not(authority: trustme.CA) -> None:
    server = serving(*pair(authority, ADDRESS))
    shake_hands(client_context(authority.cert_pem.bytes()), server)

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(trustme.CA().cert_pem.bytes()), server)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(client_context(), server)
    shake_hands(client_context(verify=False), server)


def test_the_name_in_the_certificate_has_to_be_right(authority: trustme.CA) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="127"):
        shake_hands(client_context(authority.cert_pem.bytes()), serving(*pair(authority, "example.org")))


@pytest.mark.parametrize("critical", [True, False], ids=["no key identifier", "constraints that are not critical"])
def test_certificates_of_older_clusters_are_taken_as_go_takes_them(*, critical: bool) -> None:
    old = OldAuthority(critical=critical)

    shake_hands(client_context(old.pem), serving(*old.issue(ADDRESS)))


def test_any_certificate_of_a_bundle_is_an_anchor_as_in_go(authority: trustme.CA) -> None:
    middle = authority.create_child_ca()

    shake_hands(client_context(middle.cert_pem.bytes()), serving(*pair(middle, ADDRESS)))


RUBBISH = b"-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n"
PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n"
BUNDLES: dict[str, Callable[[bytes], bytes]] = {
    "a comment that is not ASCII": lambda pem: "# Größe\n".encode() + pem,
    "bytes that are no text": lambda pem: b"\xff\xfe\n" + pem,
    "a last block cut short": lambda pem: pem + pem[: len(pem) // 2],
    "a first block cut short": lambda pem: pem[: len(pem) // 2] + b"\n" + pem,
    "a block that is no certificate": lambda pem: RUBBISH + pem,
    "a block of another type": lambda pem: PARAMETERS + pem,
    "CRLF": lambda pem: pem.replace(b"\n", b"\r\n"),
    "the same twice": lambda pem: pem + pem,
    "no line between two": lambda pem: pem.rstrip() + b" " + pem.rstrip(),
}


@pytest.mark.parametrize("bundle", BUNDLES.values(), ids=BUNDLES)
def test_one_bad_part_of_a_bundle_does_not_void_the_others(
    authority: trustme.CA, bundle: Callable[[bytes], bytes]
) -> None:
    shake_hands(client_context(bundle(authority.cert_pem.bytes())), serving(*pair(authority, ADDRESS)))


@pytest.mark.parametrize(
    ("bundle", "reason"),
    [
        (b"", "it holds no PEM block"),
        (b"hello", "it holds no PEM block"),
        (b"-----BEGIN CERTIFICATE-----\nMII", "no PEM block of a certificate is complete"),
        (b"-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----", ""),
    ],
)
def test_a_bundle_without_a_certificate_says_why(bundle: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^no certificate of an authority can be read: {reason}") as caught:
        client_context(bundle)

    assert "TUlJ" not in str(caught.value)


def test_a_client_certificate_is_shown_to_a_server_that_asks(authority: trustme.CA) -> None:
    server = serving(*pair(authority, ADDRESS), clients=authority.cert_pem.bytes())
    context = client_context(authority.cert_pem.bytes())
    show_certificate(context, *pair(authority, "me"))

    shake_hands(context, server)


def test_a_key_of_another_certificate_is_refused(authority: trustme.CA) -> None:
    (certificate, _), (_, key) = pair(authority, "me"), pair(authority, "you")

    with pytest.raises(ValueError, match="the client certificate and its key cannot be used: key values mismatch"):
        show_certificate(client_context(), certificate, key)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(authority: trustme.CA) -> None:
    certificate, key = pair(authority, "me")
    encrypted = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )

    with pytest.raises(ValueError, match="the client certificate and its key cannot be used"):
        show_certificate(client_context(), certificate, encrypted)
