"""Throttling: what Graph and the Outlook service behind it refuse because it is too much.

Microsoft Graph docs, "Microsoft Graph throttling guidance" and "Microsoft Graph service-specific throttling limits":
130,000 requests of an application in 10 seconds; for each application and mailbox 10,000 requests in 10 minutes, four
at once, 150 MB of uploads in 5 minutes. Parts of a batch count one by one, the envelope itself does not; refused
requests count, too. Too many at once and too many bytes are answered as observed live.

Unverified: that windows slide, what MB means, which name too many requests in 10 minutes have in their refusal, and
how long it asks to wait. The limits of the directory, which are counted in resource units, are not modelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from math import ceil

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.errors import GraphError, application_throttled, too_many_requests
from sandbox.graph.operations import Context
from sandbox.http import Response, Route
from sandbox.limits import ServiceTime, Window
from sandbox.settings import limit

APP_REQUESTS, REQUESTS = "graph.app_requests", "graph.mailbox_requests"
UPLOAD_BYTES, CONCURRENCY = "graph.mailbox_upload_bytes", "graph.mailbox_concurrency"
APP_SECONDS, REQUEST_SECONDS, UPLOAD_SECONDS = 10, 600, 300
SETTINGS = {
    APP_REQUESTS: limit(130_000, f"requests of an application in {APP_SECONDS} seconds"),
    REQUESTS: limit(10_000, f"requests of an application to one mailbox in {REQUEST_SECONDS} seconds"),
    UPLOAD_BYTES: limit(150_000_000, f"bytes that an application sends to one mailbox in {UPLOAD_SECONDS} seconds"),
    CONCURRENCY: limit(4, "requests of an application to one mailbox that are under way at once"),
}
REALISTIC = {"read": 0.1, "write": 0.33}
"""Seconds; four at once make twelve writes a second, which is what one mailbox was seen to take (unverified)."""
UPLOADS = frozenset({"PATCH", "POST", "PUT"})
WAIT_FOR_A_SLOT = 1
"""Seconds that a refusal for concurrency asks to wait, as observed."""


@dataclass(slots=True)
class _Use:
    """What one application has lately done to one mailbox."""

    requests: Window = field(default_factory=lambda: Window(REQUEST_SECONDS))
    uploads: Window = field(default_factory=lambda: Window(UPLOAD_SECONDS))
    under_way: int = 0


class Throttle:
    """Counts operations, refuses those that are too many, and lets the others take their time."""

    def __init__(self, cloud: Cloud, directory: Directory) -> None:
        """The limits are settings of `cloud`; mailboxes are those of the accounts in `directory`."""
        self._settings = cloud.settings
        self._clock = cloud.clock
        self._directory = directory
        self._time = ServiceTime(cloud, "graph", realistic=REALISTIC)
        cloud.settings.declare(SETTINGS)
        self.reset()

    def reset(self) -> None:
        """Forget what was counted."""
        self._of_app = defaultdict[str, Window](lambda: Window(APP_SECONDS))
        self._of_mailbox = defaultdict[tuple[str, str], _Use](_Use)

    def guarded(self, route: Route, *, of_outlook: bool = False) -> Route:
        """`route` under the limits of applications, and under those of the mailbox of `{user}` if it is Outlook's."""

        async def served(context: Context, **values: str) -> Response:
            self._count(context)
            with self._slot(context, values["user"]) if of_outlook else nullcontext():
                async with self._time.spent(self._time.of(context.request.method)):
                    return await route.handler(replace(context, at=self._clock.now()), **values)

        return replace(route, handler=served)

    def _count(self, context: Context) -> None:
        app = self._of_app[context.caller.client_id]
        if wait := app.take(context.at, self._settings.limit(APP_REQUESTS)):
            context.call.limit = "AppRequests"
            raise too_many_requests(ceil(wait * 1000) / 1000)

    @contextmanager
    def _slot(self, context: Context, user: str) -> Iterator[None]:
        """Hold one of the mailbox's slots. The log learns the mailbox. Raises `GraphError` when it is too much."""
        account = self._directory.find(user)
        if account is None:
            yield
            return
        context.call.mailbox = account.id
        use = self._of_mailbox[context.caller.client_id, account.id]
        if wait := use.requests.take(context.at, self._settings.limit(REQUESTS)):
            raise _refused(context, "MailboxRequests", wait)
        size = len(context.request.body) if context.request.method in UPLOADS else 0
        if size and (wait := use.uploads.take(context.at, self._settings.limit(UPLOAD_BYTES), size)):
            raise _refused(context, "IncomingBytes", wait)
        if use.under_way >= self._settings.limit(CONCURRENCY):
            raise _refused(context, "MailboxConcurrency", WAIT_FOR_A_SLOT)
        use.under_way += 1
        try:
            yield
        finally:
            use.under_way -= 1


def _refused(context: Context, name: str, wait: float) -> GraphError:
    context.call.limit = name
    return application_throttled(name, ceil(wait))
