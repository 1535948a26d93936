"""Who wants to hear of changes in which mailbox, where, and until when. Plain data; no HTTP."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from sandbox.graph.rich import Rich
from sandbox.graph.state import ChangeKind


@dataclass(slots=True, kw_only=True)
class Subscription:
    """One subscription on all events of a mailbox; `app` is the client id of its owner.

    `resource` and `change_type` are as they were given; `mailbox` is the account's id. `creator` is the service
    principal of the owner. With `rich`, notifications bring data along. Nothing is delivered after `authorized_until`,
    unless it is authorised again.
    """

    id: str
    app: str
    creator: str
    mailbox: str
    resource: str
    change_type: str
    notification_url: str
    lifecycle_url: str | None
    expires: datetime
    client_state: str | None
    tls: str
    immutable_ids: bool
    includes_data: bool | None
    rich: Rich | None = None
    authorized_until: datetime | None = None

    @property
    def kinds(self) -> frozenset[ChangeKind]:
        """The kinds of changes that are told."""
        return read_kinds(self.change_type)

    @property
    def combination(self) -> tuple[str, str, frozenset[ChangeKind]]:
        """What no two subscriptions may have in common: owner, resource and kinds of changes."""
        return self.app, self.resource.strip("/").lower(), self.kinds


def read_kinds(change_type: str) -> frozenset[ChangeKind]:
    """The kinds in a comma-separated list. Raises `ValueError` for other words."""
    return frozenset(ChangeKind(word.strip().lower()) for word in change_type.split(","))


class Subscriptions:
    """All subscriptions of the tenant; one that has expired is gone."""

    def __init__(self) -> None:
        """Start without any."""
        self._of_mailbox = defaultdict[str, dict[str, Subscription]](dict)
        self._mailboxes: dict[str, str] = {}

    def add(self, subscription: Subscription) -> None:
        """Take up a subscription."""
        self._of_mailbox[subscription.mailbox][subscription.id] = subscription
        self._mailboxes[subscription.id] = subscription.mailbox

    def remove(self, subscription: Subscription) -> None:
        """End a subscription, if it has not ended before."""
        self._of_mailbox[subscription.mailbox].pop(subscription.id, None)
        self._mailboxes.pop(subscription.id, None)

    def find(self, subscription_id: str, at: datetime) -> Subscription | None:
        """The subscription with this id, if it is in force at `at`."""
        mailbox = self._mailboxes.get(subscription_id.lower(), "")
        return next((one for one in self.of_mailbox(mailbox, at) if one.id == subscription_id.lower()), None)

    def of_mailbox(self, mailbox: str, at: datetime) -> list[Subscription]:
        """What is in force at `at` on a mailbox, oldest first."""
        known = list(self._of_mailbox[mailbox].values()) if mailbox in self._of_mailbox else []
        for expired in (one for one in known if one.expires <= at):
            self.remove(expired)
        return [one for one in known if one.expires > at]

    def all(self, at: datetime) -> list[Subscription]:
        """What is in force at `at`, by mailbox."""
        return [one for mailbox in list(self._of_mailbox) for one in self.of_mailbox(mailbox, at)]

    def clear(self) -> None:
        """Forget all of them."""
        self._of_mailbox.clear()
        self._mailboxes.clear()
