"""The operations on the open extensions of an event.

Microsoft Graph docs, "Create open extension", "Get open extension", "Update open extension", "Delete open extension".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType

from sandbox.graph.errors import item_not_found, not_modelled
from sandbox.graph.events import Event
from sandbox.graph.extensions import Extension, extension_json, name_of, read_extension
from sandbox.graph.odata import read_options
from sandbox.graph.operations import Context, key
from sandbox.graph.state import Mailbox, State
from sandbox.graph.writing import read_object
from sandbox.http import Handler, Json, Response


class Extensions:
    """The operations on the extensions of an event."""

    def __init__(self, state: State, find: Callable[[str, str, str | None], tuple[Mailbox, Event]]) -> None:
        """`find` gives the event of a user, in one of his calendars or in any."""
        self._state = state
        self._find = find

    def operations(
        self, reads: Callable[[Handler], Handler], writes: Callable[[Handler], Handler]
    ) -> list[tuple[str, str, Handler]]:
        """Methods and paths below a mailbox or a calendar; `reads` and `writes` guard them."""
        return [
            ("POST", "/events/{event}/extensions", writes(self._create)),
            ("GET", "/events/{event}/extensions/{extension}", reads(self._get)),
            ("PATCH", "/events/{event}/extensions/{extension}", writes(self._update)),
            ("DELETE", "/events/{event}/extensions/{extension}", writes(self._delete)),
        ]

    async def _create(self, context: Context, user: str, event: str, calendar: str | None = None) -> Response:
        mailbox, found = self._begin(context, user, event, calendar)
        name, data = read_extension(read_object(context.request))
        if name in found.content.extensions:
            raise not_modelled("creating an extension that exists")
        self._save(context, mailbox, found, {**found.content.extensions, name: data})
        return self._answer(context, user, event, (name, data), HTTPStatus.CREATED)

    async def _get(
        self, context: Context, user: str, event: str, extension: str, calendar: str | None = None
    ) -> Response:
        _, found = self._begin(context, user, event, calendar)
        return self._answer(context, user, event, self._one(found, extension))

    async def _update(
        self, context: Context, user: str, event: str, extension: str, calendar: str | None = None
    ) -> Response:
        mailbox, found = self._begin(context, user, event, calendar)
        name, old = self._one(found, extension)
        renamed, data = read_extension(read_object(context.request))
        if renamed != name or set(old) - set(data):
            # The documentation says of properties that are not named both that they stay and that they go.
            raise not_modelled("an update of an extension that does not name it and all of its properties")
        self._save(context, mailbox, found, {**found.content.extensions, name: data})
        return self._answer(context, user, event, (name, data))

    async def _delete(
        self, context: Context, user: str, event: str, extension: str, calendar: str | None = None
    ) -> Response:
        mailbox, found = self._begin(context, user, event, calendar)
        gone, _ = self._one(found, extension)
        left = {name: data for name, data in found.content.extensions.items() if name != gone}
        self._save(context, mailbox, found, left)
        return Response(status=HTTPStatus.NO_CONTENT)

    def _begin(self, context: Context, user: str, event: str, calendar: str | None) -> tuple[Mailbox, Event]:
        read_options(context.request, frozenset())
        return self._find(user, event, calendar)

    def _one(self, event: Event, called: str) -> Extension:
        name = name_of(called)
        if name not in event.content.extensions:
            raise item_not_found()
        return name, event.content.extensions[name]

    def _save(
        self, context: Context, mailbox: Mailbox, event: Event, extensions: Mapping[str, Mapping[str, Json]]
    ) -> None:
        """An extension is a property of the item, so the item has a new version."""
        content = replace(event.content, extensions=MappingProxyType(dict(extensions)))
        self._state.update(mailbox, event, content, context.at)

    def _answer(
        self, context: Context, user: str, event: str, extension: Extension, status: int = HTTPStatus.OK
    ) -> Response:
        path = (key("users", user), key("events", event), "extensions")
        metadata = context.metadata(*path, entity=True)
        return context.answer(status, {"@odata.context": metadata, **extension_json(extension)})
