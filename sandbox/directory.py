"""Who exists: the tenant, its people and rooms, and the registered applications with what they may do.

The directory is shared by the simulators as the real one is: Entra issues tokens from it, Graph shows its users, and
Dataverse's `systemuser` rows point into it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from cryptography.x509 import Certificate

DOMAIN = "contoso.test"
_NAMESPACE = uuid.UUID("6f1b0b5e-8a3c-4c39-9d1e-0d6a5a0c7a11")


def known_id(*names: str) -> str:
    """The fixed GUID of a seeded thing, the same in every run: `known_id("user", "alice")`."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(names)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person or a room with a mailbox (`has_mailbox`) or without a licence for one.

    `capacity`, `building` and `floor` are those of a room.
    """

    id: str
    name: str
    address: str
    is_room: bool = False
    has_mailbox: bool = True
    enabled: bool = True
    time_zone: str = "W. Europe Standard Time"
    job_title: str | None = None
    capacity: int | None = None
    building: str | None = None
    floor: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An app registration or a managed identity, which has neither secrets nor certificates.

    Several secrets and certificates are valid at once, as a rotation needs it; `ends` says when a secret ends, one that
    it does not name never does. `graph_roles` are the application permissions that were granted on Graph; `mailboxes`
    are the addresses to which an access policy limits them.
    """

    client_id: str
    object_id: str
    name: str
    secrets: tuple[str, ...]
    ends: Mapping[str, datetime] = MappingProxyType({})
    certificates: tuple[Certificate, ...] = ()
    graph_roles: tuple[str, ...] = ()
    mailboxes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomList:
    """A list of rooms that is shown together, by the addresses of the rooms."""

    id: str
    name: str
    address: str
    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccountChange:
    """One entry of the directory's history: an account before and after; `None` when it was not there."""

    account_id: str
    before: Account | None
    after: Account | None


@dataclass(slots=True, kw_only=True)
class Directory:
    """One tenant; who was removed can be restored from `removed`."""

    tenant_id: str = field(default_factory=lambda: known_id("tenant"))
    accounts: dict[str, Account] = field(default_factory=dict)
    applications: dict[str, Application] = field(default_factory=dict)
    room_lists: dict[str, RoomList] = field(default_factory=dict)
    removed: dict[str, Account] = field(default_factory=dict)
    history: list[AccountChange] = field(default_factory=list)

    def add(self, account: Account) -> Account:
        """Put a person or a room into the tenant, or change or restore one."""
        before = self.accounts.get(account.id)
        self.accounts[account.id] = account
        self.removed.pop(account.id, None)
        if before != account:
            self.history.append(AccountChange(account.id, before, account))
        return account

    def remove(self, account_id: str) -> None:
        """Take somebody out of the tenant, or, who was taken out before, for good. Raises `KeyError` for nobody."""
        before = self.accounts.pop(account_id, None)
        if before is None:
            before = self.removed.pop(account_id)
        else:
            self.removed[account_id] = before
        self.history.append(AccountChange(account_id, before, None))

    def register(self, application: Application) -> Application:
        """Register an application."""
        self.applications[application.client_id] = application
        return application

    def find(self, id_or_address: str) -> Account | None:
        """An account by object id or by user principal name, ignoring case."""
        wanted = id_or_address.lower()
        if wanted in self.accounts:
            return self.accounts[wanted]
        return next((account for account in self.accounts.values() if account.address.lower() == wanted), None)

    def forget_people(self) -> None:
        """Forget everybody and all rooms; the tenant keeps its id and its applications."""
        self.accounts.clear()
        self.room_lists.clear()
        self.removed.clear()
        self.history.clear()

    def clear(self) -> None:
        """Forget the applications, too."""
        self.forget_people()
        self.applications.clear()
