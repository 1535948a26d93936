"""Change notifications: what the subscribers of a mailbox are told, and how it reaches them.

Microsoft Graph docs, "Receive change notifications through webhooks", "Change notifications for Outlook resources in
Microsoft Graph", "changeNotificationCollection resource type": one post may hold notifications of several
subscriptions; whatever is answered 2xx within 3 seconds is delivered, anything else is sent again at growing intervals
for 4 hours, then with 10 seconds to answer; slow receivers see `sandbox.graph.endpoints`. Reported by users: a change
is told two to four times, the first time as what it is and then as an update, a create included and a deletion, too.

Unverified: the first interval, when the repetitions of one change come, that notifications which are due at the same
moment share a post and how many fit into one, and that a notification shows the version right after its change.

The service is called `notification`: `sandbox.outbox` has its faults, the settings `notification.*` say how posts
travel.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from math import ceil

from sandbox.cloud import Cloud
from sandbox.delivery import Delivery
from sandbox.faults import Rule
from sandbox.graph.endpoints import Endpoint, Pace, is_later
from sandbox.graph.state import Change, ChangeKind, Mailbox
from sandbox.graph.subscriptions import Subscription, Subscriptions
from sandbox.http import Json, Request, Response
from sandbox.outbox import Outbox, Parcel
from sandbox.settings import Setting, count, seconds

SERVICE = "notification"
PER_CHANGE, SPREAD, GATHER = "notification.per_change", "notification.spread_seconds", "notification.gather_seconds"
SLOW_DELAY, LEAST_ANSWERS = "notification.slow_delay_seconds", "notification.least_answers"
SPELLING = "notification.resource"
SPELLINGS = {
    "plain": "Users/{user}/Events/{event}",
    "keyed": "Users('{user}')/events('{event}')",
    "tenant": "users/{user}@{tenant}/events/{event}",
}
"""How the docs write a resource: for Outlook, for Outlook with resource data, and in the guide to webhooks."""
ANY = "any"
CHANGE, VALIDATING = "change", "validation"
"""What the log calls a post."""
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
        default="plain",
        accepts=lambda value: isinstance(value, str) and value in (*SPELLINGS, ANY),
        values=", ".join(f'"{name}"' for name in (*SPELLINGS, ANY)),
        meaning="how the resource of a notification is written",
    ),
}
MOST_PER_CHANGE = 10
MOST_IN_POST = 100
ANSWER_WITHIN, ANSWER_LATER_WITHIN = 3.0, 10.0
VALIDATED_WITHIN = 10.0
FIRST_RETRY = timedelta(seconds=10)
GIVE_UP_AFTER = timedelta(hours=4)
VALIDATION = "Validation: Testing client application reachability for subscription Request-Id: {}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One change, told to one subscriber as `kind`."""

    subscription: Subscription
    kind: ChangeKind
    change: Change
    resource: str


@dataclass(slots=True, kw_only=True)
class Post:
    """What goes to `url` in one request; `due_at` is when it was to go, `since` when that was tried first."""

    url: str
    due_at: datetime
    items: list[Notification] = field(default_factory=list)
    since: datetime | None = None
    attempts: int = 0


class Notifications(Outbox[Post]):
    """Tells subscribers of changes, as a listener of the mailboxes."""

    def __init__(self, cloud: Cloud, tenant_id: str, subscriptions: Subscriptions) -> None:
        """Tell those who are in `subscriptions`; the settings are declared to `cloud`."""
        waits = "a notification waits before it goes"
        super().__init__(cloud, SERVICE, Delivery(cloud.settings, SERVICE, waits=waits, in_flight=8))
        self._tenant_id = tenant_id
        self._subscriptions = subscriptions
        self._endpoints = defaultdict[str, Endpoint](Endpoint)
        self._gathering: dict[tuple[str, datetime], Post] = {}
        cloud.settings.declare(SETTINGS)

    def reset(self) -> None:
        """Forget what waits, what is on its way, and how receivers behaved."""
        super().reset()
        self._endpoints.clear()
        self._gathering.clear()

    def tell(self, mailbox: Mailbox, change: Change) -> None:
        """Notify the subscribers of `mailbox` of `change`."""
        for subscription in self._subscriptions.of_mailbox(mailbox.account.id, change.at):
            pace = self._pace(subscription.notification_url)
            if pace is Pace.DROP:
                continue
            settings = self._cloud.settings
            times = self._cloud.random.randint(*settings[PER_CHANGE])
            first = change.at + self.delivery.delay
            if pace is Pace.SLOW:
                first += timedelta(seconds=settings[SLOW_DELAY])
            for number in range(times):
                later = self._cloud.random.uniform(0, settings[SPREAD]) if number else 0.0
                kind = ChangeKind.UPDATED if number else change.kind
                if kind in subscription.kinds:
                    self._gather(self._notification(subscription, kind, change), first + timedelta(seconds=later))

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
        """The path of the receiver, and the application of the first notification."""
        return Request.of("POST", post.url).path, post.items[0].subscription.app

    async def deliver(self, post: Post, rule: Rule | None) -> None:
        """Try once; what is not taken is tried again later."""
        now = self._cloud.clock.now()
        if self._gathering.get((post.url, post.due_at)) is post:
            del self._gathering[post.url, post.due_at]
        post.items = [item for item in post.items if self._is_wanted(item, now)]
        if not post.items:
            return
        post.since = post.since or now
        status = await self.attempt(self._parcel(post), rule)
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            self._try_later(post)

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

    def _notification(self, subscription: Subscription, kind: ChangeKind, change: Change) -> Notification:
        spelling = self._cloud.settings[SPELLING]
        template = SPELLINGS[self._cloud.random.choice(list(SPELLINGS)) if spelling == ANY else spelling]
        shown_id = change.event.id_for(immutable=subscription.immutable_ids)
        resource = template.format(user=subscription.mailbox, event=shown_id, tenant=self._tenant_id)
        return Notification(subscription=subscription, kind=kind, change=change, resource=resource)

    def _gather(self, item: Notification, due_at: datetime) -> None:
        """Put `item` into the post to its URL that goes at `due_at`, or into a new one."""
        if step := self._cloud.settings[GATHER]:
            due_at = datetime.fromtimestamp(ceil(due_at.timestamp() / step) * step, UTC)
        url = item.subscription.notification_url
        post = self._gathering.get((url, due_at))
        if post is not None and len(post.items) < MOST_IN_POST:
            post.items.append(item)
            return
        post = self._gathering[url, due_at] = Post(url=url, due_at=due_at, items=[item])
        self.put(post, due_at)

    def _is_wanted(self, item: Notification, now: datetime) -> bool:
        """Whether the subscription is still in force."""
        return self._subscriptions.find(item.subscription.id, now) is item.subscription

    def _parcel(self, post: Post) -> Parcel:
        mailboxes = {item.subscription.mailbox for item in post.items}
        body = {"value": [self._written(item) for item in post.items]}
        return Parcel(
            request=_request(post.url, "application/json; charset=utf-8", body=json.dumps(body).encode()),
            seconds=ANSWER_LATER_WITHIN if post.attempts else ANSWER_WITHIN,
            tags={"kind": CHANGE, "items": str(len(post.items))},
            app=post.items[0].subscription.app,
            mailbox=mailboxes.pop() if len(mailboxes) == 1 else "",
        )

    def _written(self, item: Notification) -> dict[str, Json]:
        subscription, event = item.subscription, item.change.event
        written: dict[str, Json] = {
            "subscriptionId": subscription.id,
            "subscriptionExpirationDateTime": subscription.expires.isoformat(),
            "changeType": item.kind.value,
            "resource": item.resource,
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.Event",
                "@odata.id": item.resource,
                "@odata.etag": event.etag,
                "id": event.id_for(immutable=subscription.immutable_ids),
            },
            "clientState": subscription.client_state,
            "tenantId": self._tenant_id,
        }
        if subscription.client_state is None:
            del written["clientState"]
        return written

    def _try_later(self, post: Post) -> None:
        now = self._cloud.clock.now()
        due_at = now + FIRST_RETRY * 2**post.attempts
        post.attempts += 1
        if due_at - (post.since or now) <= GIVE_UP_AFTER:
            self.put(post, due_at)


def _request(url: str, content_type: str, *, token: str = "", body: bytes = b"") -> Request:
    """A post to `url`, which keeps its own query."""
    request = Request.of("POST", url, headers={"Content-Type": content_type}, body=body)
    return replace(request, query=(*request.query, ("validationToken", token))) if token else request


def _endpoint(request: Request) -> str:
    return request.base + request.path


def _is_text(answer: Response) -> bool:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return headers.get("content-type", "").lower().startswith("text/plain")
