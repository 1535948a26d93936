"""What a post of Graph says: which events have changed, and what happens to subscriptions.

Microsoft Graph docs, "changeNotificationCollection resource type", "Change notifications for Outlook resources in
Microsoft Graph", "Reduce missing change notifications and removed subscriptions": one post may hold items of several
subscriptions and of both kinds. Each is read by itself, so that one which cannot be read takes no other with it. The
mailbox is not read from it: that of the subscription counts, however the resource is spelled.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from shared.errors import InvalidPostError
from shared.sealed import Sealed
from shared.sync.model import Cause, EventId
from shared.sync.subscriptions import Signal

MOST_BYTES = 4 * 1024 * 1024
"""More than a hundred events with their data have."""
MOST_CHARACTERS = 512
"""The longest id or etag that is taken: those of Outlook have less than half of it."""

_CAUSES: Mapping[str, Cause] = {
    "created": Cause.EVENT_CHANGED,
    "updated": Cause.EVENT_CHANGED,
    "deleted": Cause.EVENT_DELETED,
}
_RESOURCE = re.compile(
    r"/?users(?:/[^/]+|\('[^']+'\))/events(?:/(?P<plain>[^/]+)|\('(?P<quoted>[^']+)'\))", re.IGNORECASE
)
_ID = re.compile(r"[\w=+/-]+", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One item: of which subscription, and the secret that it shows. Nothing in it is to be believed before that.

    It tells of a change (`cause`) in an `event`, whose id is empty if it could not be read, perhaps with encrypted data
    of it; or it is a `signal`.
    """

    subscription: str
    client_state: str = field(repr=False)
    cause: Cause | None = None
    event: EventId = EventId("")
    etag: str = ""
    sealed: Sealed | None = None
    signal: Signal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """The items of a post, how many of them are none, and the tokens that prove what was brought along."""

    notices: Sequence[Notice]
    unreadable: int
    tokens: Sequence[str] = field(repr=False)


def read_post(body: bytes) -> Post:
    """What a post says. Raises `InvalidPostError` for what is no post of Graph."""
    if len(body) > MOST_BYTES:
        raise InvalidPostError(413, f"The post has more than {MOST_BYTES} bytes.")
    try:
        collection = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidPostError(400, "The post is not JSON.") from error
    items = collection.get("value") if isinstance(collection, dict) else None
    if not isinstance(items, list):
        raise InvalidPostError(400, "The post is not a collection of notifications: it has no list 'value'.")
    notices = [notice for item in items if (notice := _notice(item)) is not None]
    tokens = collection.get("validationTokens")
    tokens = [token for token in tokens if isinstance(token, str)] if isinstance(tokens, list) else []
    return Post(notices=notices, unreadable=len(items) - len(notices), tokens=tokens)


def _notice(item: Any) -> Notice | None:
    if not isinstance(item, dict):
        return None
    subscription, client_state = _text(item.get("subscriptionId")).lower(), _text(item.get("clientState"))
    signal, cause = item.get("lifecycleEvent"), _CAUSES.get(_text(item.get("changeType")).lower())
    if signal in list(Signal):
        return Notice(subscription=subscription, client_state=client_state, signal=Signal(signal))
    if signal is not None or cause is None:
        return None
    data = item.get("resourceData")
    data = data if isinstance(data, dict) else {}
    return Notice(
        subscription=subscription,
        client_state=client_state,
        cause=cause,
        event=_event(data.get("id"), item.get("resource")),
        etag=_text(data.get("@odata.etag")),
        sealed=_sealed(item.get("encryptedContent")),
    )


def _sealed(content: Any) -> Sealed | None:
    if not isinstance(content, dict):
        return None
    names = ("data", "dataKey", "dataSignature", "encryptionCertificateId")
    data, key, signature, certificate = (content.get(name) for name in names)
    parts = (data, key, signature, certificate)
    if not all(isinstance(part, str) for part in parts):
        return None
    return Sealed(data=str(data), key=str(key), signature=str(signature), certificate=str(certificate))


def _event(id_: Any, resource: Any) -> EventId:
    """The event's id, from the data or else from the resource; empty if neither has one."""
    text = _text(id_)
    if not text and (found := _RESOURCE.fullmatch(_text(resource))):
        text = unquote(found["plain"] or found["quoted"])
    return EventId(text if _ID.fullmatch(text) else "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) and len(value) <= MOST_CHARACTERS and value.isprintable() else ""
