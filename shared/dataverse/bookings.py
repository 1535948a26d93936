"""Bookings over the Dataverse Web API. Implements `shared.sync.ports.BookingSide`."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import quote, urlencode

from shared.dataverse.organization import HEADERS, ROOT, Organization
from shared.dataverse.wire import ENTITY_SET, booking_of, query_of
from shared.errors import BookingSyncError, GoneError, RefusedError, UnavailableError
from shared.http import Caller, HttpResponse, error_codes
from shared.sync.model import Booking, BookingId

NO_SUCH_ROW = frozenset({"0x80040217", "0x80060891", ""})
"""Codes of a missing row; the documentation's own sample leaves the code empty."""


class DataverseBookings:
    """The bookings of one organisation."""

    def __init__(self, caller: Caller, *, organization: Organization, columns: frozenset[str] = frozenset()) -> None:
        """`organization` is the only one this app works for (R14); `columns` are read for the filter."""
        self._caller = caller
        self._organization = organization
        self._query = urlencode(query_of(columns), quote_via=quote, safe="$(),=;")

    async def get_booking(self, booking: BookingId) -> Booking | None:
        """The row as it is now, with everything that its event shows, in one request."""
        await self._organization.check()
        path = f"{ROOT}/{ENTITY_SET}({booking})?{self._query}"
        try:
            answer = await self._caller.call("GET", path, headers=HEADERS, refine=_not_found)
        except GoneError:
            return None
        row = answer.json()
        if not isinstance(row, dict):
            raise RefusedError("Dataverse answered without a row")
        return booking_of(row)


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
