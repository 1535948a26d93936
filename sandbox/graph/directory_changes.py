"""`users/delta`: who is there, then only who has changed since.

Microsoft Graph docs, "user: delta", "Get incremental changes for users", "Use delta query to track changes in Microsoft
Graph data": the properties of `$select` are tracked, and `id` always comes; the only filter is one by up to 50 ids;
`$deltatoken=latest` begins now; who can be restored is `@removed` as changed, who cannot as deleted; tokens are good
for seven days. Unverified: the size of a page, and that somebody who came and went between two rounds is told as
removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from odata_query import ast

from sandbox.cloud import Cloud
from sandbox.directory import Account, Directory
from sandbox.graph.cursors import seal, unseal
from sandbox.graph.delta import DELTA_TOKEN, EXPIRE_CURSOR, SKIP_TOKEN
from sandbox.graph.errors import (
    bad_request,
    delta_token_invalid,
    directory_access_denied,
    not_modelled,
    resync_required,
)
from sandbox.graph.filters import Field, Fields, Kind, Predicate, read_filter
from sandbox.graph.odata import next_link, read_options
from sandbox.graph.operations import USER_READ, Context, needs
from sandbox.graph.users import user_json, wanted_properties
from sandbox.http import Json, Response, Route
from sandbox.settings import seconds

LIFETIME = "graph.users_delta_lifetime"
SETTINGS = {LIFETIME: seconds(7 * 24 * 3600, "how long a token of users/delta is good")}
PAGE, MOST_IDS, LATEST = 100, 50, "latest"
_FIELDS = Fields(
    "microsoft.graph.user in change tracking",
    {"id": Field(Kind.EXACT, lambda account: account.id, str.lower)},
    comparators=frozenset({ast.Eq}),
    functions=frozenset(),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Position:
    """How far a client has come, as its token says.

    A full round has told all accounts up to the id `after`; any other tells what has changed since the entry `since` of
    the history, and has told it up to `seen`. The next round begins at `start`.
    """

    select: str
    filter: str
    issued: str
    start: int
    full: bool = False
    after: str = ""
    since: int = 0
    seen: int = 0


class DirectoryChanges:
    """Answers `users/delta`."""

    def __init__(self, cloud: Cloud, directory: Directory) -> None:
        """Read from `directory`; the setting is declared to `cloud`."""
        self._cloud = cloud
        self._directory = directory
        cloud.settings.declare(SETTINGS)

    def routes(self) -> list[Route]:
        """The function, in both spellings of its name, with the permissions that it needs."""
        tracked = needs(USER_READ, directory_access_denied(), self._changes)
        return [Route("GET", f"/users/{name}", tracked) for name in ("delta", "delta()")]

    async def _changes(self, context: Context) -> Response:
        position = self._position(context)
        names = wanted_properties(context, tuple(filter(None, position.select.split(","))))
        matches = _read_ids(position.filter)
        rows = list(self._everybody(position) if position.full else self._changed(position, names))
        rows = [(mark, one, account) for mark, one, account in rows if matches(one)]
        page, is_last = rows[:PAGE], len(rows) <= PAGE
        body: dict[str, Json] = {
            "@odata.context": context.metadata("users", select=names if position.select else ()),
            "value": [self._row(one, account, names) for _, one, account in page],
        }
        position = replace(position, issued=context.at.isoformat())
        url = f"{context.request.base}{context.request.path}"
        if is_last:
            done = replace(position, full=False, after="", since=position.start, seen=position.start)
            body["@odata.deltaLink"] = f"{url}?{DELTA_TOKEN}={seal(asdict(done))}"
        else:
            number, one, _ = page[-1]
            left = replace(position, after=one.id) if position.full else replace(position, seen=number)
            body["@odata.nextLink"] = f"{url}?{SKIP_TOKEN}={seal(asdict(left))}"
        return context.answer(200, body)

    def _position(self, context: Context) -> _Position:
        """Where the call begins to read. Raises `GraphError` for a token that is none, or no more."""
        allowed, tokens = frozenset({"$select", "$filter"}), frozenset({DELTA_TOKEN, SKIP_TOKEN})
        read_options(context.request, allowed, fields=_FIELDS, others=tokens)
        given = {name.lower(): value for name, value in context.request.query}
        now = len(self._directory.history)
        name = next((name for name in (DELTA_TOKEN, SKIP_TOKEN) if given.get(name)), None)
        if name is None or given[name] == LATEST:
            begun = _Position(
                select=given.get("$select", ""),
                filter=given.get("$filter", ""),
                issued="",
                start=now,
                full=name is None,
            )
            return replace(begun, since=now, seen=now)
        if len(given) > 1:
            raise not_modelled(f"query options beside '{name}'")
        values = unseal(given[name])
        if values is None or "issued" not in values:
            raise delta_token_invalid(name)
        position = _Position(**values)
        age = context.at - datetime.fromisoformat(position.issued)
        is_expired = self._cloud.faults.take(context.call, EXPIRE_CURSOR) is not None
        if is_expired or age >= timedelta(seconds=self._cloud.settings[LIFETIME]) or position.start > now:
            context.call.fault = EXPIRE_CURSOR if is_expired else context.call.fault
            raise resync_required(_beginning(context, position))
        return position if name == SKIP_TOKEN else replace(position, start=now)

    def _everybody(self, position: _Position) -> Iterator[tuple[int, Account, Account | None]]:
        for account_id, account in sorted(self._directory.accounts.items()):
            if account_id > position.after:
                yield 0, account, account

    def _changed(self, position: _Position, names: tuple[str, ...]) -> Iterator[tuple[int, Account, Account | None]]:
        """Whose tracked properties are others now, in the order of the last change, and how he is now."""
        history, first, last = self._directory.history, dict[str, Account | None](), dict[str, int]()
        for number, change in enumerate(history[position.since :], start=position.since + 1):
            first.setdefault(change.account_id, change.before)
            last[change.account_id] = number
        for account_id, number in sorted(last.items(), key=lambda item: item[1]):
            before, now = first[account_id], self._directory.accounts.get(account_id)
            known = now or history[number - 1].before
            if number <= position.seen or known is None:
                continue
            if before is None or now is None or user_json(before, names) != user_json(now, names):
                yield number, known, now

    def _row(self, one: Account, account: Account | None, names: tuple[str, ...]) -> dict[str, Json]:
        if account is None:
            reason = "changed" if one.id in self._directory.removed else "deleted"
            return {"id": one.id, "@removed": {"reason": reason}}
        return {**user_json(account, names), "id": account.id}


def _read_ids(text: str) -> Predicate:
    """The filter of a round. Raises `GraphError`."""
    if not text:
        return lambda _account: True
    if text.lower().count(" eq ") > MOST_IDS:
        raise bad_request(f"A filter of change tracking must not have more than {MOST_IDS} ids.")
    return read_filter(text, _FIELDS)


def _beginning(context: Context, position: _Position) -> str:
    """The URL of a full round of the same kind."""
    query = (("$select", position.select), ("$filter", position.filter))
    begun = replace(context.request, query=tuple((name, value) for name, value in query if value))
    return next_link(begun, deltatoken="")
