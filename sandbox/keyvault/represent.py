"""Secrets as JSON (Azure Key Vault REST API, "SecretBundle", "SecretItem", "DeletedSecretBundle")."""

from __future__ import annotations

from typing import Any

from sandbox.http import Json
from sandbox.keyvault.state import RETENTION, Secret, Version


def bundle(base: str, secret: Secret, version: Version) -> dict[str, Json]:
    """One version with its value."""
    return {"value": version.value, **_described(version), "id": f"{base}/secrets/{secret.name}/{version.id}"}


def properties(base: str, secret: Secret, version: Version) -> dict[str, Json]:
    """One version without its value, as lists and updates show it."""
    return {**_described(version), "id": f"{base}/secrets/{secret.name}/{version.id}"}


def item(base: str, secret: Secret) -> dict[str, Json]:
    """A secret in the list of all: described by its latest version, but under the address without one."""
    return {**_described(secret.latest), "id": f"{base}/secrets/{secret.name}"}


def deleted(base: str, secret: Secret, *, of: dict[str, Json]) -> dict[str, Json]:
    """`of`, a description of a deleted secret, with what its deletion adds."""
    if secret.deleted is None:
        raise ValueError(f"{secret.name} is not deleted")
    return {
        "recoveryId": f"{base}/deletedsecrets/{secret.name}",
        "deletedDate": int(secret.deleted.timestamp()),
        "scheduledPurgeDate": int((secret.deleted + RETENTION).timestamp()),
        **of,
    }


def _described(version: Version) -> dict[str, Any]:
    attributes = {
        "enabled": version.enabled,
        "nbf": version.not_before,
        "exp": version.expires,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RETENTION.days,
    }
    described = {
        "contentType": version.content_type,
        "managed": True if version.kid else None,
        "kid": version.kid,
        "attributes": {name: value for name, value in attributes.items() if value is not None},
        "tags": dict(version.tags),
    }
    return {name: value for name, value in described.items() if value is not None}
