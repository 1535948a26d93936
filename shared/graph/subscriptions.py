"""Subscriptions over Graph. Implements `shared.sync.subscribe.SubscriptionSide`.

Microsoft Graph docs, "Create subscription", "Update subscription", "Change notifications for Outlook resources in
Microsoft Graph": the one resource for calendars is `users/{id}/events`, all calendars of the mailbox together; ids are
immutable ones if the request that creates the subscription prefers them; data come along for properties that are named.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from shared.errors import BookingSyncError, DuplicateError, GoneError, UnavailableError
from shared.graph.wire import TOLD
from shared.http import Caller, HttpResponse
from shared.sync.model import MailboxId
from shared.sync.subscribe import Granted
from shared.sync.subscriptions import Certificate, Terms

NOTIFICATIONS, LIFECYCLE = "/api/graph/notifications", "/api/graph/lifecycle"
"""Where the app listens, below its own address."""
ROOT = "/v1.0/subscriptions"
PREFER = {"Prefer": 'IdType="ImmutableId"'}
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class GraphSubscriptions:
    """The app's subscriptions in a tenant."""

    def __init__(self, caller: Caller) -> None:
        """Call by another `caller` than the calendars do.

        Graph tries the app's URLs before it answers, and whatever shared an envelope with that would wait for it.
        """
        self._caller = caller

    async def create(self, mailbox: MailboxId, terms: Terms, client_state: str, until: datetime) -> Granted:
        """Subscribe to all events of the mailbox. Raises `DuplicateError`, `GoneError`, `OutcomeUnknownError`."""
        body = {
            "changeType": "created,updated,deleted",
            "resource": f"users/{mailbox}/events" + (f"?$select={TOLD}" if terms.certificate else ""),
            "notificationUrl": terms.url + NOTIFICATIONS,
            "lifecycleNotificationUrl": terms.url + LIFECYCLE,
            "expirationDateTime": _text(until),
            "clientState": client_state,
            **({"includeResourceData": True} if terms.certificate else {}),
            **_encrypted_for(terms.certificate),
        }
        return await self._call("POST", mailbox, "", body)

    async def get(self, mailbox: MailboxId, id_: str) -> Granted:
        """The subscription. Raises `GoneError`."""
        return await self._call("GET", mailbox, id_)

    async def renew(self, mailbox: MailboxId, id_: str, until: datetime, certificate: Certificate | None) -> Granted:
        """Let it go on until then. Raises `GoneError`."""
        body = {"expirationDateTime": _text(until), **_encrypted_for(certificate)}
        return await self._call("PATCH", mailbox, id_, body)

    async def delete(self, mailbox: MailboxId, id_: str) -> None:
        """End it; one that is gone counts as ended."""
        try:
            await self._send("DELETE", mailbox, id_)
        except GoneError:
            return

    async def _call(self, method: str, mailbox: MailboxId, id_: str, body: dict[str, Any] | None = None) -> Granted:
        answer = (await self._send(method, mailbox, id_, body)).json()
        try:
            url = str(answer.get("notificationUrl") or "")
            lifecycle = str(answer.get("lifecycleNotificationUrl") or "")
            base = url.removesuffix(NOTIFICATIONS)
            return Granted(
                id=str(answer["id"]).lower(),
                expires=datetime.fromisoformat(answer["expirationDateTime"]).astimezone(UTC),
                client_state=str(answer.get("clientState") or ""),
                # One that tells anybody else of its own end is none of those that are made here.
                url=base if lifecycle == base + LIFECYCLE else "",
                is_rich=bool(answer.get("includeResourceData")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UnavailableError("Graph answered without a subscription") from error

    async def _send(
        self, method: str, mailbox: MailboxId, id_: str, body: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One call. All but the create may be repeated: they lead to the same whenever they come."""
        return await self._caller.call(
            method,
            f"{ROOT}/{quote(id_, safe='')}" if id_ else ROOT,
            headers=PREFER,
            body=body,
            repeatable=bool(id_),
            refine=_subscription_error,
            lane=mailbox,
        )


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _encrypted_for(certificate: Certificate | None) -> dict[str, Any]:
    if certificate is None:
        return {}
    return {"encryptionCertificate": certificate.text, "encryptionCertificateId": certificate.id}


def _subscription_error(response: HttpResponse, said: str) -> BookingSyncError | None:
    """A conflict names the subscription that exists, in its message and nowhere else."""
    if response.status != HTTPStatus.CONFLICT:
        return None
    body = response.json()
    error = body.get("error") if isinstance(body, dict) else None
    found = _GUID.search(str(error.get("message"))) if isinstance(error, dict) else None
    return DuplicateError(said, existing=found[0] if found else None)
