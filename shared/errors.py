"""Everything that can go wrong, by what it means for the one who has to go on.

BookingSyncError
├── SettingsError             an operator must act; the app refuses to work
├── InvalidPostError          a post that cannot be accepted: answered with its status, nothing is stored
├── TransientError            nothing happened, or nothing that repeating could harm: try again after `retry_after`
│   ├── ThrottledError        the service asks for patience
│   ├── NotSentError          the request never reached the service
│   ├── CredentialError       the app cannot prove who it is: an operator must act, and nothing is lost until then
│   └── UnavailableError      the service or the storage is down for now
├── OutcomeUnknownError       a write was sent and no answer came: look before repeating it
├── PreconditionError         somebody else was faster: take a new snapshot and decide again
├── GoneError                 the row or the event does not exist (any more)
├── EpochMissingError         the stored links of a shard may not be complete: rebuild them first (R2a)
├── MailboxGoneError          the whole mailbox cannot be reached, which says nothing about an event in it (R3)
├── CursorExpiredError        a place in a feed of changes cannot be returned to: read from the start
├── QuarantinedError          so many events would go at once that an administrator has to approve it (R4)
├── DuplicateError            the service knows this idempotency key already and names what it made
└── RefusedError              the service says no: permanent until somebody changes something
    ├── DeniedError           the app's rights do not suffice: an operator must grant them
    │   └── TokenRefusedError a service does not take the app's tokens, which says nothing about any one mailbox
    └── KeysUsedUpError       every idempotency key that was tried had been used for something else

No exception of a library leaves a client. Messages carry operation, status, code and request id, never content.
"""

from __future__ import annotations

from datetime import timedelta


class BookingSyncError(Exception):
    """The root of all errors of this app."""

    next_step = "Look up the booking with its journal and repeat the change once the cause is known."


class SettingsError(BookingSyncError):
    """A setting is missing or wrong; the message names it and says what it must be."""

    next_step = "Correct the named app setting; the app reads it when it starts again."


class InvalidPostError(BookingSyncError):
    """A post that cannot be accepted, with the HTTP status that says why."""

    next_step = "Correct the sender: the answer's 'detail' names what is wrong."

    def __init__(self, status: int, detail: str) -> None:
        """`status` is a 4xx; `detail` must not quote the content of the post."""
        super().__init__(detail)
        self.status = status


class TransientError(BookingSyncError):
    """Nothing happened, or nothing that repeating could harm; `retry_after` is the service's own wish."""

    next_step = "Nothing to do: the change is repeated by itself until the attempts are used up."

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        """Say what failed and, when the service named a time, how long to wait."""
        super().__init__(message)
        self.retry_after = retry_after


class ThrottledError(TransientError):
    """Too many requests (429): nothing was done."""


class NotSentError(TransientError):
    """The connection could not be made: nothing was done."""


class UnavailableError(TransientError):
    """The service or the storage answered that it cannot answer now."""


class CredentialError(TransientError):
    """The app cannot prove who it is: its secret, certificate or managed identity was refused or cannot be read.

    No booking is at fault, so none is given up for it: all wait, as they do for a service that is down.
    """

    next_step = "Put a valid secret or certificate into Key Vault, or grant the app's identity what the message names."


class OutcomeUnknownError(BookingSyncError):
    """A write was sent and its answer is lost: it may have happened."""

    next_step = "Nothing to do: the next attempt looks for the result before it repeats the write."


class PreconditionError(BookingSyncError):
    """An etag moved: what was decided is out of date."""

    next_step = "Nothing to do: the change is decided again from what is there now."


class GoneError(BookingSyncError):
    """What was asked for does not exist (any more)."""

    next_step = "Check whether the booking or its event was deleted on purpose."


class EpochMissingError(BookingSyncError):
    """The table is new, or it was emptied: which events exist has to be found out first (R2a)."""

    next_step = "Nothing to do: the app lists its events in all mailboxes and goes on then."


class MailboxGoneError(BookingSyncError):
    """The mailbox as a whole cannot be reached: no licence, deleted, on premises."""

    next_step = "Give the user an Exchange Online mailbox, then replay the dead letters."


class CursorExpiredError(BookingSyncError):
    """A service does not take back the link that it gave out for going on: too old, or not understood any more."""

    next_step = "Nothing to do: the table is read from the start, and every booking in the window is looked at again."


class DuplicateError(BookingSyncError):
    """A create was refused because its idempotency key was used before; `existing` is the item made then, if told."""

    next_step = "Nothing to do: the existing event is adopted when it is ours."

    def __init__(self, message: str, *, existing: str | None) -> None:
        """`existing` is the id of the item that the first request made, when the service names it."""
        super().__init__(message)
        self.existing = existing


class QuarantinedError(BookingSyncError):
    """The deletion budget is used up (R4): the event stays until an administrator approves."""

    next_step = "Find out why so many events would go. If that is meant, approve it: POST /api/quarantine/approve."


class RefusedError(BookingSyncError):
    """The service refuses the request as it is; repeating it cannot help."""

    next_step = "Read code and request id in the dead letter, correct the cause, then replay the dead letters."


class KeysUsedUpError(RefusedError):
    """A create found one idempotency key after the other used up."""

    next_step = "Look into the mailbox's Deleted Items for this booking's events, then replay the dead letters."


class BookingRefusedError(RefusedError):
    """Dataverse refuses what people did to an event: its business logic does not allow it for this booking."""


class DeniedError(RefusedError):
    """The app may not do this (401, 403)."""

    next_step = "Grant the permission that the message names, check access policies, then replay the dead letters."


class TokenRefusedError(DeniedError):
    """A service does not take the app's tokens, not even a fresh one (401)."""
