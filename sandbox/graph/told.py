"""What stands in a post to a subscriber: changes of events, and what happens to the subscription itself.

Microsoft Graph docs, "changeNotification resource type", "Change notifications for Outlook resources in Microsoft
Graph", "Reduce missing change notifications and removed subscriptions".
"""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.graph.lifecycle import Event
from sandbox.graph.state import Change, ChangeKind
from sandbox.graph.subscriptions import Subscription
from sandbox.http import Json

SPELLINGS = {
    "plain": "Users/{user}/Events/{event}",
    "keyed": "Users('{user}')/events('{event}')",
    "tenant": "users/{user}@{tenant}/events/{event}",
}
"""How the docs write a resource: for Outlook, for Outlook with resource data, and in the guide to webhooks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One change, told to one subscriber as `kind`; `spelling` is how the resource is written."""

    subscription: Subscription
    kind: ChangeKind
    change: Change
    spelling: str

    def written(self, tenant_id: str) -> dict[str, Json]:
        """The notification as JSON: it shows the version right after the change."""
        event = self.change.event
        shown_id = event.id_for(immutable=self.subscription.immutable_ids)
        resource = SPELLINGS[self.spelling].format(user=self.subscription.mailbox, event=shown_id, tenant=tenant_id)
        return {
            **_common(self.subscription, tenant_id),
            "changeType": self.kind.value,
            "resource": resource,
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.Event",
                "@odata.id": resource,
                "@odata.etag": event.etag,
                "id": shown_id,
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Something that happens to a subscription, told to its owner."""

    subscription: Subscription
    event: Event

    def written(self, tenant_id: str) -> dict[str, Json]:
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
