"""Self-signed certificates, as an administrator makes them for an app registration."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

BEGINS, ENDS = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Good for every clock that a sandbox may have."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: RSAPrivateKey = field(repr=False)

    @property
    def pem(self) -> str:
        """Private key and certificate as PEM, in the order in which Key Vault gives them out."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (key + self.certificate.public_bytes(Encoding.PEM)).decode()

    @property
    def pfx(self) -> bytes:
        """The same as PKCS #12 without a password."""
        return pkcs12.serialize_key_and_certificates(None, self.key, self.certificate, None, NoEncryption())


def self_signed(name: str, *, begins: datetime = BEGINS, ends: datetime = ENDS) -> KeyPair:
    """A fresh certificate for the common name `name`."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    common_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(common_name)
        .issuer_name(common_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate, key)


@cache
def known_key_pair(name: str) -> KeyPair:
    """The key pair of a seeded thing, the same for the life of this process: making one takes long."""
    return self_signed(name)
