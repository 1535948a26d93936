"""Tokens of change tracking that say by themselves how far a client has come: opaque, and safe in a URL as they are."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from sandbox.graph.delta import checksum
from sandbox.http import Json

_CHECKSUM = 8


def seal(values: Mapping[str, Json]) -> str:
    """A token that holds `values`."""
    content = json.dumps(dict(values)).encode()
    return base64.urlsafe_b64encode(checksum(content) + content).decode().rstrip("=")


def unseal(token: str) -> dict[str, Json] | None:
    """What a token holds; `None` for one that nobody here gave out."""
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    sealed, content = content[:_CHECKSUM], content[_CHECKSUM:]
    if sealed != checksum(content):
        return None
    values: dict[str, Json] = json.loads(content)
    return values
