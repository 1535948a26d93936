"""The life of subscriptions: who has to show again that it may read, what was removed, what was missed.

Microsoft Graph docs, "Reduce missing change notifications and removed subscriptions": `reauthorizationRequired` comes
before the authorisation or the subscription ends, and when an administrator has taken the permission away; what happens
then is delivered late or lost. `subscriptionRemoved` means that there is none any more, `missed` that notifications
were not delivered. Renewing authorises, too. "Receive change notifications through webhooks": notifications that wait
for an authorisation are kept for four hours.

When challenges come is taken from the page's sample, which calls itself illustrative. Unverified: that an authorisation
of an application does not end by itself, how long one lasts after a challenge that nothing else has announced, and that
`missed` comes once in ten minutes at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.subscriptions import Subscription, Subscriptions
from sandbox.settings import Setting

READER = "Calendars.Read"
"""The permission that a subscription on events takes."""
AUTHORIZATION = "notification.authorization_seconds"
SETTINGS = {
    AUTHORIZATION: Setting(
        default=None,
        accepts=lambda value: value is None or (type(value) in (int, float) and value > 0),
        values="null or a number of seconds",
        meaning="how long a subscription is authorised by creating, renewing or reauthorising it: null = to its end",
    )
}
GRACE = timedelta(hours=1)
SAME_AGAIN_AFTER = timedelta(minutes=10)
FIRST_CHALLENGE, OFTEN = timedelta(hours=12), timedelta(hours=4)
OFTEN_INTERVAL = timedelta(minutes=15)


class Event(StrEnum):
    """What a lifecycle notification tells."""

    REAUTHORIZE = "reauthorizationRequired"
    REMOVED = "subscriptionRemoved"
    MISSED = "missed"


class Lifecycle:
    """Watches over the authorisation of subscriptions, and tells their owners what happens to them."""

    def __init__(
        self,
        cloud: Cloud,
        directory: Directory,
        subscriptions: Subscriptions,
        tell: Callable[[Subscription, Event], None],
    ) -> None:
        """`tell` posts a lifecycle notification to a subscription that has a URL for them."""
        self._clock = cloud.clock
        self._settings = cloud.settings
        self._directory = directory
        self._subscriptions = subscriptions
        self._tell = tell
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._missed: dict[str, datetime] = {}
        self._challenged: dict[str, datetime] = {}
        cloud.settings.declare(SETTINGS)

    def reset(self) -> None:
        """Watch over nothing."""
        for watch in self._watches.values():
            watch.cancel()
        self._watches.clear()
        self._missed.clear()
        self._challenged.clear()

    async def close(self) -> None:
        """Stop."""
        watches = list(self._watches.values())
        self.reset()
        await asyncio.gather(*watches, return_exceptions=True)

    def authorize(self, subscription: Subscription) -> None:
        """The owner has shown that it may read: by creating, renewing or reauthorising the subscription."""
        lasts = self._settings[AUTHORIZATION]
        subscription.authorized_until = None if lasts is None else self._clock.now() + timedelta(seconds=lasts)
        self._watch(subscription)

    def is_authorized(self, subscription: Subscription) -> bool:
        """Whether notifications may be delivered."""
        until = subscription.authorized_until
        return self._may_read(subscription.app) and (until is None or self._clock.now() < until)

    def hold_back(self, subscription: Subscription) -> None:
        """Notifications wait for an authorisation; that the permission was taken away nothing else has announced."""
        if not self._may_read(subscription.app) and self._is_due(self._challenged, subscription):
            self._post(subscription, Event.REAUTHORIZE)

    def signal(self, subscription: Subscription, event: Event) -> None:
        """Let `event` happen, which nothing else has announced."""
        if event is Event.REMOVED:
            self._subscriptions.remove(subscription)
        if event is Event.REAUTHORIZE:
            until = self._clock.now() + GRACE
            subscription.authorized_until = min(until, subscription.authorized_until or until)
            self._watch(subscription)
        self._post(subscription, event)

    def miss(self, subscription: Subscription) -> None:
        """Notifications were not delivered; this is not told all the time."""
        if self._is_due(self._missed, subscription):
            self._post(subscription, Event.MISSED)

    def _may_read(self, app: str) -> bool:
        owner = self._directory.applications.get(app)
        return owner is not None and READER in owner.graph_roles

    def _is_due(self, told: dict[str, datetime], subscription: Subscription) -> bool:
        """Whether the same was not told just before; if so, it counts as told now."""
        now, before = self._clock.now(), told.get(subscription.id)
        if before is not None and now - before < SAME_AGAIN_AFTER:
            return False
        told[subscription.id] = now
        return True

    def _post(self, subscription: Subscription, event: Event) -> None:
        if subscription.lifecycle_url is not None:
            self._tell(subscription, event)

    def _watch(self, subscription: Subscription) -> None:
        """Announce the end of `subscription`, or of its authorisation; what was announced before is void."""
        if (watch := self._watches.pop(subscription.id, None)) is not None:
            watch.cancel()
        if subscription.lifecycle_url is not None:
            loop = asyncio.get_running_loop()
            self._watches[subscription.id] = loop.create_task(self._announce(subscription))

    async def _announce(self, subscription: Subscription) -> None:
        while (left := self._left(subscription)) > timedelta():
            await self._clock.sleep(_until_challenge(left).total_seconds())
            in_force = self._subscriptions.find(subscription.id, self._clock.now()) is subscription
            if not in_force or self._left(subscription) <= timedelta():
                return
            self._post(subscription, Event.REAUTHORIZE)

    def _left(self, subscription: Subscription) -> timedelta:
        end = min(subscription.expires, subscription.authorized_until or subscription.expires)
        return end - self._clock.now()


def _until_challenge(left: timedelta) -> timedelta:
    """How long after the last challenge, or from the beginning, the next one comes when so much is left."""
    if left > FIRST_CHALLENGE:
        return left - FIRST_CHALLENGE
    return left / 8 if left > OFTEN else min(OFTEN_INTERVAL, left)
