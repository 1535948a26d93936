"""Change notifications: what the subscribers of a mailbox are told, and how it reaches them.

Microsoft Graph docs, "Receive change notifications through webhooks", "Change notifications for Outlook resources in
Microsoft Graph", "changeNotificationCollection resource type": one post may hold notifications of several
subscriptions; whatever is answered 2xx within 3 seconds is delivered, anything else is sent again at growing intervals
for 4 hours, then with 10 seconds to answer; slow receivers see `sandbox.graph.endpoints`. Reported by users: a change
is told two to four times, the first time as what it is and then as an update, a create included and a deletion, too.

Notifications with data bring a token for each owner that proves where they come from ("Set up change notifications that
include resource data").

Unverified: the first interval, when the repetitions of one change come, that notifications which are due at the same
moment share a post and how many fit into one, and that a notification shows the version right after its change.

The service is called `notification`: `sandbox.outbox` has its faults, the settings `notification.*` say how posts
travel. Faults of its own hit a post with changes: `remove_subscription` (its subscriptions end, nothing is sent),
`missed` (nothing is sent, and the owners are told so), `require_reauthorization` (the owners are challenged).
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from math import ceil

from sandbox.cloud import Cloud
from sandbox.delivery import Delivery
from sandbox.directory import Application, Directory, known_id
from sandbox.entra.tokens import Tokens
from sandbox.faults import Rule
from sandbox.graph.endpoints import Endpoint, Pace, is_later
from sandbox.graph.lifecycle import Event, Lifecycle
from sandbox.graph.state import Change, ChangeKind, Mailbox
from sandbox.graph.subscriptions import Subscription, Subscriptions
from sandbox.graph.told import DOCUMENTED, SPELLINGS, Item, Notification, Signal
from sandbox.http import Json, Request, Response
from sandbox.outbox import Outbox, Parcel
from sandbox.settings import Setting, count, seconds

SERVICE = "notification"
PER_CHANGE, SPREAD, GATHER = "notification.per_change", "notification.spread_seconds", "notification.gather_seconds"
SLOW_DELAY, LEAST_ANSWERS = "notification.slow_delay_seconds", "notification.least_answers"
SPELLING = "notification.resource"
ANY = "any"
CHANGE, LIFECYCLE, VALIDATING = "change", "lifecycle", "validation"
"""What the log calls a post."""
REMOVE, MISS, CHALLENGE = "remove_subscription", "missed", "require_reauthorization"
SIGNALS = {REMOVE: Event.REMOVED, MISS: Event.MISSED, CHALLENGE: Event.REAUTHORIZE}
"""Faults, and what they have the owners told."""
SETTINGS = {
    PER_CHANGE: Setting(
        default=[2, 4],
        accepts=lambda value: (
            isinstance(value, list)
            and [type(one) for one in value] == [int, int]
            and 1 <= value[0] <= value[1] <= MOST_PER_CHANGE
        ),
        values="two whole numbers from 1 to 10",
        meaning="how often a subscriber hears of one change: at least and at most",
    ),
    SPREAD: seconds(1, "within which time after the first notification of a change the others follow"),
    GATHER: seconds(0, "how long notifications are gathered that then go in one post"),
    SLOW_DELAY: seconds(600, "how much later notifications go to an endpoint that is slow"),
    LEAST_ANSWERS: count(100, "from how many answers in 10 minutes on an endpoint is judged"),
    SPELLING: Setting(
        default=DOCUMENTED,
        accepts=lambda value: isinstance(value, str) and value in (DOCUMENTED, *SPELLINGS, ANY),
        values=", ".join(f'"{name}"' for name in (DOCUMENTED, *SPELLINGS, ANY)),
        meaning="how the resource of a notification is written",
    ),
}
PUBLISHER = Application(
    client_id="0bf30f3b-4a52-48df-9a82-234910c4a086",
    object_id=known_id("serviceprincipal", "Microsoft Graph Change Tracking"),
    name="Microsoft Graph Change Tracking",
    secrets=(),
)
"""Who sends notifications with data, as their validation tokens say; the sample there lives for eight hours."""
TOKEN_LIFETIME = timedelta(seconds=29_100)
MOST_PER_CHANGE = 10
MOST_IN_POST = 100
ANSWER_WITHIN, ANSWER_LATER_WITHIN = 3.0, 10.0
VALIDATED_WITHIN = 10.0
FIRST_RETRY = timedelta(seconds=10)
GIVE_UP_AFTER = timedelta(hours=4)
VALIDATION = "Validation: Testing client application reachability for subscription Request-Id: {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a post goes, when it is to go first, and whether it is about changes or about subscriptions."""

    url: str
    due_at: datetime
    kind: str


@dataclass(slots=True, kw_only=True)
class Post:
    """What goes in one request; `since` is when that was tried first."""

    place: Place
    items: list[Item]
    since: datetime | None = None
    attempts: int = 0

    @property
    def subscriptions(self) -> list[Subscription]:
        """Whose post it is."""
        return list({item.subscription.id: item.subscription for item in self.items}.values())

    @property
    def rich_apps(self) -> list[str]:
        """The owners of notifications with data, each once."""
        return list(
            {item.subscription.app: None for item in self.items if isinstance(item, Notification) and item.rich}
        )


class Notifications(Outbox[Post]):
    """Tells subscribers of changes, as a listener of the mailboxes, and of what becomes of their subscriptions."""

    def __init__(self, cloud: Cloud, directory: Directory, tokens: Tokens, subscriptions: Subscriptions) -> None:
        """Tell those who are in `subscriptions`, with `tokens` to prove it; the settings are declared to `cloud`."""
        waits = "a notification waits before it goes"
        super().__init__(cloud, SERVICE, Delivery(cloud.settings, SERVICE, waits=waits, in_flight=8))
        self._directory = directory
        self._tokens = tokens
        self._subscriptions = subscriptions
        self._endpoints = defaultdict[str, Endpoint](Endpoint)
        self._gathering: dict[Place, Post] = {}
        self.lifecycle = Lifecycle(cloud, directory, subscriptions, self._tell_owner)
        cloud.settings.declare(SETTINGS)
        cloud.faults.declare(*SIGNALS)

    def reset(self) -> None:
        """Forget what waits, what is on its way, what was sent, and how receivers behaved."""
        super().reset()
        self.lifecycle.reset()
        self._endpoints.clear()
        self._gathering.clear()

    async def close(self) -> None:
        """Stop; what waits is never sent."""
        await self.lifecycle.close()
        await super().close()

    def tell(self, mailbox: Mailbox, change: Change) -> None:
        """Notify the subscribers of `mailbox` of `change`."""
        settings, chance = self._cloud.settings, self._cloud.random
        for subscription in self._subscriptions.of_mailbox(mailbox.account.id, change.at):
            pace = self._pace(subscription.notification_url)
            if pace is Pace.DROP:
                self.lifecycle.miss(subscription)
                continue
            first = change.at + self.delivery.delay
            if pace is Pace.SLOW:
                first += timedelta(seconds=settings[SLOW_DELAY])
            for number in range(chance.randint(*settings[PER_CHANGE])):
                later = chance.uniform(0, settings[SPREAD]) if number else 0.0
                kind = ChangeKind.UPDATED if number else change.kind
                spelling = chance.choice(list(SPELLINGS)) if settings[SPELLING] == ANY else settings[SPELLING]
                if kind in subscription.kinds:
                    item = Notification(
                        subscription=subscription,
                        kind=kind,
                        change=change,
                        account=mailbox.account,
                        spelling=spelling,
                        rich=subscription.rich,
                    )
                    self._gather(item, subscription.notification_url, first + timedelta(seconds=later), CHANGE)

    def signal(self, event: str, subscription_id: str | None = None) -> int:
        """Let an event of the lifecycle happen to one subscription, or to all; returns to how many.

        Raises `ValueError` for another event, and for a subscription that does not exist.
        """
        if event not in list(Event):
            raise ValueError(f"'event' must be one of: {', '.join(Event)}")
        now = self._cloud.clock.now()
        found = self._subscriptions.all(now)
        if subscription_id is not None:
            found = [one for one in found if one.id == subscription_id]
            if not found:
                raise ValueError(f"there is no subscription '{subscription_id}'")
        for subscription in found:
            self.lifecycle.signal(subscription, Event(event))
        return len(found)

    def overview(self) -> dict[str, Json]:
        """What is subscribed, which posts wait, and what the receivers are taken for; nothing secret."""
        subscriptions = [
            {
                "id": one.id,
                "app": one.app,
                "mailbox": one.mailbox,
                "resource": one.resource,
                "changeType": one.change_type,
                "expirationDateTime": one.expires.isoformat(),
                "authorized": self.lifecycle.is_authorized(one),
                "lifecycle": one.lifecycle_url is not None,
                "includeResourceData": one.rich is not None,
            }
            for one in self._subscriptions.all(self._cloud.clock.now())
        ]
        receivers = [{"url": url, "pace": self._pace(url)} for url in self._endpoints]
        return {"subscriptions": subscriptions, "posts": self.counts, "receivers": receivers}

    async def validate(self, url: str, subscription: Subscription) -> str:
        """Ask the receiver at `url` to echo a token; what went wrong, empty when nothing did."""
        token = VALIDATION.format(self._cloud.new_id())
        parcel = Parcel(
            request=_request(url, "text/plain; charset=utf-8", token=token),
            seconds=VALIDATED_WITHIN,
            tags={"kind": VALIDATING},
            app=subscription.app,
            mailbox=subscription.mailbox,
        )
        answer = await self.send(parcel)
        if not answer.status:
            return "timed out."
        if answer.status != HTTPStatus.OK:
            return "failed. Notification endpoint must respond with 200 OK to validation request."
        if not _is_text(answer) or answer.body != token.encode():
            return "failed. Response must exactly match validationToken query parameter."
        return ""

    def address(self, post: Post) -> tuple[str, str]:
        """The path of the receiver, and the application of the first item."""
        return Request.of("POST", post.place.url).path, post.items[0].subscription.app

    def effects(self, post: Post) -> tuple[str, ...]:
        """The faults of posts, and for those with changes the ones about their subscriptions."""
        return (*super().effects(post), *(SIGNALS if post.place.kind == CHANGE else ()))

    async def deliver(self, post: Post, rule: Rule | None) -> None:
        """Try once; what is not taken, and what may not be delivered yet, is tried again later."""
        if self._gathering.get(post.place) is post:
            del self._gathering[post.place]
        post.since = post.since or self._cloud.clock.now()
        post.items = self._deliverable(post)
        if not post.items:
            return
        parcel = self._parcel(post)
        if rule is not None and rule.do in SIGNALS:
            for subscription in post.subscriptions:
                self.lifecycle.signal(subscription, SIGNALS[rule.do])
            if rule.do != CHALLENGE:
                self.log(parcel, rule.do)
                return
        status = await self.attempt(post, parcel, rule)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES or self._try_later(post):
            return
        if post.place.kind == CHANGE:
            for subscription in post.subscriptions:
                self.lifecycle.miss(subscription)

    def _deliverable(self, post: Post) -> list[Item]:
        """What may be told now; what waits for an authorisation becomes a post of its own."""
        wanted = [item for item in post.items if self._is_wanted(item)]
        if waiting := [item for item in wanted if not self._is_allowed(item)]:
            later = replace(post, items=waiting)
            for subscription in later.subscriptions:
                self.lifecycle.hold_back(subscription)
            self._try_later(later)
        return [item for item in wanted if self._is_allowed(item)]

    async def send(self, parcel: Parcel, fault: str = "") -> Response:
        """One request; the endpoint is judged by how long it took to answer, unless it was not there at all."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await super().send(parcel, fault)
        took = loop.time() - began
        if parcel.tags["kind"] != VALIDATING and (answer.status or is_later(took, parcel.seconds)):
            self._endpoints[_endpoint(parcel.request)].note(self._cloud.clock.now(), took)
        return answer

    def _pace(self, url: str) -> Pace:
        endpoint = self._endpoints.get(_endpoint(Request.of("POST", url)))
        if endpoint is None:
            return Pace.FAST
        return endpoint.pace(self._cloud.clock.now(), self._cloud.settings[LEAST_ANSWERS])

    def _tell_owner(self, subscription: Subscription, event: Event) -> None:
        signal = Signal(subscription=subscription, event=event)
        self._gather(signal, subscription.lifecycle_url or "", self._cloud.clock.now(), LIFECYCLE)

    def _gather(self, item: Item, url: str, due_at: datetime, kind: str) -> None:
        """Put `item` into the post to its URL that goes at `due_at`, or into a new one."""
        if step := self._cloud.settings[GATHER]:
            due_at = datetime.fromtimestamp(ceil(due_at.timestamp() / step) * step, UTC)
        place = Place(url=url, due_at=due_at, kind=kind)
        post = self._gathering.get(place)
        if post is not None and len(post.items) < MOST_IN_POST:
            post.items.append(item)
            return
        post = self._gathering[place] = Post(place=place, items=[item])
        self.put(post, due_at)

    def _is_wanted(self, item: Item) -> bool:
        """Whether the subscription is still in force; that it is not has to be told."""
        if isinstance(item, Signal) and item.event is Event.REMOVED:
            return True
        return self._subscriptions.find(item.subscription.id, self._cloud.clock.now()) is item.subscription

    def _is_allowed(self, item: Item) -> bool:
        """Whether the owner may be told now; about its subscription it always may."""
        return isinstance(item, Signal) or self.lifecycle.is_authorized(item.subscription)

    def _parcel(self, post: Post) -> Parcel:
        mailboxes = {subscription.mailbox for subscription in post.subscriptions}
        body: dict[str, Json] = {
            "value": [item.written(self._directory.tenant_id, self._cloud.random) for item in post.items]
        }
        if tokens := [self._tokens.issue(PUBLISHER, app, proof="2", lifetime=TOKEN_LIFETIME) for app in post.rich_apps]:
            body["validationTokens"] = tokens
        return Parcel(
            request=_request(post.place.url, "application/json; charset=utf-8", body=json.dumps(body).encode()),
            seconds=ANSWER_LATER_WITHIN if post.attempts else ANSWER_WITHIN,
            tags={"kind": post.place.kind, "items": str(len(post.items))},
            app=post.items[0].subscription.app,
            mailbox=mailboxes.pop() if len(mailboxes) == 1 else "",
        )

    def _try_later(self, post: Post) -> bool:
        """Whether there is time for another attempt; then it will be made."""
        now = self._cloud.clock.now()
        due_at = now + FIRST_RETRY * 2**post.attempts
        post.attempts += 1
        if due_at - (post.since or now) > GIVE_UP_AFTER:
            return False
        self.put(post, due_at)
        return True


def _request(url: str, content_type: str, *, token: str = "", body: bytes = b"") -> Request:
    """A post to `url`, which keeps its own query."""
    request = Request.of("POST", url, headers={"Content-Type": content_type}, body=body)
    return replace(request, query=(*request.query, ("validationToken", token))) if token else request


def _endpoint(request: Request) -> str:
    return request.base + request.path


def _is_text(answer: Response) -> bool:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return headers.get("content-type", "").lower().startswith("text/plain")
