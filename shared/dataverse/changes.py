"""Changes of tables over the Dataverse Web API. Implements `shared.sync.pull.ChangeFeed`.

Microsoft docs, "Use change tracking to synchronize data with external systems": `Prefer: odata.track-changes` on a flat
`$select` gives all rows and a delta link, the delta link all changed and deleted rows and the next one. Links are
followed to the letter, but always to the organisation that the app is bound to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from shared.dataverse.organization import HEADERS, ROOT, Organization
from shared.dataverse.wire import COLUMNS, ENTITY_SET
from shared.errors import BookingSyncError, CursorExpiredError, RefusedError
from shared.http import Caller, HttpResponse, without_host
from shared.sync.model import ResourceId
from shared.sync.pull import Page, Row, Table

FIRST_PAGE = 5000
"""Rows of a page while a whole table is passed: the most that Dataverse gives."""
PAGE = 500
"""Rows of a page that is worked off."""
LONGEST_LINK = 30_000
"""Characters; what can be stored, and about what a GET can carry."""

SETS: Mapping[Table, tuple[str, tuple[str, ...]]] = {
    Table.BOOKING: (ENTITY_SET, COLUMNS),
    Table.STATUS: ("bookingstatuses", ("bookingstatusid", "name", "status", "msdyn_fieldservicestatus")),
    Table.RESOURCE: ("bookableresources", ("bookableresourceid", "name", "resourcetype", "_userid_value")),
    Table.WORK_ORDER: ("msdyn_workorders", ("msdyn_workorderid", "msdyn_name", "_msdyn_serviceaccount_value")),
    Table.ACCOUNT: ("accounts", ("accountid", "name")),
    Table.USER: ("systemusers", ("systemuserid", "azureactivedirectoryobjectid", "isdisabled")),
}
"""Entity set and columns of each table, the primary key first."""
SHOWN_BY: Mapping[Table, str] = {
    Table.STATUS: "_bookingstatus_value",
    Table.RESOURCE: "_resource_value",
    Table.WORK_ORDER: "_msdyn_workorder_value",
    Table.ACCOUNT: "msdyn_workorder/_msdyn_serviceaccount_value",
    Table.USER: "Resource/_userid_value",
}
"""How a booking leads to a row of the other tables."""


class DataverseChanges:
    """The changes of one organisation."""

    def __init__(self, caller: Caller, organization: Organization) -> None:
        """`organization` is the only one this app works for (R14)."""
        self._caller = caller
        self._organization = organization

    async def changes(self, table: Table, link: str, *, is_first: bool) -> Page:
        """A page of changes; without a link the first one of all rows."""
        entity_set, columns = SETS[table]
        path = link or f"{ROOT}/{entity_set}?$select={','.join(columns)}"
        page = await self._page(path, columns[0], FIRST_PAGE if is_first else PAGE, link, "odata.track-changes,")
        if not page.next_link and not page.delta_link:
            raise RefusedError(f"Dataverse does not track the changes of {table}: turn it on in the table's settings")
        return page

    async def bookings(self, link: str) -> Page:
        """A page of a search for bookings."""
        return await self._page(link, COLUMNS[0], PAGE, link)

    def showing(self, table: Table, ids: Sequence[str], *, ending_from: datetime, starting_until: datetime) -> str:
        """The bookings within the times that show one of these rows."""
        any_of = " or ".join(f"{SHOWN_BY[table]} eq {id_}" for id_ in ids)
        return _search(f"({any_of}) and endtime ge {_time(ending_from)} and starttime le {_time(starting_until)}")

    def between(self, starting_after: datetime, starting_until: datetime, *, ending_from: datetime) -> str:
        """The bookings within the times."""
        return _search(
            f"starttime gt {_time(starting_after)} and starttime le {_time(starting_until)} "
            f"and endtime ge {_time(ending_from)}"
        )

    async def _page(self, path: str, key: str, size: int, link: str, preference: str = "") -> Page:
        """One answer. Raises `CursorExpiredError` when a `link` is not taken back."""
        await self._organization.check()
        headers = {**HEADERS, "Prefer": f"{preference}odata.maxpagesize={size}"}
        answer = await self._caller.call("GET", path, headers=headers, refine=_expired if link else None)
        body = answer.json()
        try:
            return Page(
                rows=tuple(_row(row, key) for row in body["value"]),
                next_link=_path(body.get("@odata.nextLink")),
                delta_link=_path(body.get("@odata.deltaLink")),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RefusedError(f"Dataverse answered with a page that cannot be read: {type(error).__name__}") from error


def _search(condition: str) -> str:
    query = {"$select": f"{COLUMNS[0]},_resource_value", "$filter": condition}
    return f"{ROOT}/{ENTITY_SET}?{urlencode(query, quote_via=quote, safe='$(),/')}"


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _expired(response: HttpResponse, said: str) -> BookingSyncError | None:
    """A link that Dataverse itself gave out is refused when its token is too old (seven days by default) or damaged."""
    return CursorExpiredError(said) if response.status in (400, 410) else None


def _row(row: Mapping[str, Any], key: str) -> Row:
    if "reason" in row:
        return Row(id=row["id"].lower(), is_deleted=row["reason"] == "deleted")
    resource, version = row.get("_resource_value"), row.get("versionnumber")
    return Row(
        id=row[key].lower(),
        version=None if version is None else int(version),
        resource=ResourceId(resource.lower()) if resource else None,
    )


def _path(link: str | None) -> str:
    if not link:
        return ""
    parts = urlsplit(link)
    if parts.scheme != "https" or not parts.path.startswith("/api/data/") or len(link) > LONGEST_LINK:
        raise ValueError("not a link of the Web API")
    return without_host(link)
