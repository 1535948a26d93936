"""`messages/delta`: the messages of a folder once, then only what has changed since.

Microsoft Graph docs, "message: delta", "Get incremental changes to messages in a folder": folder by folder; `$select`
and `$top` are taken; the only filter is `receivedDateTime ge` or `gt`, which gives 5,000 messages at most; the only
order is by `receivedDateTime desc`. What has left the folder is `@removed`. Unverified: the usual size of a page, that
`$top` limits the pages and not the round, and that what no longer fits the filter is not told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice

from sandbox.cloud import Cloud
from sandbox.graph.cursors import seal, unseal
from sandbox.graph.delta import DELTA_TOKEN, EXPIRE_CURSOR, SKIP_TOKEN
from sandbox.graph.errors import (
    bad_request,
    calendar_access_denied,
    delta_token_invalid,
    not_modelled,
    sync_state_not_found,
)
from sandbox.graph.filters import read_filter
from sandbox.graph.mail import Letters, Message
from sandbox.graph.messages import FIELDS, Messages, folder_name, shown
from sandbox.graph.odata import LARGEST_PAGE, read_options
from sandbox.graph.operations import MAIL_READ, MAIL_READ_BASIC, Context, needs
from sandbox.http import Json, Response, Route

PAGE, MOST_FILTERED = 10, 5000
_FILTER = re.compile(r"\s*receivedDateTime\s+(ge|gt)\s+\S+\s*", re.IGNORECASE)
_ORDER = re.compile(r"\s*receivedDateTime\s+desc\s*", re.IGNORECASE)
TYPE = "#microsoft.graph.message"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """How far a client has come: the round tells what changed after `seen`, or all of it, and has told `told` items."""

    account: str
    folder: str
    select: str
    filter: str
    top: int
    full: bool
    start: int
    seen: int
    told: int = 0


class MessageChanges:
    """Answers `messages/delta`."""

    def __init__(self, cloud: Cloud, messages: Messages) -> None:
        """Read from `messages`; the fault `expire_cursor` is taken from `cloud`."""
        self._cloud = cloud
        self._messages = messages

    def routes(self) -> list[Route]:
        """The function, in both spellings of its name, with the permissions that it needs."""
        tracked = needs(MAIL_READ | MAIL_READ_BASIC, calendar_access_denied(), self._changes)
        path = "/users/{user}/mailFolders/{folder}/messages"
        return [Route("GET", f"{path}/{name}", tracked) for name in ("delta", "delta()")]

    async def _changes(self, context: Context, user: str, folder: str) -> Response:
        mailbox, letters = self._messages.of(user)
        position = self._position(context, mailbox.account.id, folder_name(folder), letters)
        select = tuple(filter(None, position.select.split(",")))
        rows = list(_rows(letters, position))[position.told :]
        page, is_last = rows[: position.top], len(rows) <= position.top
        body: dict[str, Json] = {
            "@odata.context": context.metadata("Collection(message)"),
            "value": [_item(context, message, select, is_there=is_there) for message, is_there in page],
        }
        url = f"{context.request.base}{context.request.path}"
        if is_last:
            done = replace(position, full=False, seen=position.start, told=0)
            body["@odata.deltaLink"] = f"{url}?{DELTA_TOKEN}={seal(asdict(done))}"
        else:
            left = replace(position, told=position.told + len(page))
            body["@odata.nextLink"] = f"{url}?{SKIP_TOKEN}={seal(asdict(left))}"
        return context.answer(200, body)

    def _position(self, context: Context, account: str, folder: str, letters: Letters) -> _Position:
        """Where the call begins to read. Raises `GraphError`."""
        options = read_options(
            context.request,
            frozenset({"$select", "$filter", "$orderby", "$top"}),
            fields=FIELDS,
            others=frozenset({DELTA_TOKEN, SKIP_TOKEN}),
            page=PAGE,
            paged_by_preference=True,
        )
        given = {name.lower(): value for name, value in context.request.query}
        now = len(letters.history)
        name = next((name for name in (DELTA_TOKEN, SKIP_TOKEN) if given.get(name)), None)
        if name is None:
            _check(given)
            return _Position(
                account=account,
                folder=folder,
                select=given.get("$select", ""),
                filter=given.get("$filter", ""),
                top=min(context.wishes.page_size or options.top, LARGEST_PAGE),
                full=True,
                start=now,
                seen=now,
            )
        if len(given) > 1:
            raise not_modelled(f"query options beside '{name}'")
        values = unseal(given[name])
        if values is None or values.get("account") != account or values.get("folder") != folder:
            raise delta_token_invalid(name)
        position = _Position(**values)
        rule = self._cloud.faults.take(context.call, EXPIRE_CURSOR)
        if rule is not None or position.start > now:
            context.call.fault = EXPIRE_CURSOR if rule is not None else context.call.fault
            raise sync_state_not_found(position.start, now, 410)
        return position if name == SKIP_TOKEN else replace(position, start=now)


def _check(given: dict[str, str]) -> None:
    if "$filter" in given and not _FILTER.fullmatch(given["$filter"]):
        raise bad_request("Change tracking of messages takes no filter but receivedDateTime ge or gt.")
    if "$orderby" in given and not _ORDER.fullmatch(given["$orderby"]):
        raise bad_request("Change tracking of messages takes no order but receivedDateTime desc.")


def _rows(letters: Letters, position: _Position) -> Iterator[tuple[Message, bool]]:
    """The messages to tell of, and whether they are in the folder now; pages of a round see the same ones.

    Everything is as it was when the round began: the history tells that, whatever happened since.
    """
    matches = read_filter(position.filter, FIELDS) if position.filter else lambda _message: True
    newest: dict[str, tuple[Message, bool]] = {}
    first = 0 if position.full else position.seen
    for change in letters.history[first : position.start]:
        message = change.after or change.before
        if message is None:
            continue
        is_there = change.after is not None and change.after.folder == position.folder
        was_there = change.before is not None and change.before.folder == position.folder
        newest.pop(message.item_id, None) if is_there or was_there else None
        if is_there or (was_there and change.before is not None):
            newest[message.item_id] = (message if is_there else change.before or message, is_there)
    told = (row for row in newest.values() if matches(row[0]) and (row[1] or not position.full))
    return islice(reversed(list(told)) if position.full else told, MOST_FILTERED if position.filter else None)


def _item(context: Context, message: Message, select: tuple[str, ...], *, is_there: bool) -> dict[str, Json]:
    if is_there:
        return {"@odata.type": TYPE, **shown(context, message, select)}
    shown_id = message.id_for(immutable=context.wishes.immutable_ids)
    return {"@odata.type": TYPE, "id": shown_id, "@removed": {"reason": "deleted"}}
