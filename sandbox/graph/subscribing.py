"""`/subscriptions`: applications ask to be told of changes in mailboxes.

Microsoft Graph docs, "subscription resource type", "Create subscription", "Update subscription", "Receive change
notifications through webhooks", "Change notifications for Outlook resources in Microsoft Graph": of calendars only
`users/{id}/events` can be watched, all calendars of the mailbox together; the permission to read is needed, and that to
write is no substitute; every URL is validated while the caller waits; a lifetime below 45 minutes is raised to that; an
application cannot subscribe twice to the same kinds of changes of the same resource, and sees its own subscriptions
only; a mailbox has 1,000 of all applications. The longest lifetime that the live service takes is 10,070 minutes.

The wording of most refusals is observed live; unverified are the code of the conflict, what is said about properties
that are wrong, the sizes of pages, that users who do not exist are 404, and that a new URL is validated, too. The
limits of requests to `/subscriptions` itself are not modelled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import wraps
from http import HTTPStatus

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.errors import (
    GraphError,
    bad_request,
    extension_error,
    invalid_subscription,
    not_modelled,
    subscription_exists,
    subscription_not_found,
    subscription_too_long,
    unknown_property,
)
from sandbox.graph.finding import find_mailbox
from sandbox.graph.lifecycle import READER
from sandbox.graph.notifications import Notifications
from sandbox.graph.odata import next_link, read_offset, read_options
from sandbox.graph.operations import Context
from sandbox.graph.rich import Rich, read_recipient, read_rich
from sandbox.graph.state import Mailbox, State
from sandbox.graph.subscriptions import Subscription, Subscriptions, read_kinds
from sandbox.graph.times import read_instant, write_instant
from sandbox.graph.writing import read_object
from sandbox.http import Handler, Json, Response, Route
from sandbox.settings import count, limit

LONGEST, MOST = "graph.subscription_minutes", "graph.mailbox_subscriptions"
LONGEST_RICH = "graph.rich_subscription_minutes"
SETTINGS = {
    LONGEST_RICH: count(1440, "the longest lifetime of a subscription on events with their data"),
    LONGEST: count(10_070, "the longest lifetime of a subscription on events"),
    MOST: limit(1000, "subscriptions of all applications on one mailbox"),
}
SHORTEST = timedelta(minutes=45)
LONGEST_TEXT = 128
TLS_VERSIONS = ("v1_0", "v1_1", "v1_2", "v1_3")
PAGE = 100
TYPE = "microsoft.graph.subscription"
CERTIFICATE = ("encryptionCertificate", "encryptionCertificateId")
CREATABLE = frozenset(
    (
        *("changeType", "notificationUrl", "lifecycleNotificationUrl", "resource", "expirationDateTime"),
        *("clientState", "latestSupportedTlsVersion", "includeResourceData", *CERTIFICATE),
    )
)
CHANGEABLE = frozenset({"expirationDateTime", "notificationUrl", *CERTIFICATE})
OTHERS = frozenset(
    (
        *("id", "applicationId", "creatorId", "notificationQueryOptions", "notificationUrlAppId"),
        "notificationContentType",
    )
)
_EVENTS = re.compile(r"/?users(?:/(?P<plain>[^/?()]+)|\('(?P<quoted>[^'/?]+)'\))/events", re.IGNORECASE)
_NEVER = re.compile(r"/?users/[^/?]+/(calendars?/.*|calendarView.*|events/.+)", re.IGNORECASE)
_ME = re.compile(r"/?me/.*", re.IGNORECASE)

type Body = Mapping[str, Json]


class Subscribing:
    """The operations on subscriptions."""

    def __init__(
        self,
        cloud: Cloud,
        directory: Directory,
        state: State,
        subscriptions: Subscriptions,
        notifications: Notifications,
    ) -> None:
        """Keep `subscriptions`; `notifications` reaches their URLs."""
        self._cloud = cloud
        self._directory = directory
        self._state = state
        self._subscriptions = subscriptions
        self._notifications = notifications
        cloud.settings.declare(SETTINGS)

    def routes(self) -> list[Route]:
        """The operations; what permission they need depends on the resource, which is always events here."""
        one = "/subscriptions/{subscription}"
        return [
            Route("POST", "/subscriptions", _bare(self._create)),
            Route("GET", "/subscriptions", self._list),
            Route("GET", one, _bare(self._get)),
            Route("PATCH", one, _bare(self._update)),
            Route("DELETE", one, _bare(self._delete)),
            Route("POST", f"{one}/reauthorize", _bare(self._reauthorize)),
        ]

    async def _create(self, context: Context) -> Response:
        body = _known(read_object(context.request), CREATABLE)
        resource = _required(body, "resource")
        user = _watched(resource)
        _check_reader(context, "Create")
        rich = _rich(body, resource)
        mailbox = self._mailbox(user)
        context.call.mailbox = mailbox.account.id
        now = self._cloud.clock.now()
        subscription = Subscription(
            id=self._cloud.new_id(),
            app=context.caller.client_id,
            creator=context.caller.object_id,
            mailbox=mailbox.account.id,
            resource=resource,
            change_type=_change_type(body),
            notification_url=_url(body, "notificationUrl"),
            lifecycle_url=_url(body, "lifecycleNotificationUrl") if body.get("lifecycleNotificationUrl") else None,
            expires=self._expiry(body, now, is_rich=rich is not None),
            client_state=_text(body, "clientState"),
            tls=_tls(body),
            immutable_ids=context.wishes.immutable_ids,
            includes_data=body.get("includeResourceData"),
            rich=rich,
        )
        self._check_room(subscription, now)
        for url in filter(None, (subscription.notification_url, subscription.lifecycle_url)):
            await self._validate(url, subscription)
        self._check_room(subscription, self._cloud.clock.now())
        self._subscriptions.add(subscription)
        self._notifications.lifecycle.authorize(subscription)
        return _answer(context, subscription, HTTPStatus.CREATED)

    async def _list(self, context: Context) -> Response:
        options = read_options(context.request, frozenset(), others=frozenset({"$skiptoken"}))
        _check_reader(context, "Read")
        own = [one for one in self._subscriptions.all(context.at) if one.app == context.caller.client_id]
        skip = read_offset(options.others.get("$skiptoken"))
        page = replace(options, top=PAGE, skip=skip)
        shown, more = page.page_of(own)
        body: dict[str, Json] = {
            "@odata.context": context.metadata("subscriptions"),
            "value": [_written(one) for one in shown],
        }
        if more:
            body["@odata.nextLink"] = next_link(context.request, skiptoken=f"offset-{skip + PAGE}")
        return context.answer(HTTPStatus.OK, body)

    async def _get(self, context: Context, subscription: str) -> Response:
        return _answer(context, self._own(context, subscription, "Read"), HTTPStatus.OK)

    async def _update(self, context: Context, subscription: str) -> Response:
        """Renew: what was about to end goes on, and is authorised anew."""
        found = self._own(context, subscription, "Update")
        body = _known(read_object(context.request), CHANGEABLE)
        if not body:
            raise invalid_subscription("There is nothing to update in the request body.")
        if found.rich is None and set(CERTIFICATE) & set(body):
            raise not_modelled("a certificate for a subscription without resource data")
        rich, expires, url = found.rich, found.expires, found.notification_url
        if rich is not None and set(CERTIFICATE) & set(body):
            rich = replace(rich, recipient=read_recipient(body))
        if "expirationDateTime" in body:
            expires = self._expiry(body, self._cloud.clock.now(), is_rich=rich is not None)
        if "notificationUrl" in body:
            url = _url(body, "notificationUrl")
            await self._validate(url, found)
        found.rich, found.expires, found.notification_url = rich, expires, url
        self._notifications.lifecycle.authorize(found)
        return _answer(context, found, HTTPStatus.OK)

    async def _delete(self, context: Context, subscription: str) -> Response:
        self._subscriptions.remove(self._own(context, subscription, "Delete"))
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _reauthorize(self, context: Context, subscription: str) -> Response:
        """The owner shows that it may still read; the expiry stays (Graph docs, "subscription: reauthorize")."""
        self._notifications.lifecycle.authorize(self._own(context, subscription, "Update"))
        return Response(status=HTTPStatus.NO_CONTENT)

    def _own(self, context: Context, subscription: str, operation: str) -> Subscription:
        """The caller's subscription with this id. Raises `GraphError`."""
        _check_reader(context, operation)
        found = self._subscriptions.find(subscription, context.at)
        if found is None or found.app != context.caller.client_id:
            raise subscription_not_found()
        context.call.mailbox = found.mailbox
        return found

    def _mailbox(self, user: str) -> Mailbox:
        try:
            return find_mailbox(self._directory, self._state, user)
        except GraphError as missing:
            raise extension_error(missing.status, "Create", missing.message) from None

    def _check_room(self, subscription: Subscription, now: datetime) -> None:
        """Raise `GraphError` when the same subscription exists, or the mailbox has as many as it may have."""
        present = self._subscriptions.of_mailbox(subscription.mailbox, now)
        for one in present:
            if one.combination == subscription.combination:
                raise subscription_exists(one.id)
        if len(present) >= self._cloud.settings.limit(MOST):
            reason = f"The mailbox has reached the limit of {self._cloud.settings[MOST]} active subscriptions."
            raise extension_error(HTTPStatus.FORBIDDEN, "Create", reason)

    def _expiry(self, body: Body, now: datetime, *, is_rich: bool) -> datetime:
        """When the subscription ends. Raises `GraphError` when that is too late."""
        asked, longest = _asked(body), self._cloud.settings[LONGEST_RICH if is_rich else LONGEST]
        if asked - now > timedelta(minutes=longest):
            raise subscription_too_long(longest)
        return max(asked, now + SHORTEST)

    async def _validate(self, url: str, subscription: Subscription) -> None:
        """Raise `GraphError` unless the receiver at `url` echoes the token that it is sent."""
        if trouble := await self._notifications.validate(url, subscription):
            raise invalid_subscription(f"Subscription validation request {trouble}")


def _bare(handler: Handler) -> Handler:
    """`handler` of an operation without query options and conditions."""

    @wraps(handler)
    async def served(context: Context, **values: str) -> Response:
        read_options(context.request, frozenset())
        return await handler(context, **values)

    return served


def _check_reader(context: Context, operation: str) -> None:
    if READER not in context.caller.roles:
        reason = "Access is denied. Check credentials and try again."
        raise extension_error(HTTPStatus.FORBIDDEN, operation, reason)


def _known(body: Body, allowed: frozenset[str]) -> Body:
    """The properties that are there. Raises `GraphError` for those that cannot be given here."""
    for name, value in body.items():
        if name.startswith("@odata.") or name in allowed:
            continue
        if name not in CREATABLE | OTHERS:
            raise unknown_property(name, TYPE)
        if value is not None:
            raise not_modelled(f"the subscription's property '{name}' in this request")
    return {name: value for name, value in body.items() if name in allowed}


def _required(body: Body, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise invalid_subscription(f"The property '{name}' of a subscription must be a non-empty string.")
    return value


def _text(body: Body, name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise invalid_subscription(f"The property '{name}' must be a string of at most {LONGEST_TEXT} characters.")
    return value


def _change_type(body: Body) -> str:
    value = _required(body, "changeType")
    try:
        read_kinds(value)
    except ValueError:
        raise invalid_subscription(f"The value '{value}' of the property 'changeType' is not supported.") from None
    return value


def _url(body: Body, name: str) -> str:
    value = _required(body, name)
    if not value.lower().startswith("https://"):
        raise invalid_subscription(f"The property '{name}' must be a URL with the scheme https.")
    return value


def _tls(body: Body) -> str:
    value = body.get("latestSupportedTlsVersion") or "v1_2"
    if value not in TLS_VERSIONS:
        raise invalid_subscription(f"The value '{value}' of the property 'latestSupportedTlsVersion' is not supported.")
    return str(value)


def _rich(body: Body, resource: str) -> Rich | None:
    """The data that are wanted with the notifications. Raises `GraphError`."""
    wanted = body.get("includeResourceData")
    if wanted is not None and not isinstance(wanted, bool):
        raise invalid_subscription("The property 'includeResourceData' must be true or false.")
    if wanted:
        return read_rich(resource, body)
    if "?" in resource or any(body.get(name) is not None for name in CERTIFICATE):
        raise not_modelled("query options and certificates of a subscription without resource data")
    return None


def _asked(body: Body) -> datetime:
    """When the subscription is to end. Raises `GraphError`."""
    value = _required(body, "expirationDateTime")
    try:
        return read_instant(value)
    except (ValueError, OverflowError):
        raise invalid_subscription(f"The value '{value}' of the property 'expirationDateTime' is no time.") from None


def _watched(resource: str) -> str:
    """The user whose events are to be watched. Raises `GraphError` for any other resource."""
    path = resource.partition("?")[0]
    if (found := _EVENTS.fullmatch(path)) is not None:
        return str(found["plain"] or found["quoted"])
    if _ME.fullmatch(path):
        raise bad_request("/me request is only valid with delegated authentication flow.")
    if _NEVER.fullmatch(path):
        reason = f"The value '{resource}' of parameter 'Resource' is not supported."
        raise extension_error(HTTPStatus.BAD_REQUEST, "Create", reason)
    raise not_modelled(f"subscriptions on '{resource}'")


def _written(subscription: Subscription) -> dict[str, Json]:
    return {
        "id": subscription.id,
        "resource": subscription.resource,
        "applicationId": subscription.app,
        "changeType": subscription.change_type,
        "clientState": subscription.client_state,
        "notificationUrl": subscription.notification_url,
        "notificationQueryOptions": None,
        "lifecycleNotificationUrl": subscription.lifecycle_url,
        "expirationDateTime": write_instant(subscription.expires),
        "creatorId": subscription.creator,
        "includeResourceData": subscription.includes_data,
        "latestSupportedTlsVersion": subscription.tls,
        "encryptionCertificate": subscription.rich.recipient.text if subscription.rich else None,
        "encryptionCertificateId": subscription.rich.recipient.id if subscription.rich else None,
        "notificationUrlAppId": None,
    }


def _answer(context: Context, subscription: Subscription, status: int) -> Response:
    metadata = context.metadata("subscriptions", entity=True)
    return context.answer(status, {"@odata.context": metadata, **_written(subscription)})
