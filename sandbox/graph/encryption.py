"""Encryption of the events in notifications: whoever carries them cannot read them.

Microsoft Graph docs, "Set up change notifications that include resource data": a new AES key of 256 bits for every
item; the data under AES in CBC mode with PKCS #7 padding, its first 16 bytes being the initialisation vector; a
signature of the encrypted data by HMAC-SHA256 under the same key; the key itself under the RSA key of the subscriber's
certificate with OAEP and SHA-1. Certificates hold an RSA key of 2,048 to 4,096 bits and may be self-signed.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.padding import PKCS7

KEY_BYTES, VECTOR_BYTES = 32, 16
SMALLEST_KEY, LARGEST_KEY = 2048, 4096


@dataclass(frozen=True, slots=True)
class Recipient:
    """A subscriber's certificate, as it was given and with the name that the subscriber has for it."""

    text: str
    id: str
    thumbprint: str
    public_key: RSAPublicKey

    @classmethod
    def of(cls, text: str, name: str) -> Recipient:
        """Read the base 64 of an X.509 certificate. Raises `ValueError` for anything else."""
        der = b64decode("".join(text.split()), validate=True)
        key = x509.load_der_x509_certificate(der).public_key()
        if not isinstance(key, RSAPublicKey) or not SMALLEST_KEY <= key.key_size <= LARGEST_KEY:
            raise ValueError(f"the key must be an RSA one of {SMALLEST_KEY} to {LARGEST_KEY} bits")
        return cls(text, name, hashlib.sha1(der, usedforsecurity=False).hexdigest().upper(), key)

    def seal(self, content: bytes, key: bytes) -> dict[str, str]:
        """The `encryptedContent` of `content` under the fresh `key`."""
        padder = PKCS7(AES256.block_size).padder()
        encryptor = Cipher(AES256(key), CBC(key[:VECTOR_BYTES])).encryptor()
        padded = padder.update(content) + padder.finalize()
        data = encryptor.update(padded) + encryptor.finalize()
        data_key = self.public_key.encrypt(key, OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None))  # noqa: S303
        return {
            "data": b64encode(data).decode(),
            "dataKey": b64encode(data_key).decode(),
            "dataSignature": b64encode(hmac.digest(key, data, "sha256")).decode(),
            "encryptionCertificateId": self.id,
            "encryptionCertificateThumbprint": self.thumbprint,
        }
