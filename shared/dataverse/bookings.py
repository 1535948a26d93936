"""Bookings over the Dataverse Web API. Implements `shared.sync.ports.BookingSide`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote, urlencode

from shared.dataverse.organization import HEADERS, ROOT, Organization
from shared.dataverse.wire import COLUMNS, ENTITY_SET, booking_of, columns_of, query_of, row_of, status_of
from shared.errors import (
    BookingSyncError,
    DeniedError,
    GoneError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
)
from shared.http import Caller, HttpResponse, error_codes, without_host
from shared.sync.model import Booking, BookingChange, BookingId, BookingRow, MailboxId, ResourceId, Status

NO_SUCH_ROW = frozenset({"0x80040217", "0x80060891", ""})
"""Codes of a missing row; the documentation's own sample leaves the code empty."""
BUSY_DATABASE = frozenset({"0x80044150", "0x80044151"})
"""Codes of a deadlock and of a time-out in the database: nothing was done."""
ABORTED = "0x80040265"
"""Business logic refused the operation (Microsoft docs, "Compose HTTP requests and handle errors")."""
_PRIVILEGE = re.compile(r"\bprv\w+")

RESOURCES_WITH_USERS = (
    "bookableresources?$select=bookableresourceid&$expand=UserId($select=azureactivedirectoryobjectid)"
    "&$filter=_userid_value%20ne%20null"
)


CANCELED_STATUSES = (
    "bookingstatuses?$select=bookingstatusid,name,status,msdyn_fieldservicestatus&$filter=status%20eq%203"
)


class DataverseBookings:
    """The bookings of one organisation."""

    def __init__(
        self,
        caller: Caller,
        *,
        organization: Organization,
        columns: frozenset[str] = frozenset(),
        mailboxes: Mapping[ResourceId, MailboxId],
        canceled_name: str = "",
    ) -> None:
        """`organization` is the only one this app works for (R14); `columns` are read for conditions.

        `mailboxes` are the administrator's word on which resource has which mailbox, `canceled_name` names the status
        of a booking whose event was deleted.
        """
        self._canceled_name = canceled_name
        self._canceled = ""
        self._caller = caller
        self._organization = organization
        self._mailboxes = mailboxes
        self._query = urlencode(query_of(columns), quote_via=quote, safe="$(),=;")

    async def get_booking(self, booking: BookingId) -> Booking | None:
        """The row as it is now, with everything that its event shows."""
        await self._organization.check()
        path = f"{ROOT}/{ENTITY_SET}({booking})?{self._query}"
        try:
            answer = await self._caller.call("GET", path, headers=HEADERS, refine=_not_found, lane=booking)
        except GoneError:
            return None
        row = answer.json()
        if not isinstance(row, dict):
            raise RefusedError("Dataverse answered without a row")
        return booking_of(row, self._mailboxes)

    async def update_booking(self, booking: BookingId, version: int, change: BookingChange, tag: str) -> BookingRow:
        """Write `change` if the row still has `version`, which its etag is made of.

        A repetition cannot do harm: once it has happened, the row has another version.
        """
        await self._organization.check()
        query = urlencode({"$select": ",".join(COLUMNS), "tag": tag}, quote_via=quote, safe="$,")
        answer = await self._caller.call(
            "PATCH",
            f"{ROOT}/{ENTITY_SET}({booking})?{query}",
            headers={**HEADERS, "If-Match": f'W/"{version}"', "Prefer": "return=representation"},
            body=columns_of(change),
            repeatable=True,
            refine=_not_written,
            lane=booking,
        )
        try:
            row = row_of(answer.json())
        except ValueError as error:
            raise OutcomeUnknownError("Dataverse answered an update without its row") from error
        if row.id != booking:
            raise OutcomeUnknownError("Dataverse answered an update with another row")
        return row

    async def canceled_status(self) -> str:
        """The id of the status of canceled bookings, as set or as the only one there is; asked for once."""
        if not self._canceled:
            await self._organization.check()
            answer = await self._caller.call("GET", f"{ROOT}/{CANCELED_STATUSES}", headers=HEADERS)
            try:
                statuses = [status_of(row) for row in answer.json()["value"]]
            except (KeyError, TypeError, AttributeError) as error:
                raise UnavailableError("Dataverse answered without a list of statuses") from error
            self._canceled = _only(statuses, self._canceled_name)
        return self._canceled

    async def mailboxes(self) -> Mapping[ResourceId, MailboxId]:
        """The Entra object ids of all users behind resources, whatever state either is in, and what is set beside."""
        await self._organization.check()
        path = f"{ROOT}/{RESOURCES_WITH_USERS}"
        found: dict[ResourceId, MailboxId] = {}
        while path:
            answer = await self._caller.call("GET", path, headers={**HEADERS, "Prefer": "odata.maxpagesize=5000"})
            body = answer.json()
            try:
                for row in body["value"]:
                    mailbox = (row["UserId"] or {}).get("azureactivedirectoryobjectid")
                    if mailbox:
                        found[ResourceId(row["bookableresourceid"].lower())] = MailboxId(mailbox.lower())
                path = without_host(body.get("@odata.nextLink", ""))
            except (AttributeError, KeyError, TypeError) as error:
                raise UnavailableError("Dataverse answered without a list of resources") from error
        return {**found, **self._mailboxes}


def _only(statuses: Sequence[Status], name: str) -> str:
    """The status with that name; without one, the only one, or the only one of Field Service."""
    named = [status for status in statuses if status.name == name] if name else list(statuses)
    of_field_service = [status for status in named if status.detail is not None]
    for choice in (named, of_field_service):
        if len(choice) == 1:
            return choice[0].id
    there = ", ".join(sorted(status.name for status in statuses)) or "none"
    raise RefusedError(
        f"SYNC_CANCELED_STATUS must name the status of a booking whose event was deleted; there are: {there}"
    )


def _not_found(response: HttpResponse, said: str) -> BookingSyncError | None:
    """Only "no such row" means that the booking is gone (R3).

    A wrong address or an unknown column answers 404, too, and so may a gateway, without a code of Dataverse.
    """
    if response.status != HTTPStatus.NOT_FOUND:
        return None
    codes = set(error_codes(response))
    if not codes:
        return UnavailableError(said)
    return GoneError(said) if codes <= NO_SUCH_ROW else RefusedError(said)


def _not_written(response: HttpResponse, said: str) -> BookingSyncError | None:
    """Why a write was refused. What Dataverse says in words is not quoted: it may name people and customers."""
    codes = set(error_codes(response))
    if codes & BUSY_DATABASE:
        return UnavailableError(said)
    if ABORTED in codes:
        return RefusedError(
            f"{said}: a plug-in, workflow or business rule in Dynamics 365 does not allow this change; make it there "
            "by hand to read why"
        )
    if response.status == HTTPStatus.FORBIDDEN and (
        privilege := _PRIVILEGE.search(response.body.decode(errors="replace"))
    ):
        return DeniedError(f"{said}: the security role of the app's user in Dynamics 365 lacks {privilege[0]}")
    return _not_found(response, said)
