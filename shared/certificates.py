"""Certificates with their keys, as Key Vault gives them out."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs12

from shared.errors import CredentialError
from shared.secrets import Secret

type PrivateKey = RSAPrivateKey
"""The secret half."""


def is_certificate(secret: Secret) -> bool:
    """Whether a secret is one, in either form."""
    return secret.content_type == "application/x-pkcs12" or "-----BEGIN" in secret.value


def key_pair(name: str, secret: Secret) -> tuple[PrivateKey, x509.Certificate]:
    """Private key and certificate; reading them is slow. Raises `CredentialError` unless the key is an RSA one."""
    try:
        key, certificate = _read(secret)
    except ValueError as error:
        raise CredentialError(f"the certificate '{name}' cannot be read") from error
    if not isinstance(key, RSAPrivateKey) or certificate is None:
        raise CredentialError(f"'{name}' is no certificate with an RSA key, as Microsoft's services take them")
    return key, certificate


def in_base64(certificate: x509.Certificate) -> str:
    """The public part, as JSON carries it."""
    return b64encode(certificate.public_bytes(Encoding.DER)).decode()


def _read(secret: Secret) -> tuple[Any, x509.Certificate | None]:
    if secret.content_type == "application/x-pkcs12":
        key, certificate, _ = pkcs12.load_key_and_certificates(b64decode(secret.value), None)
        return key, certificate
    pem = secret.value.encode()
    private = load_pem_private_key(pem, None)
    # Those of the issuers may stand beside it.
    own = (one for one in x509.load_pem_x509_certificates(pem) if one.public_key() == private.public_key())
    return private, next(own, None)
