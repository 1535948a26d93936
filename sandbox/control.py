"""The control plane: seeds, breaks and watches the simulators over HTTP, for tests in other processes and for people.

It is none of Microsoft's services: its calls are not logged, faults do not hit it, and it takes no token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from http import HTTPStatus

from sandbox.cloud import Cloud
from sandbox.http import Json, Request, Response, Route, Router
from sandbox.recorder import Call

LONGEST_WAIT = 60.0

type Seed = Callable[[str, int, int], None]
"""Fills the empty cloud with the named organisation, and so many mailboxes and bookings more.

Raises `ValueError` when it cannot.
"""

type Signal = Callable[[str, str | None], int]
"""Lets an event of the lifecycle happen to one subscription, or to all; gives their number. Raises `ValueError`."""

type Repeat = Callable[[str, int], int]
"""Sends all posts of a service again, in an order and by a seed; gives their number. Raises `ValueError`."""

type ByHand = Callable[[str, str, str, str], str]
"""Does something to the event of a user as people do in Outlook; gives its id. Raises `ValueError`."""


class Control:
    """Answers the control plane's operations; wrong input gets a 400 with `{"error": ...}` saying what is wrong."""

    def __init__(
        self,
        cloud: Cloud,
        *,
        seed: Seed,
        repeat: Mapping[str, Repeat],
        notifications: Callable[[], Json],
        signal: Signal,
        by_hand: ByHand,
        reset: Callable[[], None] | None = None,
    ) -> None:
        """Steer `cloud`; `reset` forgets everything, and is `cloud.reset` unless there is more to forget.

        `repeat` has the services whose posts can be sent again, `webhook` among them.
        `notifications` says who is subscribed to what, and which posts wait.
        """
        self._cloud = cloud
        self._notifications = notifications
        self._signal = signal
        self._by_hand = by_hand
        self._seed = seed
        self._repeat = repeat
        self._reset = reset or cloud.reset
        self._router = Router(
            [
                Route("GET", "/health", self._health),
                Route("POST", "/reset", self._post_reset),
                Route("POST", "/seed", self._post_seed),
                Route("GET", "/faults", self._get_faults),
                Route("POST", "/faults", self._post_faults),
                Route("DELETE", "/faults", self._delete_faults),
                Route("POST", "/posts", self._post_posts),
                Route("GET", "/notifications", self._get_notifications),
                Route("POST", "/notifications", self._post_notifications),
                Route("POST", "/outlook", self._post_outlook),
                Route("GET", "/requests", self._get_requests),
                Route("DELETE", "/requests", self._delete_requests),
                Route("GET", "/clock", self._get_clock),
                Route("POST", "/clock", self._post_clock),
                Route("GET", "/settings", self._get_settings),
                Route("POST", "/settings", self._post_settings),
            ]
        )

    async def handle(self, request: Request) -> Response:
        """Answer one call."""
        found = self._router.find(request)
        if found is None:
            known = ", ".join(sorted(f"{route.method} {route.template}" for route in self._router.routes))
            return _wrong(HTTPStatus.NOT_FOUND, f"no operation {request.method} {request.path}; there are: {known}")
        try:
            return await found.route.handler(request)
        except ValueError as error:
            return _wrong(HTTPStatus.BAD_REQUEST, str(error))

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in the control plane's shape."""
        return _wrong(status, f"{code}: {message}")

    async def _health(self, _request: Request) -> Response:
        return Response.of_json(200, {"status": "ok", "services": sorted(self._cloud.services)})

    async def _post_reset(self, _request: Request) -> Response:
        self._reset()
        return Response(status=204)

    async def _post_seed(self, request: Request) -> Response:
        wanted = _object(request, {"organization", "mailboxes", "bookings"})
        organization = wanted.get("organization")
        if not isinstance(organization, str):
            raise ValueError("'organization' must name one, such as \"contoso\"")
        mailboxes, bookings = wanted.get("mailboxes", 0), wanted.get("bookings", 0)
        if type(mailboxes) is not int or type(bookings) is not int:
            raise ValueError("'mailboxes' and 'bookings' must be whole numbers")
        self._seed(organization, mailboxes, bookings)
        return Response(status=204)

    async def _get_faults(self, _request: Request) -> Response:
        return Response.of_json(200, {"faults": [asdict(rule) for rule in self._cloud.faults.rules]})

    async def _post_faults(self, request: Request) -> Response:
        rules = self._cloud.faults.add(_body(request))
        return Response.of_json(201, {"faults": [asdict(rule) for rule in rules]})

    async def _delete_faults(self, _request: Request) -> Response:
        self._cloud.faults.clear()
        return Response(status=204)

    async def _post_posts(self, request: Request) -> Response:
        """Have every post of a service sent once more, Dataverse's unless another is named.

        `{"service": "webhook" | "notification", "order": "same" | "reversed" | "shuffled", "seed": 0}`. Answers how
        many there are; they are on their way then.
        """
        wanted = _object(request, {"service", "order", "seed"})
        service, order, seed = wanted.get("service", "webhook"), wanted.get("order", "same"), wanted.get("seed", 0)
        if not isinstance(service, str) or service not in self._repeat:
            raise ValueError(f"'service' must be one of: {', '.join(self._repeat)}")
        if type(seed) is not int:
            raise ValueError("'seed' must be a whole number")
        return Response.of_json(202, {"posts": self._repeat[service](order, seed)})

    async def _get_notifications(self, _request: Request) -> Response:
        """Who is subscribed to what, how many posts wait, are on their way or are held, and how receivers behave."""
        return Response.of_json(200, self._notifications())

    async def _post_notifications(self, request: Request) -> Response:
        """Let something happen to subscriptions: `{"event": "subscriptionRemoved", "subscription": null}` (= to all).

        Answers to how many it has happened; their owners are being told.
        """
        wanted = _object(request, {"event", "subscription"})
        event, subscription = wanted.get("event"), wanted.get("subscription")
        if not isinstance(event, str) or not isinstance(subscription, str | None):
            raise ValueError("'event' must be a string, and 'subscription' one or null")
        return Response.of_json(202, {"subscriptions": self._signal(event, subscription)})

    async def _post_outlook(self, request: Request) -> Response:
        """Do what people do in Outlook: `{"do": "move", "user": "", "event": "", "calendar": ""}`, or `"restore"`.

        Answers the new id of the event.
        """
        wanted = _object(request, {"do", "user", "event", "calendar"})
        what, user, event, calendar = (wanted.get(name, "") for name in ("do", "user", "event", "calendar"))
        if not all(isinstance(value, str) for value in (what, user, event, calendar)):
            raise ValueError("'do', 'user', 'event' and 'calendar' must be strings")
        return Response.of_json(200, {"event": self._by_hand(what, user, event, calendar)})

    async def _get_requests(self, request: Request) -> Response:
        """The calls after number `after` by application `app`; waits up to `wait` seconds for an answered one."""
        query = dict(request.query)
        if unknown := sorted(set(query) - {"after", "wait", "app"}):
            raise ValueError(f"unknown query parameters: {', '.join(unknown)}")
        after, wait, app = int(_number(query, "after")), _number(query, "wait"), query.get("app")
        if wait > LONGEST_WAIT:
            raise ValueError(f"'wait' is at most {LONGEST_WAIT:g} seconds")
        recorder, loop = self._cloud.recorder, asyncio.get_running_loop()

        def found() -> list[Call]:
            return [call for call in recorder.after(after) if app is None or call.app == app]

        deadline = loop.time() + wait
        while not any(call.answered for call in found()) and (left := deadline - loop.time()) > 0:
            await recorder.wait_for_traffic(left)
        calls = found()
        return Response.of_json(
            200,
            {
                "calls": [call.as_json() for call in calls],
                "counts": recorder.counts(app=app, after=after),
                "last": max((call.number for call in recorder.after(after)), default=after),
            },
        )

    async def _delete_requests(self, _request: Request) -> Response:
        self._cloud.recorder.clear()
        return Response(status=204)

    async def _get_clock(self, _request: Request) -> Response:
        return Response.of_json(200, {"now": self._cloud.clock.now().isoformat()})

    async def _post_clock(self, request: Request) -> Response:
        seconds = _object(request, {"seconds"}).get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float):
            raise ValueError("'seconds' must be a number")
        try:
            now = self._cloud.clock.advance(timedelta(seconds=seconds))
        except OverflowError:
            raise ValueError("'seconds' is more than time has") from None
        return Response.of_json(200, {"now": now.isoformat()})

    async def _get_settings(self, _request: Request) -> Response:
        return Response.of_json(200, self._cloud.settings.as_json())

    async def _post_settings(self, request: Request) -> Response:
        self._cloud.settings.change(_body(request))
        return Response.of_json(200, self._cloud.settings.as_json())


def _wrong(status: int, message: str) -> Response:
    return Response.of_json(status, {"error": message})


def _body(request: Request) -> Json:
    try:
        return request.json()
    except ValueError as error:
        raise ValueError(f"the body is no JSON: {error}") from None


def _object(request: Request, names: set[str]) -> dict[str, Json]:
    value = _body(request)
    if not isinstance(value, dict):
        raise ValueError("the body must be a JSON object")
    if unknown := sorted(set(value) - names):
        raise ValueError(f"unknown fields: {', '.join(unknown)}")
    return value


def _number(query: dict[str, str], name: str) -> float:
    try:
        value = float(query.get(name, "0"))
    except ValueError:
        raise ValueError(f"'{name}' must be a number") from None
    if not 0 <= value < float("inf"):
        raise ValueError(f"'{name}' must be a finite number of 0 or more")
    return value
