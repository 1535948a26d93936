"""What the paths and windows of calls stand for: mailboxes, calendars, spans of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus

from sandbox.directory import Directory
from sandbox.graph.errors import (
    GraphError,
    id_malformed,
    invalid_parameter,
    item_not_found,
    mailbox_missing,
    mailbox_user_invalid,
)
from sandbox.graph.odata import Options
from sandbox.graph.state import Calendar, Mailbox, State, is_item_id
from sandbox.graph.times import read_instant

LONGEST_VIEW = timedelta(days=5 * 366)
WINDOW = frozenset({"startdatetime", "enddatetime"})


def find_mailbox(directory: Directory, state: State, user: str) -> Mailbox:
    """The mailbox of `user`. Raises `GraphError` for nobody and for accounts without one."""
    account = directory.find(user)
    if account is None:
        raise mailbox_user_invalid(user)
    if not account.has_mailbox:
        raise mailbox_missing()
    return state.mailbox(account)


def find_calendar(mailbox: Mailbox, calendar: str | None) -> Calendar:
    """The calendar with this id, or the default one. Raises `GraphError`."""
    if not calendar:
        return mailbox.default_calendar
    if not is_item_id(calendar):
        raise id_malformed()
    if calendar not in mailbox.calendars:
        raise item_not_found()
    return mailbox.calendars[calendar]


def read_window(options: Options) -> tuple[datetime, datetime]:
    """The window of a calendar view. Raises `GraphError`."""
    if not set(options.others) >= WINDOW:
        raise invalid_parameter(
            "This request requires a time window specified by the query string parameters StartDateTime and "
            "EndDateTime."
        )
    bounds = []
    for name, shown in (("startdatetime", "StartDateTime"), ("enddatetime", "EndDateTime")):
        value = options.others[name]
        try:
            # a plus sign that was not encoded arrives as a blank
            bounds.append(read_instant(value.replace(" ", "+")))
        except ValueError:
            raise invalid_parameter(f"The value '{value}' of parameter '{shown}' is invalid.") from None
    begin, end = bounds
    if end < begin:
        raise invalid_parameter("The value of parameter 'EndDateTime' must not be before 'StartDateTime'.")
    if end - begin > LONGEST_VIEW:
        raise GraphError(
            HTTPStatus.BAD_REQUEST,
            "ErrorCalendarViewRangeTooBig",
            "The specified view range exceeds the maximum range of five years.",
        )
    return begin, end
