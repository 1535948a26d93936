"""Every app setting: its name, its meaning, its default. Parsed once; errors name the setting and what it must be.

A setting is a field of `Settings`; the text under it is its documentation. `local.settings.sample.json` and Bicep hold
the same names, and a test keeps the three equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from shared.errors import SettingsError
from shared.sync.budget import Limits
from shared.sync.merge import DEFAULT_EDITS, DEFAULT_WINNERS, Edit, Winner
from shared.sync.model import Field, MailboxId, ResourceId, ShowAs, StatusKind, fingerprint
from shared.sync.translate import Deleted
from shared.zones import Zone

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MOST_SHARDS = 64
MOST_REQUESTS = 64
_STATUSES = frozenset(StatusKind) | {"scheduled", "traveling", "on_break", "in_progress", "completed"}


def _text(value: str) -> str:
    return value


def _optional(value: str) -> str:
    """A text that may be set to empty on purpose."""
    return value


def _if_given[T](parse: Callable[[str], T]) -> Callable[[str], T | str]:
    """A value of that kind, or nothing."""
    return lambda value: parse(value) if value else ""


def _guid(value: str) -> str:
    if not _GUID.fullmatch(value.lower()):
        raise ValueError("must be a GUID such as 7a1d0000-0000-4000-8000-0000000000aa")
    return value.lower()


def _https(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not parts.netloc or parts.path not in ("", "/") or parts.query:
        raise ValueError("must be an address such as https://contoso.crm4.dynamics.com, without a path")
    return f"https://{parts.netloc}"


def _days(value: str) -> timedelta:
    if not value.isdecimal() or int(value) > 3650:  # noqa: PLR2004 - ten years
        raise ValueError("must be a number of days from 0 to 3650")
    return timedelta(days=int(value))


def _minutes(value: str) -> timedelta:
    if not value.isdecimal() or not 1 <= int(value) <= 10_080:  # noqa: PLR2004 - a week
        raise ValueError("must be a number of minutes from 1 to 10080")
    return timedelta(minutes=int(value))


def _up_to(most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not value.isdecimal() or not 1 <= int(value) <= most:
            raise ValueError(f"must be a number from 1 to {most}")
        return int(value)

    return parse


def _months(value: str) -> int:
    if not value.isdecimal() or int(value) > 120:  # noqa: PLR2004 - ten years
        raise ValueError("must be a number of months from 0 to 120")
    return int(value)


def _limits(value: str) -> Limits:
    found = re.fullmatch(r"(\d{1,6}), *(\d{1,3})%, *(\d{1,6})", value)
    if not found:
        raise ValueError("must be three numbers such as 20, 20%, 200: in a calendar, share of its events, altogether")
    events, percent, altogether = map(int, found.groups())
    return Limits(events=events, percent=percent, altogether=altogether)


def _pairs(value: str) -> list[tuple[str, str]]:
    """`a=b,c=d`, the left sides in lower case."""
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    return [(left.strip().lower(), right.strip()) for left, _, right in pairs]


def _mailboxes(value: str) -> Mapping[ResourceId, MailboxId]:
    pairs = _pairs(value.lower())
    if not all(_GUID.fullmatch(text) for pair in pairs for text in pair):
        raise ValueError(
            "must be pairs such as RESOURCE=USER, each a GUID: a bookable resource, a user or room in Entra"
        )
    return {ResourceId(resource): MailboxId(mailbox) for resource, mailbox in pairs}


def _by_status(value: str) -> Mapping[str, str]:
    rules = dict(_pairs(value))
    for status, shown in rules.items():
        if status not in _STATUSES and not _GUID.fullmatch(status):
            raise ValueError(f"names no status {status!r}; there are {', '.join(sorted(_STATUSES))} and status ids")
        if not shown:
            raise ValueError(f"says nothing of the status {status}")
    return rules


def _show_as(value: str) -> Mapping[str, ShowAs]:
    try:
        return {status: ShowAs(shown) for status, shown in _by_status(value).items()}
    except ValueError as error:
        known = ", ".join(ShowAs)
        raise ValueError(
            f"must be pairs such as proposed=tentative,committed=busy; {known} can be shown ({error})"
        ) from error


def _extension(value: str) -> tuple[str, str] | None:
    if value and not re.fullmatch(r"[\w.-]+:\w+", value, re.ASCII):
        raise ValueError("must name an open extension and a property in it, such as com.contoso.bookings:bookingId")
    name, _, property_ = value.partition(":")
    return (name, property_) if value else None


def _keep(value: str) -> bool:
    if value not in ("delete", "keep"):
        raise ValueError("must be delete or keep")
    return value == "keep"


def _by_field[T: StrEnum](values: type[T], default: Mapping[Field, T]) -> Callable[[str], Mapping[Field, T]]:
    """A value for every field: `time=park,subject=keep`, what is not named stays as it is by default."""

    def parse(value: str) -> Mapping[Field, T]:
        try:
            return {**default, **{Field(name): values(said) for name, said in _pairs(value)}}
        except ValueError as error:
            raise ValueError(
                f"must be pairs of a field ({', '.join(Field)}) and one of {', '.join(values)} ({error})"
            ) from error

    return parse


def _edits(value: str) -> Mapping[Field, Edit]:
    edits = _by_field(Edit, DEFAULT_EDITS)(value)
    wrong = [one for one, edit in edits.items() if edit is Edit.ACCEPT and one is not Field.TIME]
    if wrong:
        raise ValueError(f"cannot accept an edit of {', '.join(wrong)}: bookings only take times from a calendar")
    return edits


def _deleted(value: str) -> Deleted:
    if value not in set(Deleted):
        raise ValueError(f"must be one of {', '.join(Deleted)}")
    return Deleted(value)


def _given(given: str | None, default: str | None, *, may_be_empty: bool) -> str | None:
    """What counts: some texts may be set to empty on purpose, anything else then falls back to its default."""
    text = (given or "").strip()
    if text or (given is not None and may_be_empty):
        return text
    return default


def _unclear_identity(values: Mapping[str, Any]) -> Iterator[str]:
    """What stands in the way of knowing who the app is: a registration proven in one way, or the managed identity."""
    client, name, secret = (values.get(field) for field in ("client", "credential", "client_secret"))
    if name and secret:
        yield "IDENTITY_CREDENTIAL_NAME and IDENTITY_CLIENT_SECRET are both given, only one can count"
    if name and not values.get("keyvault"):
        yield "KEYVAULT_URL is missing, and IDENTITY_CREDENTIAL_NAME names something in it"
    if (name or secret) and not client:
        yield "IDENTITY_CLIENT_ID is missing, and the given credential is of no use without its registration"
    if client and not name and not secret:
        yield (
            "IDENTITY_CREDENTIAL_NAME is missing, by which the registration of IDENTITY_CLIENT_ID proves itself "
            "(without a registration, the managed identity is used)"
        )


def _unclear_data(values: Mapping[str, Any]) -> Iterator[str]:
    """What stands in the way of data that come along with notifications."""
    if not values.get("notification_certificate"):
        return
    if not values.get("keyvault"):
        yield "KEYVAULT_URL is missing, and GRAPH_NOTIFICATION_CERTIFICATE names something in it"
    if not values.get("client") and not values.get("managed_identity"):
        yield "AZURE_CLIENT_ID is missing: by it Graph names the app in what proves the data of notifications"


def _setting(name: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
    return field(metadata={"name": name, "parse": parse, "default": default})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The app's settings, typed."""

    storage: str = _setting("AzureWebJobsStorage", _text, "")
    """Connection string of the storage account; in Azure give `AzureWebJobsStorage__tableServiceUri` instead."""

    storage_tables: str = _setting("AzureWebJobsStorage__tableServiceUri", _text, "")
    """Table endpoint of the storage account, used with the app's identity when there is no connection string."""

    table: str = _setting("SYNC_TABLE", _text, "bookingsync")
    """Name of the table that holds marks, links, claims and the journal."""

    tenant: str = _setting("IDENTITY_TENANT_ID", _guid)
    """Entra tenant of the calendars and of Dynamics 365."""

    managed_identity: str = _setting("AZURE_CLIENT_ID", _if_given(_guid), "")
    """Client id of the app's user-assigned managed identity; empty for the system-assigned one."""

    client: str = _setting("IDENTITY_CLIENT_ID", _if_given(_guid), "")
    """App registration that reads bookings and writes calendars. Empty: the managed identity does it itself."""

    credential: str = _setting("IDENTITY_CREDENTIAL_NAME", _text, "")
    """Name of the registration's certificate or secret in the Key Vault."""

    client_secret: str = _setting("IDENTITY_CLIENT_SECRET", _text, "")
    """The registration's secret itself, instead of a name in the Key Vault: for development only."""

    keyvault: str = _setting("KEYVAULT_URL", _if_given(_https), "")
    """The Key Vault; the managed identity needs the role 'Key Vault Secrets User' there."""

    keep_secrets: timedelta = _setting("KEYVAULT_CACHE_MINUTES", _minutes, "480")
    """After how many minutes a secret is read from the Key Vault again. One that is refused is read again at once."""

    authority: str = _setting("IDENTITY_AUTHORITY", _https, "https://login.microsoftonline.com")
    """Where tokens come from; another address in national clouds."""

    graph: str = _setting("GRAPH_URL", _https, "https://graph.microsoft.com")
    """Microsoft Graph; another address in national clouds."""

    graph_scope: str = _setting("GRAPH_SCOPE", _text, "https://graph.microsoft.com/.default")
    """Audience of the tokens for Graph; another one in national clouds."""

    graph_requests: int = _setting("GRAPH_REQUESTS", _up_to(MOST_REQUESTS), "16")
    """How many requests to Graph are under way at once, 1 to 64. Each can carry twenty changes."""

    notification_url: str = _setting("GRAPH_NOTIFICATION_URL", _if_given(_https), "")
    """Where Graph reaches this app, such as https://contoso-booking-sync.azurewebsites.net; it is told of changes in
    calendars there. Empty: no subscriptions are made, and changes are found by asking for them only."""

    notification_certificate: str = _setting("GRAPH_NOTIFICATION_CERTIFICATE", _text, "")
    """Name of a certificate in the Key Vault for which Graph encrypts what has changed, so that an event that was moved
    need not be read. Empty: Graph tells only that an event has changed, and which."""

    dataverse: str = _setting("DATAVERSE_URL", _https)
    """The Dynamics 365 environment."""

    organization: str = _setting("DATAVERSE_ORGANIZATION_ID", _guid)
    """Its organisation id. The app works for no other, so that a copied environment cannot reach live mailboxes."""

    shards: int = _setting("SYNC_SHARDS", _up_to(MOST_SHARDS), "8")
    """Into how many parts the mailboxes are divided, 1 to 64. Changing it later needs an empty table."""

    past: timedelta = _setting("SYNC_WINDOW_PAST_DAYS", _days, "7")
    """A booking that ended longer ago gets no event. An event that exists is kept."""

    future: timedelta = _setting("SYNC_WINDOW_FUTURE_DAYS", _days, "180")
    """A booking that starts later than in so many days gets no event yet."""

    mailboxes: Mapping[ResourceId, MailboxId] = _setting("SYNC_MAILBOXES", _mailboxes, "")
    """Mailboxes of resources that are no users (rooms, equipment, crews), or have another than their user's: pairs
    RESOURCE=USER, separated by commas, each the id of a bookable resource and the object id of a user or room in
    Entra."""

    filter: str = _setting("SYNC_FILTER", _text, "")
    """Which bookings are wanted, as an OData condition over their columns; empty means all of them."""

    subject: str = _setting("SYNC_SUBJECT_TEMPLATE", _text, "{{ account or name }}")
    """Jinja template of an event's subject. Names: name, account, work_order, status, resource, start, end, columns."""

    body: str = _setting(
        "SYNC_BODY_TEMPLATE",
        _optional,
        "<p>{{ status }}{% if work_order %} &middot; {{ work_order }}{% endif %}</p>"
        '<p><a href="{{ link }}">Open the booking in Dynamics 365</a></p>',
    )
    """Jinja template of an event's HTML body; the same names and `link`, the address of the record."""

    show_as: Mapping[str, ShowAs] = _setting("SYNC_SHOW_AS", _show_as, "proposed=tentative,committed=busy")
    """What a booking status looks like in the calendar. A status is named by its id, its Field Service status
    (scheduled, traveling, on_break, in_progress, completed) or its kind (proposed, committed), in this order."""

    edits: Mapping[Field, Edit] = _setting("SYNC_EDITS", _edits, "time=accept,sensitivity=keep")
    """What becomes of people's edits of an event, by field (time, subject, body, show_as, sensitivity, category):
    accept (time only: the booking follows), keep (it stays until the booking changes there) or undo, for all others."""

    conflicts: Mapping[Field, Winner] = _setting("SYNC_CONFLICTS", _by_field(Winner, DEFAULT_WINNERS), "time=dataverse")
    """Whose value counts when both sides have changed a field whose edits are not undone anyway, by field: dataverse,
    outlook, or park, which leaves it to people. The journal keeps what lost."""

    on_deleted: Deleted = _setting("SYNC_EVENT_DELETED", _deleted, "cancel")
    """What follows when people delete or cancel an event: cancel the booking, restore the event, or park it for people
    to decide. The event comes back in any case if the booking was changed, too."""

    canceled_status: str = _setting("SYNC_CANCELED_STATUS", _optional, "")
    """Name of the booking status that a booking gets whose event was deleted; may be empty if there is only one of the
    kind canceled, or only one of Field Service."""

    category: str = _setting("SYNC_CATEGORY", _optional, "Dynamics 365")
    """Category of new events; empty for none."""

    categories: Mapping[str, str] = _setting("SYNC_STATUS_CATEGORIES", _by_status, "")
    """A category for each status, such as in_progress=Working,canceled=Canceled; statuses are named as in SYNC_SHOW_AS.
    An event has the one of its booking's status beside all others. Changing it costs a read, too."""

    zone: Zone = _setting("SYNC_TIME_ZONE", Zone.named, "UTC")
    """In which time zone events are written, by its Windows or IANA name. People see the times of their own calendar's
    zone anyway; this one is named beside them, and in invitations."""

    keeps_canceled: bool = _setting("SYNC_CANCELED", _keep, "delete")
    """What happens to the event of a canceled booking: delete, or keep it, free and with a prefix to its subject."""

    canceled_prefix: str = _setting("SYNC_CANCELED_PREFIX", _optional, "Canceled:")
    """What stands before the subject of an event that is kept although its booking is canceled."""

    mask: str = _setting("SYNC_MASK", _text, "")
    """Of which bookings neither subject nor body may be shown, as a condition like that of SYNC_FILTER; empty means
    none. Their events show when and how busy, and are private."""

    masked_subject: str = _setting("SYNC_MASK_SUBJECT", _optional, "Booking")
    """The subject of an event that SYNC_MASK hides."""

    extension: tuple[str, str] | None = _setting("SYNC_ADOPT_EXTENSION", _extension, "")
    """Where an older program has left the booking's id in its events: an open extension and a property in it, such as
    com.contoso.bookings:bookingId. Looked for while the table is new, then such events are taken over."""

    deletions: Limits = _setting("SYNC_DELETION_BUDGET", _limits, "20, 20%, 200")
    """How many events may go within an hour before an administrator has to approve it: of one calendar more than the
    first number only up to that share of those it has, and altogether. Canceled and reassigned bookings are free."""

    wake_queue: str = _setting("SYNC_WAKE_QUEUE", _text, "bookingsync-wake")
    """Storage queue that carries the names of shards with work."""

    wake_schedule: str = _setting("SYNC_WAKE_SCHEDULE", _text, "*/10 * * * * *")
    """When shards are woken that have due work and nobody woke: six fields, UTC."""

    pull_schedule: str = _setting("SYNC_PULL_SCHEDULE", _text, "0 */5 * * * *")
    """When Dataverse is asked for changes that no post has brought: six fields, UTC."""

    subscription_schedule: str = _setting("SYNC_SUBSCRIPTION_SCHEDULE", _text, "30 */5 * * * *")
    """When Graph is asked for subscriptions that are missing or about to end: six fields, UTC."""
    recovery_schedule: str = _setting("SYNC_RECOVERY_SCHEDULE", _text, "30 */10 * * * *")
    """When all calendars are asked for changes that no notification has brought: six fields, UTC."""

    sweep_schedule: str = _setting("SYNC_SWEEP_SCHEDULE", _text, "15 * * * * *")
    """When a sweep goes on that was begun: six fields, UTC. A run works for a minute. Once a week one begins by itself,
    which only reports."""

    housekeeping_schedule: str = _setting("SYNC_HOUSEKEEPING_SCHEDULE", _text, "0 */15 1-4 * * *")
    """When old rows are removed: six fields, UTC. A run works for a minute; there is one round a day, which needs
    several runs only where there is much to do."""

    journal_months: int = _setting("SYNC_JOURNAL_MONTHS", _months, "3")
    """How many whole months of the journal are kept beside the present one."""

    dead_letter_life: timedelta = _setting("SYNC_DEAD_LETTER_DAYS", _days, "0")
    """After how many days what was given up is forgotten; 0 means never. How much waits is logged every day."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read all settings. Raises `SettingsError` naming every one that is missing or wrong, not only the first."""
        values: dict[str, Any] = {}
        wrong: list[str] = []
        for item in fields(cls):
            name, default = item.metadata["name"], item.metadata["default"]
            text = _given(environment.get(name), default, may_be_empty=item.metadata["parse"] is _optional)
            if text is None:
                wrong.append(f"{name} is missing")
                continue
            try:
                values[item.name] = item.metadata["parse"](text)
            except ValueError as error:
                wrong.append(f"{name} {error}")
        if not values.get("storage") and not values.get("storage_tables"):
            wrong.append("AzureWebJobsStorage or AzureWebJobsStorage__tableServiceUri is missing")
        wrong += [*_unclear_identity(values), *_unclear_data(values)]
        if wrong:
            raise SettingsError("; ".join(wrong))
        return cls(**values)

    @property
    def policy(self) -> str:
        """A short text that changes when a setting does on which it depends what calendars show of a booking."""
        rules = (self.mailboxes, self.filter, self.subject, self.body, self.show_as, self.categories)
        return fingerprint(repr((rules, self.keeps_canceled, self.canceled_prefix, self.mask, self.masked_subject)))

    def __repr__(self) -> str:
        """Names only: a secret must not reach a log by accident."""
        return f"Settings({', '.join(item.name for item in fields(self))})"
