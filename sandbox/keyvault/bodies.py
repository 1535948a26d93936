"""What clients send: names, attributes, and the blobs of backups."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import asdict

from sandbox.http import Json, Request
from sandbox.keyvault.errors import bad_parameter, not_modelled
from sandbox.keyvault.state import Secret, Version

NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
LARGEST_VALUE = 25 * 1024
"""Bytes (Azure Key Vault docs, "About Azure Key Vault secrets")."""


def read_name(name: str) -> str:
    """The name in an address."""
    if not NAME.fullmatch(name):
        raise bad_parameter(f"The request URI contains an invalid name: {name}")
    return name


def read_body(request: Request, known: frozenset[str]) -> dict[str, Json]:
    """The JSON object of the body; properties beyond `known` are refused."""
    try:
        body = request.json()
    except ValueError:
        raise bad_parameter("The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise bad_parameter("The request body must be a JSON object.")
    for name in body:
        if name not in known:
            raise not_modelled(f"the property '{name}'")
    return body


def read_changes(body: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of `Version` that a body sets."""
    changes: dict[str, Json] = {}
    if body.get("contentType") is not None:
        changes["content_type"] = _typed(body["contentType"], str, "contentType")
    if body.get("tags") is not None:
        changes["tags"] = _typed(body["tags"], dict, "tags")
    attributes = _typed(body.get("attributes") or {}, dict, "attributes")
    for name, field, kind in (("enabled", "enabled", bool), ("nbf", "not_before", int), ("exp", "expires", int)):
        if attributes.get(name) is not None:
            changes[field] = _typed(attributes[name], kind, name)
    for name in attributes:
        if name not in ("enabled", "nbf", "exp"):
            raise not_modelled(f"the attribute '{name}'")
    return changes


def read_value(body: Mapping[str, Json]) -> str:
    """The value of a new version."""
    value: str = _typed(body.get("value"), str, "value")
    if len(value.encode()) > LARGEST_VALUE:
        raise bad_parameter(f"Secret value is too large: at most {LARGEST_VALUE} bytes are allowed.")
    return value


def pack(secret: Secret) -> str:
    """A backup: the real one is encrypted, and opaque like this."""
    content = {"name": secret.name, "versions": [asdict(version) for version in secret.versions]}
    return urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def unpack(text: str) -> Secret:
    """The secret in a backup."""
    try:
        content = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        return Secret(content["name"], [Version(**version) for version in content["versions"]])
    except (ValueError, KeyError, TypeError):
        raise bad_parameter("The backup blob is not valid.") from None


def _typed[T](value: Json, kind: type[T], name: str) -> T:
    if type(value) is not kind:
        raise bad_parameter(f"The property '{name}' has an invalid value.")
    found: T = value
    return found
