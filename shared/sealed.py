"""Content that only the holder of a certificate can read.

Microsoft Graph docs, "Set up change notifications that include resource data": a key of its own for every item, itself
encrypted for the certificate by RSA with OAEP and SHA-1; the data under AES-256 in CBC mode, its initialisation vector
being the first 16 bytes of the key; a signature of the encrypted data by HMAC-SHA256 with the key, checked before
anything is decrypted.
"""

from __future__ import annotations

import hmac
from base64 import b64decode
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.padding import PKCS7

KEY_BYTES, VECTOR_BYTES = 32, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """Encrypted content as it came; all but the certificate's name in base64."""

    data: str = field(repr=False)
    key: str = field(repr=False)
    signature: str = field(repr=False)
    certificate: str


def unseal(sealed: Sealed, key: RSAPrivateKey) -> bytes:
    """The content. Raises `ValueError` for whatever was not encrypted for this key, or is not what was signed."""
    data = b64decode(sealed.data, validate=True)
    secret = key.decrypt(
        b64decode(sealed.key, validate=True),
        OAEP(mgf=MGF1(SHA1()), algorithm=SHA1(), label=None),  # noqa: S303 - Graph's choice; OAEP rests on no collision
    )
    if len(secret) != KEY_BYTES:
        raise ValueError("the key has another length")
    signature = b64decode(sealed.signature, validate=True)
    if not hmac.compare_digest(hmac.digest(secret, data, "sha256"), signature):
        raise ValueError("the signature does not fit")
    decryptor = Cipher(AES256(secret), CBC(secret[:VECTOR_BYTES])).decryptor()
    unpadder = PKCS7(AES256.block_size).unpadder()
    padded = decryptor.update(data) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()
