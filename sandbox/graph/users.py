"""The directory as Graph shows it: users, rooms among them.

Microsoft Graph docs, "List users", "Get a user", "Create user", "Update user", "Delete a user". Who is created has a
mailbox at once, which takes a while in the real service; nickname and password are of no use here. Restoring is not
modelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from odata_query import ast

from sandbox.cloud import Cloud
from sandbox.directory import Account, Directory
from sandbox.graph.errors import bad_request, directory_access_denied, not_modelled, user_not_found
from sandbox.graph.filters import Field, Fields, Kind
from sandbox.graph.odata import next_link, read_offset, read_options
from sandbox.graph.operations import USER_READ, USER_READ_BASIC, USER_WRITE, Context, needs
from sandbox.graph.values import read_flag, read_members, read_string
from sandbox.graph.writing import read_object
from sandbox.http import Json, Response, Route

LARGEST_PAGE = 999
PAGE = 100
FOR_FULL_READERS = frozenset({"accountEnabled", "userType"})
_BY_DEFAULT = (
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
)
_WRITERS: dict[str, tuple[str, Callable[[str, Json], Json]]] = {
    "displayName": ("name", read_string),
    "userPrincipalName": ("address", read_string),
    "accountEnabled": ("enabled", read_flag),
    "jobTitle": ("job_title", lambda name, value: None if value is None else read_string(name, value)),
}
_REQUIRED = frozenset({"accountEnabled", "displayName", "mailNickname", "passwordProfile", "userPrincipalName"})
_CREATABLE = _REQUIRED | {"jobTitle"}
_FIELDS = Fields(
    "microsoft.graph.user",
    {
        "id": Field(Kind.EXACT, lambda account: account.id, str.lower),
        "userprincipalname": Field(Kind.TEXT, lambda account: account.address),
        "mail": Field(Kind.TEXT, lambda account: account.address if account.has_mailbox else None),
        "displayname": Field(Kind.TEXT, lambda account: account.name),
        "accountenabled": Field(Kind.FLAG, lambda account: account.enabled),
    },
    comparators=frozenset({ast.Eq}),
    functions=frozenset({"startswith"}),
)


class Users:
    """The operations on users."""

    def __init__(self, cloud: Cloud, directory: Directory) -> None:
        """Show `directory`."""
        self._cloud = cloud
        self._directory = directory

    def routes(self) -> list[Route]:
        """The operations with the permissions that they need."""
        readers, denied = USER_READ | USER_READ_BASIC, directory_access_denied()
        return [
            Route("GET", "/users", needs(readers, denied, self._list)),
            Route("POST", "/users", needs(USER_WRITE, denied, self._create)),
            Route("GET", "/users/{user}", needs(readers, denied, self._get)),
            Route("PATCH", "/users/{user}", needs(USER_WRITE, denied, self._update)),
            Route("DELETE", "/users/{user}", needs(USER_WRITE, denied, self._delete)),
        ]

    async def _list(self, context: Context) -> Response:
        options = read_options(
            context.request,
            frozenset({"$select", "$filter", "$top"}),
            fields=_FIELDS,
            others=frozenset({"$skiptoken"}),
            page=PAGE,
            largest_page=LARGEST_PAGE,
        )
        options = replace(options, skip=read_offset(options.others.get("$skiptoken")))
        page, more = options.page_of(list(self._directory.accounts.values()))
        names = wanted_properties(context, options.select)
        body: dict[str, Json] = {
            "@odata.context": context.metadata("users", select=options.select),
            "value": [user_json(account, names) for account in page],
        }
        if more:
            body["@odata.nextLink"] = next_link(context.request, skiptoken=f"offset-{options.skip + options.top}")
        return context.answer(200, body)

    async def _get(self, context: Context, user: str) -> Response:
        options = read_options(context.request, frozenset({"$select"}))
        names = wanted_properties(context, options.select)
        account = self._one(user)
        return context.answer(
            200,
            {
                "@odata.context": context.metadata("users", select=options.select, entity=True),
                **user_json(account, names),
            },
        )

    async def _create(self, context: Context) -> Response:
        read_options(context.request, frozenset())
        body = read_members("microsoft.graph.user", "body", read_object(context.request), _CREATABLE)
        if missing := sorted(_REQUIRED - body.keys()):
            raise bad_request(f"A value is required for the property '{missing[0]}' of the resource.")
        read_string("mailNickname", body["mailNickname"])
        changes = {_WRITERS[name][0]: _WRITERS[name][1](name, body[name]) for name in _WRITERS if name in body}
        if self._directory.find(str(changes["address"])) is not None:
            raise bad_request("Another object with the same value for property userPrincipalName already exists.")
        account = self._directory.add(Account(**{"id": self._cloud.new_id(), **changes}))
        metadata = context.metadata("users", entity=True)
        return context.answer(HTTPStatus.CREATED, {"@odata.context": metadata, **user_json(account, _BY_DEFAULT)})

    async def _update(self, context: Context, user: str) -> Response:
        read_options(context.request, frozenset())
        account, changes = self._one(user), dict[str, Json]()
        for name, value in read_object(context.request).items():
            if name not in _WRITERS:
                raise not_modelled(f"the property '{name}' in the update of a user")
            field, read = _WRITERS[name]
            changes[field] = read(name, value)
        self._directory.add(replace(account, **changes))
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _delete(self, context: Context, user: str) -> Response:
        read_options(context.request, frozenset())
        self._directory.remove(self._one(user).id)
        return Response(status=HTTPStatus.NO_CONTENT)

    def _one(self, user: str) -> Account:
        account = self._directory.find(user)
        if account is None:
            raise user_not_found(user)
        return account


def wanted_properties(context: Context, select: tuple[str, ...]) -> tuple[str, ...]:
    """The names to show. Raises `GraphError` for unknown ones, and for those that the caller may not see."""
    known = {name.lower(): name for name in (*_BY_DEFAULT, *FOR_FULL_READERS)}
    for name in select:
        if name.lower() not in known:
            raise not_modelled(f"$select={name} on users")
    names = tuple(known[name.lower()] for name in select) or _BY_DEFAULT
    if FOR_FULL_READERS & set(names) and not USER_READ & context.caller.roles:
        raise directory_access_denied()
    return names


def user_json(account: Account, names: tuple[str, ...]) -> dict[str, Json]:
    """What is shown of an account under these names."""
    given, _, surname = account.name.partition(" ")
    person = not account.is_room
    written: dict[str, Json] = {
        "businessPhones": [],
        "displayName": account.name,
        "givenName": given if person else None,
        "jobTitle": account.job_title,
        "mail": account.address if account.has_mailbox else None,
        "mobilePhone": None,
        "officeLocation": None,
        "preferredLanguage": None,
        "surname": (surname or None) if person else None,
        "userPrincipalName": account.address,
        "id": account.id,
        "accountEnabled": account.enabled,
        "userType": "Member",
    }
    return {name: written[name] for name in names}
