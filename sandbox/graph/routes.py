"""Microsoft Graph v1.0: the edge. Tokens, versions, headers; the operations are in the modules beside this one."""

from __future__ import annotations

import re
from dataclasses import replace
from email.utils import format_datetime

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.entra.routes import GRAPH_RESOURCE
from sandbox.entra.tokens import TokenRejected, Tokens
from sandbox.graph.batch import serve_batch
from sandbox.graph.bookings import Bookings
from sandbox.graph.businesses import Business
from sandbox.graph.by_hand import ByHand
from sandbox.graph.calendars import Calendars
from sandbox.graph.delta import Delta
from sandbox.graph.directory_changes import DirectoryChanges
from sandbox.graph.errors import GraphError, not_modelled, token_rejected
from sandbox.graph.event_operations import Events
from sandbox.graph.mail import Letters
from sandbox.graph.mailboxes import Mailboxes
from sandbox.graph.meetings import Meetings
from sandbox.graph.message_changes import MessageChanges
from sandbox.graph.messages import Messages
from sandbox.graph.notifications import Notifications
from sandbox.graph.odata import read_options
from sandbox.graph.operations import VERSION, Context, within_policy
from sandbox.graph.places import Places
from sandbox.graph.preferences import read_preferences
from sandbox.graph.schedules import Schedules
from sandbox.graph.state import State
from sandbox.graph.subscribing import Subscribing
from sandbox.graph.subscriptions import Subscriptions
from sandbox.graph.throttling import Throttle
from sandbox.graph.users import Users
from sandbox.http import Request, Response, Route, Router
from sandbox.recorder import Call

BATCH = "/$batch"
_KEY = re.compile(r"/(users|calendars|events|mailFolders|messages|places)\('([^'/]+)'\)", re.IGNORECASE)


class Graph:
    """Graph as one service of the cloud.

    `state` holds the mailboxes, `notifications` tells the outside of their changes, `by_hand` does what Graph cannot.
    """

    name = "graph"

    def __init__(self, cloud: Cloud, directory: Directory, tokens: Tokens) -> None:
        """Serve the users of `directory` to the bearers of `tokens`."""
        self._cloud = cloud
        self._tokens = tokens
        self.state = State(cloud.random)
        tokens.resources[GRAPH_RESOURCE] = self.name
        self._throttle = throttle = Throttle(cloud, directory)
        self._subscriptions = subscriptions = Subscriptions()
        self.notifications = Notifications(cloud, directory, tokens, subscriptions)
        self._meetings = meetings = Meetings(cloud, directory, self.state)
        self.state.listeners += [self.notifications.tell, meetings.hear]
        subscribing = Subscribing(cloud, directory, self.state, subscriptions, self.notifications)
        self._messages = messages = Messages(cloud, directory, self.state)
        outlook = (
            Calendars(directory, self.state),
            Events(cloud, directory, self.state, meetings),
            Delta(cloud, directory, self.state),
            Mailboxes(directory, self.state),
            Schedules(cloud, directory, self.state),
            messages,
            MessageChanges(cloud, messages),
        )
        self.by_hand = ByHand(cloud.clock, directory, self.state)
        self._bookings = Bookings(cloud, directory, self.state)
        others = (
            Users(cloud, directory),
            DirectoryChanges(cloud, directory),
            Places(directory),
            self._bookings,
            subscribing,
        )
        self._router = Router(
            [
                Route("POST", BATCH, self._batch),
                *(throttle.guarded(route) for part in others for route in part.routes()),
                *(
                    throttle.guarded(within_policy(directory, meetings.settled(route)), of_outlook=True)
                    for part in outlook
                    for route in part.routes()
                ),
            ]
        )

    @property
    def businesses(self) -> dict[str, Business]:
        """The businesses of Microsoft Bookings by their address."""
        return self._bookings.businesses

    def letters(self, user: str) -> Letters:
        """The messages of somebody's mailbox."""
        return self._messages.of(user)[1]

    @property
    def operations(self) -> tuple[Route, ...]:
        """What Graph knows here, below the version root."""
        return tuple(self._router.routes)

    async def handle(self, request: Request, call: Call) -> Response:
        """Answer one call."""
        request_id = self._cloud.new_id()
        client_request_id = request.header("client-request-id") or request_id
        try:
            answer = await self._answer(request, call)
        except GraphError as refused:
            answer = refused.answer(self._cloud.clock.now(), request_id, client_request_id)
        return self._with_common_headers(answer, request_id, client_request_id)

    async def _answer(self, request: Request, call: Call) -> Response:
        try:
            caller = self._tokens.check(request, (GRAPH_RESOURCE,))
        except TokenRejected as rejected:
            raise token_rejected(rejected.reason) from None
        version, _, _ = request.path.removeprefix("/").partition("/")
        found = (
            self._router.find(_with_plain_keys(request.without_prefix(VERSION))) if f"/{version}" == VERSION else None
        )
        if found is None:
            raise not_modelled(f"{request.method} {request.path}")
        context = Context(request, call, caller, read_preferences(request), self._cloud.clock.now())
        return await found.route.handler(context, **found.values)

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in Graph's shape."""
        request_id = self._cloud.new_id()
        answer = GraphError(status, code, message).answer(self._cloud.clock.now(), request_id, request_id)
        return self._with_common_headers(answer, request_id, request_id)

    def is_envelope(self, request: Request) -> bool:
        """Whether the call is a batch."""
        return request.method == "POST" and request.path == VERSION + BATCH

    def reset(self) -> None:
        """Empty all mailboxes, end all subscriptions, and forget what was counted."""
        self.state.clear()
        self.businesses.clear()
        self._meetings.reset()
        self._messages.reset()
        self._subscriptions.clear()
        self.notifications.reset()
        self._throttle.reset()

    async def close(self) -> None:
        """Stop telling the outside."""
        await self.notifications.close()

    async def _batch(self, context: Context) -> Response:
        read_options(context.request, frozenset())

        async def serve(part: Request) -> Response:
            return await self._cloud.serve(self.name, part, within=context.call)

        return context.answer(200, await serve_batch(context.request, serve, self._cloud.random))

    def _with_common_headers(self, answer: Response, request_id: str, client_request_id: str) -> Response:
        headers = {
            "request-id": request_id,
            "client-request-id": client_request_id,
            "Date": format_datetime(self._cloud.clock.now(), usegmt=True),
            "OData-Version": "4.0",
            "Cache-Control": "private",
            "x-ms-ags-diagnostic": '{"ServerInfo":{"DataCenter":"Sandbox","Slice":"E","Ring":"0","ScaleUnit":"000"}}',
        }
        return replace(answer, headers={**headers, **answer.headers})


def _with_plain_keys(request: Request) -> Request:
    """`users('id')/...` means `users/id/...` (OData URL Conventions, section 4.3; Graph docs, "List messages")."""
    return replace(request, path=_KEY.sub(r"/\1/\2", request.path))
