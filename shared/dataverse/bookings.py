"""Bookings over the Dataverse Web API. Implements `shared.sync.ports.BookingSide`."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote, urlencode

from shared.dataverse.organization import HEADERS, ROOT, Organization
from shared.dataverse.wire import ENTITY_SET, booking_of, query_of
from shared.errors import BookingSyncError, GoneError, RefusedError, UnavailableError
from shared.http import Caller, HttpResponse, error_codes, without_host
from shared.sync.model import Booking, BookingId, MailboxId, ResourceId

NO_SUCH_ROW = frozenset({"0x80040217", "0x80060891", ""})
"""Codes of a missing row; the documentation's own sample leaves the code empty."""

RESOURCES_WITH_USERS = (
    "bookableresources?$select=bookableresourceid&$expand=UserId($select=azureactivedirectoryobjectid)"
    "&$filter=_userid_value%20ne%20null"
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
    ) -> None:
        """`organization` is the only one this app works for (R14); `columns` are read for conditions.

        `mailboxes` are the administrator's word on which resource has which mailbox.
        """
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
