"""Change tracking: every row of a table once, then only what has changed since.

Microsoft docs, "Use change tracking to synchronize data with external systems": `Prefer: odata.track-changes`, delta
links, deleted rows, `$count`, refused query options, changes in the order of their versions and deletions after them;
"Organization table reference" (`ExpireChangeTrackingInDays`). The wording of an expired token is the platform's
ExpiredVersionStamp. Unverified: that its status is 400, that a row changed while pages are read comes again on a later
page, that a page after the first needs no preference, that a deleted row that was made again counts as changed only,
and that a token newer than the environment counts as expired.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from sandbox.cloud import Cloud
from sandbox.dataverse import errors
from sandbox.dataverse.query import LARGEST_PAGE, read_token, write_token
from sandbox.dataverse.reads import next_link
from sandbox.dataverse.schema import Reference, Schema, Table
from sandbox.dataverse.state import Deletion, Row, State
from sandbox.dataverse.tables import ORGANIZATION
from sandbox.dataverse.visits import Place, Visit
from sandbox.http import Json, Response
from sandbox.recorder import Call
from sandbox.settings import Setting

EXPIRE_CURSOR = "expire_cursor"
"""A fault: the call's delta token counts as expired."""
SWITCH = "dataverse.change_tracking"
EXPIRES_AFTER = "expirechangetrackingindays"
DEFAULT_DAYS = 7
TRACKED = ("account", "bookableresource", "bookableresourcebooking", "bookingstatus", "msdyn_workorder", "systemuser")
REFUSED = ("$filter", "$orderby", "$expand", "$top")
ROWS, DELETIONS = 0, 1
_TIME = "%m/%d/%Y %H:%M:%S"
_TOKEN = re.compile(r"(\d{1,19})!(\d{2}/\d{2}/\d{4} \d{2}:\d{2}:\d{2})")


class Tracking:
    """Which tables are tracked: those of the setting, and those that somebody turned it on for."""

    def __init__(self, cloud: Cloud, schema: Schema) -> None:
        """The setting is declared to `cloud`."""
        self._cloud = cloud
        self._turned_on: set[str] = set()
        cloud.settings.declare(
            {
                SWITCH: Setting(
                    default=list(TRACKED),
                    accepts=lambda value: isinstance(value, list) and all(one in list(schema.tables) for one in value),
                    values="a list of logical names of tables",
                    meaning="the tables whose changes are tracked from the beginning",
                )
            }
        )

    def reset(self) -> None:
        """Forget what was turned on."""
        self._turned_on.clear()

    def is_on(self, table: Table) -> bool:
        """Whether changes of `table` can be asked for."""
        return table.name in self._turned_on or table.name in self._cloud.settings[SWITCH]

    def turn_on(self, table: Table) -> None:
        """Track `table` from now on; there is no way back."""
        self._turned_on.add(table.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point in the environment's history, as a delta token holds it."""

    version: int
    at: datetime

    @classmethod
    def of(cls, token: str) -> Point:
        """Read a `$deltatoken`. Refuses what is none."""
        match = _TOKEN.fullmatch(token)
        try:
            if match is not None:
                return cls(version=int(match[1]), at=datetime.strptime(match[2], _TIME).replace(tzinfo=UTC))
        except ValueError:  # digits that are no date
            pass
        raise errors.query(f"The delta token '{token}' is malformed.")

    @property
    def token(self) -> str:
        """The `$deltatoken`."""
        return f"{self.version}!{self.at:{_TIME}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a page ends: after which entry, and the point at which the first page of the round was read."""

    number: int
    start: Point
    last: tuple[int, int] = (-1, -1)

    @classmethod
    def of(cls, token: str) -> Position:
        """Read a `$skiptoken`. Refuses what is none."""
        number, held = read_token(token, tracking=True)
        match held:
            case [str(start), int(kind), int(version)]:
                return cls(number=number, start=Point.of(start), last=(kind, version))
        raise errors.query("Malformed paging cookie in $skiptoken.")

    def token(self, last: tuple[int, int]) -> str:
        """The `$skiptoken` of the page after the entry `last`."""
        return write_token(self.number + 1, [self.start.token, *last], tracking=True)


def wants_changes(visit: Visit) -> bool:
    """Whether a GET is about changes: by its preference, its delta token, or the page that it asks for."""
    options = visit.options
    return (
        visit.preferences.track_changes
        or "$deltatoken" in options
        or 'istracking="True"' in options.get("$skiptoken", "")
    )


class Changes:
    """Answers GET with `Prefer: odata.track-changes` and of delta links."""

    def __init__(self, cloud: Cloud, state: State, tracking: Tracking, organization_id: str) -> None:
        """Read from `state`; the fault `expire_cursor` is declared to `cloud`."""
        self._cloud = cloud
        self._state = state
        self._tracking = tracking
        self._organization = Reference(ORGANIZATION.name, organization_id)
        cloud.faults.declare(EXPIRE_CURSOR)

    def answer(self, visit: Visit, place: Place, call: Call) -> Response:
        """The answer to a GET of `place`."""
        visit.may_read(place.table)
        for name in REFUSED:
            if name in visit.options:
                message = f'The "{name}" query parameter isn\'t supported when Change Tracking is enabled.'
                raise errors.query(message)
        if not self._tracking.is_on(place.table):
            raise errors.untracked(place.table.name)
        match place.row_id, place.rest:
            case None, ():
                return self._page(visit, place.table, self._since(visit, call))
            case None, ("$count",) if "$deltatoken" in visit.options:
                visit.query(self._state, place.table, "$select", "$deltatoken")
                count = len(self._entries(place.table, self._since(visit, call)))
                return Response(status=200, headers={"Content-Type": "text/plain"}, body=str(count).encode())
        raise errors.not_modelled(f"change tracking of {visit.request.path}")

    def _since(self, visit: Visit, call: Call) -> Point | None:
        """The point that the call's delta token names; `None` asks for everything."""
        token = visit.options.get("$deltatoken")
        if token is None:
            return None
        since = Point.of(token)
        days = self._state.must_find(self._organization).get(EXPIRES_AFTER)
        oldest = self._cloud.clock.now() - timedelta(days=days if isinstance(days, int) else DEFAULT_DAYS)
        if self._cloud.faults.take(call, EXPIRE_CURSOR) is not None:
            call.fault = EXPIRE_CURSOR
            raise errors.expired_token()
        if since.at < oldest or since.version > self._state.version:
            raise errors.expired_token()
        return since

    def _page(self, visit: Visit, table: Table, since: Point | None) -> Response:
        """One page; the round's delta link stands on its last one and leads to the time of its first one."""
        query = visit.query(self._state, table, "$select", "$skiptoken", "$deltatoken")
        token = visit.options.get("$skiptoken")
        now = Point(version=self._state.version, at=self._cloud.clock.now().replace(microsecond=0))
        position = Position(number=1, start=now) if token is None else Position.of(token)
        rest = [entry for entry in self._entries(table, since) if entry[0] > position.last]
        shown = rest[: visit.preferences.page_size or LARGEST_PAGE]
        representation = visit.representation(self._state)
        context = f"{table.set_name}{query.selection.context}{'' if since is None else '/$delta'}"
        body: dict[str, Json] = {"@odata.context": visit.context(context)}
        if len(shown) == len(rest):
            body["@odata.deltaLink"] = _delta_link(visit, table, position.start)
        body["value"] = [
            representation.of(entry, query.selection) if isinstance(entry, Row) else _deleted(visit, table, entry)
            for _, entry in shown
        ]
        if len(shown) < len(rest):
            body["@odata.nextLink"] = next_link(visit, position.token(shown[-1][0]))
        return Response.of_json(200, body, {**errors.HEADERS, **visit.preferences.headers})

    def _entries(self, table: Table, since: Point | None) -> list[tuple[tuple[int, int], Row | Deletion]]:
        """Rows by version, then deletions; each with its place in the round."""
        version = 0 if since is None else since.version
        entries: list[tuple[tuple[int, int], Row | Deletion]] = [
            ((ROWS, row.version), row) for row in self._state.rows(table.name) if row.version > version
        ]
        if since is not None:
            latest = {one.id: one for one in self._state.deletions if one.table == table.name and one.version > version}
            entries += [
                ((DELETIONS, one.version), one) for one in latest.values() if self._state.find(one.reference) is None
            ]
        return sorted(entries, key=lambda entry: entry[0])


def _deleted(visit: Visit, table: Table, deletion: Deletion) -> dict[str, Json]:
    return {
        "@odata.context": visit.context(f"{table.set_name}/$deletedEntity"),
        "id": deletion.id,
        "reason": "deleted",
    }


def _delta_link(visit: Visit, table: Table, point: Point) -> str:
    select = visit.options.get("$select")
    selected = "" if select is None else f"$select={quote(select, safe=',')}&"
    token = re.sub("%..", lambda match: match[0].lower(), quote(point.token, safe=""))
    return f"{visit.root}/{table.set_name}?{selected}$deltatoken={token}"
