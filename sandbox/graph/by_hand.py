"""What people do in Outlook for which Graph has no operation: move an event to another calendar, take back a deletion.

Unverified: that a move is told as an update, and that a restored event is told as a new one.
"""

from __future__ import annotations

from sandbox.clock import Clock
from sandbox.directory import Directory
from sandbox.graph.state import State

MOVE, RESTORE = "move", "restore"


class ByHand:
    """The hands of the owners of mailboxes."""

    def __init__(self, clock: Clock, directory: Directory, state: State) -> None:
        """Work on `state`."""
        self._clock = clock
        self._directory = directory
        self._state = state

    def do(self, what: str, user: str, event_id: str, calendar: str) -> str:
        """Do it to an event, and give its new id. Raises `ValueError` for what cannot be done."""
        account = self._directory.find(user)
        if account is None or not account.has_mailbox:
            raise ValueError(f"there is no mailbox of '{user}'")
        mailbox, at = self._state.mailbox(account), self._clock.now()
        event = mailbox.find(event_id) if what == MOVE else mailbox.deleted.get(event_id)
        if what not in (MOVE, RESTORE):
            raise ValueError(f"'do' must be {MOVE} or {RESTORE}")
        if event is None or event.master is not None:
            raise ValueError("there is no such event; one that was deleted is called by its immutable id")
        if what == RESTORE:
            self._state.restore(mailbox, event, at)
            return event.folder_id
        wanted = next((one for one in mailbox.calendars.values() if one.name == calendar), None)
        if wanted is None:
            raise ValueError(f"there is no calendar '{calendar}' in this mailbox")
        self._state.move(mailbox, event, wanted, at)
        return event.folder_id
