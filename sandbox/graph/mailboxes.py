"""What belongs to a mailbox as a whole: its settings, the time zones it knows, the two forms of its ids.

Microsoft Graph docs, "mailboxSettings resource type", "outlookUser: supportedTimeZones", "user: translateExchangeIds".
Unverified: how time zones are shown to people, and what the conversion of an id says that the mailbox does not have.
Settings cannot be changed here.
"""

from __future__ import annotations

from functools import partial

from tzlocal.windows_tz import win_tz

from sandbox.directory import Account, Directory
from sandbox.graph.errors import calendar_access_denied, directory_access_denied, invalid_request, not_modelled
from sandbox.graph.finding import find_mailbox
from sandbox.graph.odata import read_options
from sandbox.graph.operations import SETTINGS_READ, USER_READ, Context, key, needs
from sandbox.graph.state import State
from sandbox.graph.times import iana_names
from sandbox.graph.values import read_choice, read_list, read_parameters, read_string
from sandbox.graph.writing import read_object
from sandbox.http import Json, Response, Route

MOST_IDS = 1000
PLAIN, IMMUTABLE = "restId", "restImmutableEntryId"
_ID_TYPES = (PLAIN, IMMUTABLE, "entryId", "ewsId", "immutableEntryId")
_NEVER = {"dateTime": "0001-01-01T00:00:00.0000000", "timeZone": "UTC"}


class Mailboxes:
    """The operations on mailboxes that are not about their items."""

    def __init__(self, directory: Directory, state: State) -> None:
        """Tell about the accounts of `directory`."""
        self._directory = directory
        self._state = state

    def routes(self) -> list[Route]:
        """The operations with the permissions that they need."""
        settings = partial(needs, SETTINGS_READ, calendar_access_denied())
        people = partial(needs, USER_READ, directory_access_denied())
        zones = "/users/{user}/outlook/supportedTimeZones"
        standard = "(TimeZoneStandard=microsoft.graph.timeZoneStandard'{}')"
        return [
            Route("GET", "/users/{user}/mailboxSettings", settings(self._settings)),
            Route("GET", "/users/{user}/mailboxSettings/{name}", settings(self._one_setting)),
            *(Route("GET", zones + written, people(self._windows_zones)) for written in ("", "()")),
            Route("GET", zones + standard.format("Windows"), people(self._windows_zones)),
            Route("GET", zones + standard.format("Iana"), people(self._iana_zones)),
            Route("POST", "/users/{user}/translateExchangeIds", people(self._translate)),
        ]

    def _account(self, user: str) -> Account:
        return find_mailbox(self._directory, self._state, user).account

    async def _settings(self, context: Context, user: str) -> Response:
        read_options(context.request, frozenset())
        metadata = context.metadata(key("users", user), "mailboxSettings")
        return context.answer(200, {"@odata.context": metadata, **settings_json(self._account(user))})

    async def _one_setting(self, context: Context, user: str, name: str) -> Response:
        read_options(context.request, frozenset())
        found = {known.lower(): (known, value) for known, value in settings_json(self._account(user)).items()}
        if name.lower() not in found:
            raise not_modelled(f"the mailbox setting '{name}'")
        known, value = found[name.lower()]
        metadata = context.metadata(key("users", user), "mailboxSettings", known)
        return context.answer(
            200, {"@odata.context": metadata, **(value if isinstance(value, dict) else {"value": value})}
        )

    async def _windows_zones(self, context: Context, user: str) -> Response:
        return self._zones(context, user, sorted(win_tz))

    async def _iana_zones(self, context: Context, user: str) -> Response:
        return self._zones(context, user, sorted(iana_names()))

    def _zones(self, context: Context, user: str, names: list[str]) -> Response:
        read_options(context.request, frozenset())
        self._account(user)
        value = [{"alias": name, "displayName": name} for name in names]
        metadata = context.metadata("Collection(microsoft.graph.timeZoneInformation)")
        return context.answer(200, {"@odata.context": metadata, "value": value})

    async def _translate(self, context: Context, user: str) -> Response:
        read_options(context.request, frozenset())
        mailbox = find_mailbox(self._directory, self._state, user)
        known = frozenset({"inputIds", "sourceIdType", "targetIdType"})
        body = read_parameters("translateExchangeIds", read_object(context.request), known)
        given = [read_string("inputIds", one) for one in read_list("inputIds", body.get("inputIds"))]
        forms = [read_choice(name, body.get(name), _ID_TYPES) for name in ("sourceIdType", "targetIdType")]
        if not set(forms) <= {PLAIN, IMMUTABLE}:
            raise not_modelled(f"the conversion from {forms[0]} to {forms[1]}")
        if len(given) > MOST_IDS:
            raise invalid_request(f"The number of ids must not be more than {MOST_IDS}.")
        value: list[Json] = []
        for one in given:
            found = mailbox.find(one, among_deleted=True)
            if found is None or one != found.id_for(immutable=forms[0] == IMMUTABLE):
                details = {"code": "ErrorItemNotFound", "message": "The specified object was not found in the store."}
                value.append({"sourceId": one, "targetId": None, "errorDetails": details})
            else:
                value.append({"sourceId": one, "targetId": found.id_for(immutable=forms[1] == IMMUTABLE)})
        metadata = context.metadata("Collection(microsoft.graph.convertIdResult)")
        return context.answer(200, {"@odata.context": metadata, "value": value})


def settings_json(account: Account) -> dict[str, Json]:
    """The settings of a mailbox."""
    return {
        "timeZone": account.time_zone,
        "delegateMeetingMessageDeliveryOptions": "sendToDelegateOnly",
        "dateFormat": "yyyy-MM-dd",
        "timeFormat": "HH:mm",
        "userPurpose": "room" if account.is_room else "user",
        "automaticRepliesSetting": {
            "status": "disabled",
            "externalAudience": "none",
            "internalReplyMessage": "",
            "externalReplyMessage": "",
            "scheduledStartDateTime": _NEVER,
            "scheduledEndDateTime": _NEVER,
        },
        "language": {"locale": "en-US", "displayName": "English (United States)"},
        "workingHours": working_hours(account),
    }


def working_hours(account: Account) -> dict[str, Json]:
    """When people work whom nobody asked."""
    return {
        "daysOfWeek": ["monday", "tuesday", "wednesday", "thursday", "friday"],
        "startTime": "08:00:00.0000000",
        "endTime": "17:00:00.0000000",
        "timeZone": {"name": account.time_zone},
    }
