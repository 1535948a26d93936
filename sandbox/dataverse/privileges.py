"""Who may do what with the rows of which table: security roles, as sets of privileges.

Microsoft docs, "Security roles and privileges" and "Impersonate another user using the Web API": a privilege is named
after a right and a table (`prvReadaccount`), and who acts for another user has only what both have. Who writes a lookup
needs Append on the row's table and Append To on that of the row it leads to. Every privilege is for the whole
organization. Not modelled: Assign, and privileges for what a condition or an order looks at beyond its own table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Right(StrEnum):
    """What can be done with the rows of a table."""

    CREATE = "Create"
    READ = "Read"
    WRITE = "Write"
    DELETE = "Delete"
    APPEND = "Append"
    APPEND_TO = "AppendTo"


IMPERSONATE = "prvActOnBehalfOfAnotherUser"
CUSTOMIZE = "prvWriteEntity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A security role. `is_everything` is the System Administrator's: it has what there is."""

    name: str
    privileges: frozenset[str] = frozenset()
    is_everything: bool = False

    def allows(self, privilege: str) -> bool:
        """Whether the role has `privilege`."""
        return self.is_everything or privilege in self.privileges


NO_ROLE = Role(name="no role")
SYSTEM_ADMINISTRATOR = Role(name="System Administrator", is_everything=True)


def privilege(right: Right, table: str) -> str:
    """The privilege to do this with rows of `table`."""
    return f"prv{right}{table}"


def privileges(right: Right, tables: Iterable[str]) -> frozenset[str]:
    """The privileges to do this with rows of `tables`."""
    return frozenset(privilege(right, table) for table in tables)
