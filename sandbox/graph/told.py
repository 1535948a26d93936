"""What stands in a post to a subscriber: changes of events, and what happens to the subscription itself.

Microsoft Graph docs, "changeNotification resource type", "Change notifications for Outlook resources in Microsoft
Graph", "Reduce missing change notifications and removed subscriptions".
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from sandbox.directory import Account
from sandbox.graph.encryption import KEY_BYTES
from sandbox.graph.lifecycle import Event
from sandbox.graph.rich import Rich
from sandbox.graph.state import Change, ChangeKind
from sandbox.graph.subscriptions import Subscription
from sandbox.http import Json

DOCUMENTED = "documented"
SPELLINGS = {
    "plain": "Users/{user}/Events/{event}",
    "keyed": "Users('{user}')/events('{event}')",
    "tenant": "users/{user}@{tenant}/events/{event}",
}
"""How the docs write a resource: for Outlook, for Outlook with resource data, and in the guide to webhooks.

`DOCUMENTED` is the one of the first two that fits.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One change, told to one subscriber as `kind`; `spelling` is how the resource is written.

    `rich` is what the subscriber wanted when the event changed.
    """

    subscription: Subscription
    kind: ChangeKind
    change: Change
    account: Account
    spelling: str
    rich: Rich | None

    def written(self, tenant_id: str, chance: random.Random) -> dict[str, Json]:
        """The notification as JSON: it shows the version right after the change; keys are drawn from `chance`."""
        event, is_rich = self.change.event, self.rich is not None
        shown_id = event.id_for(immutable=self.subscription.immutable_ids)
        spelling = ("keyed" if is_rich else "plain") if self.spelling == DOCUMENTED else self.spelling
        resource = SPELLINGS[spelling].format(user=self.subscription.mailbox, event=shown_id, tenant=tenant_id)
        return {
            **_common(self.subscription, tenant_id),
            "changeType": self.kind.value,
            "resource": resource,
            **self._sealed(chance),
            "resourceData": {
                "@odata.type": "#microsoft.graph.event" if is_rich else "#Microsoft.Graph.Event",
                "@odata.id": resource,
                "@odata.etag": event.etag,
                "id": shown_id,
            },
        }

    def _sealed(self, chance: random.Random) -> dict[str, Json]:
        if self.rich is None or self.change.kind is ChangeKind.DELETED:
            return {}
        event, immutable_ids = self.change.event, self.subscription.immutable_ids
        content = self.rich.content(event, self.account, immutable_ids=immutable_ids)
        return {"encryptedContent": self.rich.recipient.seal(content, chance.randbytes(KEY_BYTES))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something that happens to a subscription, told to its owner."""

    subscription: Subscription
    event: Event

    def written(self, tenant_id: str, _chance: random.Random) -> dict[str, Json]:
        """The lifecycle notification as JSON: it says nothing about any event of the calendar."""
        return {**_common(self.subscription, tenant_id), "lifecycleEvent": self.event.value}


type Item = Notification | Signal


def _common(subscription: Subscription, tenant_id: str) -> dict[str, Json]:
    written: dict[str, Json] = {
        "subscriptionId": subscription.id,
        "subscriptionExpirationDateTime": subscription.expires.isoformat(),
        "tenantId": tenant_id,
    }
    if subscription.client_state is not None:
        written["clientState"] = subscription.client_state
    return written
