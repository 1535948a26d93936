"""What was executed for whom: operations, and the messages that they send beside their own.

Microsoft docs, "Write plug-ins for CreateMultiple and UpdateMultiple" (merged pipelines: steps on the message for many
rows run for a single row, too, and the other way round) and "Perform specialized operations using Update" (a changed
state or owner calls the steps on SetState and Assign). Unverified: that those come in addition to the Update step and
at the same depth, and that one target with a filtered column lets all targets of an UpdateMultiple through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sandbox.dataverse import errors
from sandbox.dataverse.privileges import Role
from sandbox.dataverse.schema import Table, Value
from sandbox.dataverse.state import Row

DEEPEST = 8
"""How far business logic may call business logic (Microsoft docs, "Understand the execution context": loops)."""
NOBODY = "00000000-0000-0000-0000-000000000000"
MULTIPLE: Mapping[str, str] = {"Create": "CreateMultiple", "Update": "UpdateMultiple"}
"""The message for many rows by the message for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """For whom an operation is executed: `user` and, when that one is impersonated, the real caller `initiating`.

    `roles` are the security roles of both.
    """

    user: Row
    initiating: Row
    roles: tuple[Role, ...]
    agent: str = ""
    host: str = ""
    tag: str | None = None
    correlation_id: str = ""
    request_id: str = ""
    depth: int = 1

    def need(self, wanted: str, table: str) -> None:
        """Refuse with 403 what a role does not allow: the privilege `wanted`, which is about `table`."""
        for who, role in zip((self.user, self.initiating), self.roles, strict=True):
            if not role.allows(wanted):
                raise errors.privilege_missing(who.id, who.get("accessmode"), wanted, table)

    def nested(self) -> Caller:
        """The same caller one level down, as business logic acts: the tag goes along."""
        if self.depth >= DEEPEST:
            raise errors.refuse(
                400, errors.INFINITE_LOOP, "This workflow job was canceled because it included an infinite loop."
            )
        return replace(self, depth=self.depth + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One message that was executed: what was `submitted`, and the row before and after.

    A message for many rows has `targets` instead, and no id, row before or row after.
    """

    message: str
    table: Table
    id: str
    submitted: Mapping[str, Value]
    before: Row | None
    after: Row | None
    caller: Caller
    at: datetime
    targets: tuple[Operation, ...] = ()

    def specialised(self) -> list[Operation]:
        """The messages that an update of the state or the owner sends, too."""
        if self.message != "Update":
            return []
        messages = []
        if {"statecode", "statuscode"} & set(self.submitted):
            messages.append("SetState")
        if "ownerid" in self.submitted:
            messages.append("Assign")
        return [replace(self, message=message) for message in messages]


def merged(operations: Sequence[Operation]) -> list[Operation]:
    """The messages for many rows that `operations`, executed by one request, send together."""
    together = []
    for message, multiple in MULTIPLE.items():
        targets = tuple(one for one in operations if one.message == message)
        if not targets:
            continue
        submitted = {name: value for one in targets for name, value in one.submitted.items()}
        one = replace(targets[0], message=multiple, id=NOBODY, submitted=submitted, before=None, after=None)
        together.append(replace(one, targets=targets))
    return together
