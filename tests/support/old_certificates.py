"""Certificates as older clusters have them, which OpenSSL's strict mode refuses and Go takes."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey


class OldAuthority:
    """An authority without key identifiers; on request its Basic Constraints are not critical.

    Attributes:
        pem: Its certificate.
    """

    def __init__(self, *, critical: bool) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("old authority")
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self._own = self._builder(self._name, self._key).add_extension(constraints, critical=critical)
        self.pem = _pem(self._own.sign(self._key, hashes.SHA256()))

    def issue(self, address: str, *hosts: str) -> tuple[bytes, bytes]:
        """Return a certificate for ``address`` and ``hosts``, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        ip = x509.IPAddress(ipaddress.ip_address(address))
        names = x509.SubjectAlternativeName([ip, *(x509.DNSName(host) for host in hosts)])
        builder = self._builder(_name("server"), key).add_extension(names, critical=False)
        return _pem(builder.sign(self._key, hashes.SHA256())), _key_pem(key)

    def _builder(self, subject: x509.Name, key: Key) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
