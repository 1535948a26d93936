"""Mail: the messages of mailboxes, their folders, and what changed in which order. Plain data; no HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from sandbox.graph.bodies import Body

FOLDERS = {
    "inbox": "Inbox",
    "drafts": "Drafts",
    "sentitems": "Sent Items",
    "deleteditems": "Deleted Items",
}
"""Well-known names (Microsoft Graph docs, "mailFolder resource type"), and how people see them."""

type Person = tuple[str, str]
"""Name and address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. Like an event it has an id that stays and one that changes when it is moved."""

    item_id: str
    folder_id: str
    folder: str
    change_key: str
    sender: Person
    recipients: tuple[Person, ...]
    copied: tuple[Person, ...] = ()
    subject: str | None = None
    body: Body = field(default_factory=Body)
    importance: str = "normal"
    categories: tuple[str, ...] = ()
    is_read: bool = False
    conversation_id: str
    internet_id: str
    sent_at: datetime
    modified_at: datetime

    def id_for(self, *, immutable: bool) -> str:
        """The id in the form that the caller prefers."""
        return self.item_id if immutable else self.folder_id


@dataclass(frozen=True, slots=True)
class MessageChange:
    """A message before and after; `None` when it was not there."""

    before: Message | None
    after: Message | None


@dataclass(slots=True, kw_only=True)
class Letters:
    """The messages of one mailbox by their lasting id, and their history."""

    messages: dict[str, Message] = field(default_factory=dict)
    history: list[MessageChange] = field(default_factory=list)

    def put(self, message: Message) -> None:
        """Add a message, or change one."""
        self.history.append(MessageChange(self.messages.get(message.item_id), message))
        self.messages[message.item_id] = message

    def remove(self, message: Message) -> None:
        """Take a message away for good."""
        self.history.append(MessageChange(self.messages.pop(message.item_id), None))

    def of(self, folder: str | None) -> Iterator[Message]:
        """The messages of a folder, or of all, the newest first."""
        found = (one for one in self.messages.values() if folder is None or one.folder == folder)
        return iter(sorted(found, key=lambda one: one.sent_at, reverse=True))

    def find(self, either_id: str) -> Message | None:
        """The message with this id in either form."""
        if either_id in self.messages:
            return self.messages[either_id]
        return next((one for one in self.messages.values() if one.folder_id == either_id), None)
