"""The operations on messages: list, get, mark, move, delete, send.

Microsoft Graph docs, "List messages", "Get message", "Update message", "message: move", "Delete message", "user:
sendMail", "Use the $filter query parameter": ten on a page, at most a thousand; whatever a listing is ordered by must
be filtered by as well, first and in that order, if it is filtered at all. `Mail.ReadBasic.All` shows no bodies. A
deleted message goes to Deleted Items, from there it is gone. Unverified: that a message which somebody sends arrives at
once, and that nothing but what is named in `_WRITABLE` can be changed. Attachments and drafts are not modelled.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from http import HTTPStatus

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.graph.bodies import Body
from sandbox.graph.errors import GraphError, calendar_access_denied, item_not_found, not_modelled
from sandbox.graph.filters import Field, Fields, Kind
from sandbox.graph.finding import find_mailbox
from sandbox.graph.mail import FOLDERS, Letters, Message, Person
from sandbox.graph.odata import next_link, pick, read_options
from sandbox.graph.operations import MAIL_READ, MAIL_READ_BASIC, MAIL_SEND, MAIL_WRITE, Context, key, needs
from sandbox.graph.preferences import Preferences
from sandbox.graph.state import Mailbox, State
from sandbox.graph.times import write_instant
from sandbox.graph.values import read_choice, read_flag, read_list, read_members, read_parameters, read_string
from sandbox.graph.writing import read_body, read_object
from sandbox.http import Json, Response, Route

TYPE = "microsoft.graph.message"
HIDDEN_FROM_BASIC = frozenset({"body", "bodyPreview", "uniqueBody"})
_OF_MANY = frozenset({"$select", "$filter", "$orderby", "$top", "$skip"})
FIELDS = Fields(
    TYPE,
    {
        "receiveddatetime": Field(Kind.INSTANT, lambda one: one.sent_at),
        "sentdatetime": Field(Kind.INSTANT, lambda one: one.sent_at),
        "subject": Field(Kind.TEXT, lambda one: one.subject),
        "isread": Field(Kind.FLAG, lambda one: one.is_read),
        "importance": Field(Kind.TEXT, lambda one: one.importance),
        "from/emailaddress/address": Field(Kind.TEXT, lambda one: one.sender[1]),
        "internetmessageid": Field(Kind.EXACT, lambda one: one.internet_id),
        "conversationid": Field(Kind.EXACT, lambda one: one.conversation_id),
    },
)
_WRITABLE: dict[str, Callable[[str, Json], dict[str, Json]]] = {
    "isRead": lambda name, value: {"is_read": read_flag(name, value)},
    "importance": lambda name, value: {"importance": read_choice(name, value, ("low", "normal", "high"))},
    "categories": lambda name, value: {"categories": tuple(read_string(name, one) for one in read_list(name, value))},
}
_MESSAGE = frozenset({"subject", "body", "toRecipients", "ccRecipients", "importance", "categories"})


class Messages:
    """The operations on messages; `letters` is by the id of the account."""

    def __init__(self, cloud: Cloud, directory: Directory, state: State) -> None:
        """Deliver to the accounts of `directory`."""
        self._cloud = cloud
        self._directory = directory
        self._state = state
        self._letters: dict[str, Letters] = {}

    def routes(self) -> list[Route]:
        """The operations with the permissions that they need."""
        denied = calendar_access_denied()
        reads, writes = partial(needs, MAIL_READ | MAIL_READ_BASIC, denied), partial(needs, MAIL_WRITE, denied)
        everywhere, folder = "/users/{user}/messages", "/users/{user}/mailFolders/{folder}"
        return [
            Route("GET", everywhere, reads(self._list)),
            Route("GET", f"{folder}/messages", reads(self._list)),
            Route("GET", folder, reads(self._folder)),
            *(
                route
                for one in (f"{everywhere}/{{message}}", f"{folder}/messages/{{message}}")
                for route in (
                    Route("GET", one, reads(self._get)),
                    Route("PATCH", one, writes(self._update)),
                    Route("DELETE", one, writes(self._delete)),
                    Route("POST", f"{one}/move", writes(self._move)),
                )
            ),
            Route("POST", "/users/{user}/sendMail", needs(MAIL_SEND, denied, self._send)),
        ]

    def reset(self) -> None:
        """Forget all messages."""
        self._letters.clear()

    def of(self, user: str) -> tuple[Mailbox, Letters]:
        """The mailbox of `user` and its messages. Raises `GraphError`."""
        mailbox = find_mailbox(self._directory, self._state, user)
        return mailbox, self._letters.setdefault(mailbox.account.id, Letters())

    async def _folder(self, context: Context, user: str, folder: str) -> Response:
        read_options(context.request, frozenset())
        _, letters = self.of(user)
        name = folder_name(folder)
        there = list(letters.of(name))
        return context.answer(
            200,
            {
                "@odata.context": context.metadata(key("users", user), "mailFolders", entity=True),
                "id": name,
                "displayName": FOLDERS[name],
                "parentFolderId": "msgfolderroot",
                "childFolderCount": 0,
                "unreadItemCount": sum(not one.is_read for one in there),
                "totalItemCount": len(there),
                "isHidden": False,
            },
        )

    async def _list(self, context: Context, user: str, folder: str | None = None) -> Response:
        options = read_options(context.request, _OF_MANY, fields=FIELDS)
        _refuse_inefficient(context)
        _, letters = self.of(user)
        page, more = options.page_of(list(letters.of(None if folder is None else folder_name(folder))))
        body: dict[str, Json] = {
            "@odata.context": context.metadata(key("users", user), "messages", select=options.select),
            "value": [shown(context, one, options.select) for one in page],
        }
        if more:
            body["@odata.nextLink"] = next_link(context.request, skip=str(options.skip + options.top))
        return context.answer(200, body)

    async def _get(self, context: Context, user: str, message: str, folder: str | None = None) -> Response:
        options = read_options(context.request, frozenset({"$select"}))
        _, found = self._one(user, message, folder)
        return _answer(context, user, found, options.select)

    async def _update(self, context: Context, user: str, message: str, folder: str | None = None) -> Response:
        read_options(context.request, frozenset())
        letters, found = self._one(user, message, folder)
        changes: dict[str, Json] = {}
        for name, value in read_object(context.request).items():
            if name not in _WRITABLE:
                raise not_modelled(f"the property '{name}' in the update of a message")
            changes |= _WRITABLE[name](name, value)
        changed = replace(found, **changes, change_key=self._state.new_key(), modified_at=context.at)
        letters.put(changed)
        return _answer(context, user, changed, ())

    async def _delete(self, context: Context, user: str, message: str, folder: str | None = None) -> Response:
        read_options(context.request, frozenset())
        letters, found = self._one(user, message, folder)
        if found.folder == "deleteditems":
            letters.remove(found)
        else:
            letters.put(self._moved(context, found, "deleteditems"))
        return Response(status=HTTPStatus.NO_CONTENT)

    async def _move(self, context: Context, user: str, message: str, folder: str | None = None) -> Response:
        read_options(context.request, frozenset())
        letters, found = self._one(user, message, folder)
        body = read_parameters("move", read_object(context.request), frozenset({"destinationId"}))
        moved = self._moved(context, found, folder_name(read_string("destinationId", body.get("destinationId"))))
        letters.put(moved)
        return _answer(context, user, moved, (), status=HTTPStatus.CREATED)

    async def _send(self, context: Context, user: str) -> Response:
        read_options(context.request, frozenset())
        mailbox, own = self.of(user)
        body = read_parameters("sendMail", read_object(context.request), frozenset({"message", "saveToSentItems"}))
        message = read_members(TYPE, "message", body.get("message"), _MESSAGE)
        sender = (mailbox.account.name, mailbox.account.address)
        sent = self._written(context, message, sender)
        if not sent.recipients and not sent.copied:
            raise GraphError(HTTPStatus.BAD_REQUEST, "ErrorInvalidRecipients", "At least one recipient is not valid.")
        if read_flag("saveToSentItems", body.get("saveToSentItems", True)):
            own.put(replace(sent, folder="sentitems", is_read=True))
        for _, address in dict.fromkeys((*sent.recipients, *sent.copied)):
            account = self._directory.find(address)
            if account is not None and account.has_mailbox:
                _, letters = self.of(account.address)
                letters.put(
                    replace(sent, item_id=self._state.new_item_id("AAkAL"), folder_id=self._state.new_item_id())
                )
        return Response(status=HTTPStatus.ACCEPTED)

    def _written(self, context: Context, message: Mapping[str, Json], sender: Person) -> Message:
        people = {name: _people(name, message.get(name, [])) for name in ("toRecipients", "ccRecipients")}
        return Message(
            item_id=self._state.new_item_id("AAkAL"),
            folder_id=self._state.new_item_id(),
            folder="inbox",
            change_key=self._state.new_key(),
            sender=sender,
            recipients=people["toRecipients"],
            copied=people["ccRecipients"],
            subject=read_string("subject", message.get("subject", "")),
            body=read_body("body", message["body"]) if "body" in message else Body(),
            importance=read_choice("importance", message.get("importance", "normal"), ("low", "normal", "high")),
            categories=tuple(
                read_string("categories", one) for one in read_list("categories", message.get("categories", []))
            ),
            conversation_id=self._state.new_item_id("AAQkA"),
            internet_id=f"<{self._cloud.new_id()}@{sender[1].partition('@')[2]}>",
            sent_at=context.at,
            modified_at=context.at,
        )

    def _moved(self, context: Context, message: Message, folder: str) -> Message:
        return replace(
            message,
            folder=folder,
            folder_id=self._state.new_item_id(),
            change_key=self._state.new_key(),
            modified_at=context.at,
        )

    def _one(self, user: str, message: str, folder: str | None) -> tuple[Letters, Message]:
        _, letters = self.of(user)
        found = letters.find(message)
        if found is None or (folder is not None and found.folder != folder_name(folder)):
            raise item_not_found()
        return letters, found


def folder_name(called: str) -> str:
    """The well-known name of a folder, which is its id here, too. Raises `GraphError`."""
    if called.lower() not in FOLDERS:
        raise not_modelled(f"the mail folder '{called}'; known are {', '.join(FOLDERS)}")
    return called.lower()


def _people(name: str, value: Json) -> tuple[Person, ...]:
    found = []
    for item in read_list(name, value):
        members = read_members("microsoft.graph.recipient", name, item, frozenset({"emailAddress"}))
        known = frozenset({"name", "address"})
        mail = read_members("microsoft.graph.emailAddress", "emailAddress", members.get("emailAddress"), known)
        address = read_string("address", mail.get("address"))
        found.append((read_string("name", mail.get("name", address)), address))
    return tuple(found)


def _refuse_inefficient(context: Context) -> None:
    """Whatever orders must filter first, and in the same order. Raises `GraphError`."""
    given = {name.lower(): value for name, value in context.request.query}
    if "$filter" not in given or "$orderby" not in given:
        return
    order = [part.split()[0].lower() for part in given["$orderby"].split(",") if part.strip()]
    without_texts = re.sub(r"'[^']*'", "", given["$filter"].lower())
    filtered = list(dict.fromkeys(name for name in re.findall(r"[a-z/]+", without_texts) if name in FIELDS.single))
    if filtered[: len(order)] != order:
        raise GraphError(
            HTTPStatus.BAD_REQUEST,
            "InefficientFilter",
            "The restriction or sort order is too complex for this operation.",
        )


def shown(context: Context, message: Message, select: tuple[str, ...]) -> dict[str, Json]:
    """The message as the caller wants and may see it."""
    written = message_json(message, context.wishes)
    if not MAIL_READ & context.caller.roles:
        written = {name: value for name, value in written.items() if name not in HIDDEN_FROM_BASIC}
    return {"@odata.etag": f'W/"{message.change_key}"', **pick(written, select, TYPE)}


def _answer(
    context: Context, user: str, message: Message, select: tuple[str, ...], *, status: int = HTTPStatus.OK
) -> Response:
    metadata = context.metadata(key("users", user), "messages", select=select, entity=True)
    return context.answer(status, {"@odata.context": metadata, **shown(context, message, select)})


def message_json(message: Message, wishes: Preferences) -> dict[str, Json]:
    """All properties of a message."""
    text = wishes.text_bodies
    return {
        "id": message.id_for(immutable=wishes.immutable_ids),
        "createdDateTime": write_instant(message.sent_at),
        "lastModifiedDateTime": write_instant(message.modified_at),
        "changeKey": message.change_key,
        "categories": list(message.categories),
        "receivedDateTime": write_instant(message.sent_at),
        "sentDateTime": write_instant(message.sent_at),
        "hasAttachments": False,
        "internetMessageId": message.internet_id,
        "subject": message.subject,
        "bodyPreview": message.body.preview,
        "importance": message.importance,
        "parentFolderId": message.folder,
        "conversationId": message.conversation_id,
        "isDeliveryReceiptRequested": False,
        "isReadReceiptRequested": False,
        "isRead": message.is_read,
        "isDraft": False,
        "webLink": "https://outlook.office365.com/owa/",
        "inferenceClassification": "focused",
        "body": {"contentType": "text", "content": message.body.text}
        if text
        else {"contentType": "html", "content": message.body.html},
        "sender": _person_json(message.sender),
        "from": _person_json(message.sender),
        "toRecipients": [_person_json(one) for one in message.recipients],
        "ccRecipients": [_person_json(one) for one in message.copied],
        "bccRecipients": [],
        "replyTo": [],
        "flag": {"flagStatus": "notFlagged"},
    }


def _person_json(person: Person) -> Json:
    return {"emailAddress": {"name": person[0], "address": person[1]}}
