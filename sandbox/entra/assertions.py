"""Client assertions: how an application proves that it has the private key of a registered certificate.

Microsoft identity platform docs, "Application authentication certificate credentials"; the refusals are answers quoted
in public issues.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from datetime import UTC, datetime

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import Certificate

from sandbox.cloud import Cloud
from sandbox.directory import Application
from sandbox.entra import errors
from sandbox.http import Json

THUMBPRINTS = {"x5t#S256": hashes.SHA256(), "x5t": hashes.SHA1()}  # noqa: S303 - a name for a certificate, no proof


def check_assertion(cloud: Cloud, application: Application, assertion: str, audience: str) -> None:
    """Raises `HttpError` unless `application` has signed `assertion` for the token endpoint `audience`."""
    try:
        header, claims = jwt.get_unverified_header(assertion), _claims(assertion)
    except jwt.InvalidTokenError:
        raise errors.refuse(cloud, errors.ASSERTION_MALFORMED) from None
    certificate, thumbprint = _certificate(cloud, application, header)
    key = certificate.public_key()
    if header.get("alg") not in ("PS256", "RS256") or not isinstance(key, RSAPublicKey):
        raise errors.not_modelled(cloud, f"assertions signed by {header.get('alg')}")
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    found = {"thumbprint": thumbprint, "start": start, "end": end}
    if not start <= cloud.clock.now() < end:
        raise errors.refuse(cloud, errors.CERTIFICATE_EXPIRED, **found)
    try:
        # Only the signature: the claims are looked at one by one, because each has its own refusal.
        jwt.PyJWS().decode(assertion, key, algorithms=[header["alg"]])
    except jwt.InvalidTokenError:
        raise errors.refuse(cloud, errors.SIGNATURE_WRONG, **found) from None
    _check_time(cloud, claims)
    if not claims.get("iss") == claims.get("sub") == application.client_id:
        raise errors.refuse(cloud, errors.ASSERTION_OF_ANOTHER)
    if claims.get("aud") != audience:
        raise errors.refuse(cloud, errors.ASSERTION_FOR_ANOTHER)


def _claims(assertion: str) -> Json:
    claims: Json = jwt.decode(assertion, options={"verify_signature": False})
    return claims


def _certificate(cloud: Cloud, application: Application, header: Json) -> tuple[Certificate, str]:
    """The registered certificate that the header names, and its thumbprint as refusals quote it."""
    named = [(name, header[name]) for name in THUMBPRINTS if header.get(name)]
    if not named:
        raise errors.refuse(cloud, errors.ASSERTION_UNSIGNED)
    name, value = named[0]
    try:
        thumbprint = urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (ValueError, TypeError):
        raise errors.refuse(cloud, errors.ASSERTION_MALFORMED) from None
    shown = thumbprint.hex().upper()
    for certificate in application.certificates:
        if certificate.fingerprint(THUMBPRINTS[name]) == thumbprint:
            return certificate, shown
    raise errors.refuse(cloud, errors.CERTIFICATE_UNKNOWN, thumbprint=shown, client_id=application.client_id)


def _check_time(cloud: Cloud, claims: Json) -> None:
    """An assertion is dated by its client's clock, which does not move when somebody advances the sandbox's."""
    now = cloud.clock.elsewhere()
    begins, ends = claims.get("nbf", 0), claims.get("exp")
    if not isinstance(begins, int | float) or not isinstance(ends, int | float):
        raise errors.refuse(cloud, errors.ASSERTION_MALFORMED)
    if not begins <= now.timestamp() < ends:
        raise errors.refuse(
            cloud, errors.ASSERTION_OUT_OF_TIME, now=_shown(now), begins=_shown(begins), ends=_shown(ends)
        )


def _shown(at: datetime | float) -> str:
    instant = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return f"{instant:%Y-%m-%dT%H:%M:%S.%f}0Z"
