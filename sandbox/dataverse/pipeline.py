"""Create, update and delete: what the platform does round a write, and what it remembers of it.

The order is the event pipeline's (Microsoft docs, "Event execution pipeline"): the core operation and the business
logic on it in one transaction, asynchronous steps after it has been committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from sandbox.cloud import Cloud
from sandbox.dataverse import errors
from sandbox.dataverse.operations import Caller, Operation, merged
from sandbox.dataverse.privileges import Right, privilege
from sandbox.dataverse.registration import RULES
from sandbox.dataverse.schema import Kind, OnDelete, Reference, Table, Value
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.tables import USER
from sandbox.directory import known_id

SYSTEM_USER = known_id("systemuser", "SYSTEM")
BEFORE_THE_SANDBOX = datetime(2025, 1, 1, tzinfo=UTC)


class PluginAborted(Exception):  # noqa: N818 - read as a sentence: `raise PluginAborted`
    """Business logic refuses the operation; the message is for the user."""


type Plugin = Callable[[Operation, Pipeline], None]
"""Business logic inside the transaction: may write through the pipeline as `operation.caller.nested()`, or abort."""

type Group = list[Operation]
"""The creates and updates of one request."""


class Pipeline:
    """Executes operations on the rows."""

    def __init__(self, cloud: Cloud, state: State, told: Callable[[Operation], None]) -> None:
        """`told` learns of every committed operation."""
        self._cloud = cloud
        self._state = state
        self._told = told
        self.plugins: list[Plugin] = []

    @property
    def state(self) -> State:
        """The rows, for business logic to look at."""
        return self._state

    @contextmanager
    def group(self, outer: Group | None = None) -> Iterator[Group]:
        """What is created and updated for the group inside is one transaction and one message for many rows."""
        if outer is not None:
            yield outer
            return
        own: Group = []
        with self._state.transaction() as transaction:
            yield own
            transaction.afterwards.append(lambda: self._tell(merged(own)))

    def create(
        self,
        table: Table,
        submitted: Mapping[str, Value],
        caller: Caller,
        row_id: str | None = None,
        *,
        group: Group | None = None,
    ) -> Row:
        """Make a row; its id may come with the values."""
        _allow(caller, Right.CREATE, table, submitted)
        with self.group(group) as together:
            values = dict(submitted)
            chosen = row_id or values.pop(table.key, None) or self._cloud.new_id()
            values.pop(table.key, None)
            key = Reference(table.name, str(chosen))
            if self._state.find(key) is not None:
                raise errors.duplicate_key()
            at = self._now()
            values = self._with_defaults(table, values) | self._stamps(caller, at, created=True)
            if "ownerid" in table.columns:
                values |= self._owner(values, caller)
            self._check(table, values)
            row = self._state.put(table, key.id, self._by_rules(table, values))
            given = {table.key: key.id} | dict(submitted)
            together.append(self._finish("Create", row, given, caller, before=None, after=row, at=at))
            return row

    def update(self, row: Row, submitted: Mapping[str, Value], caller: Caller, *, group: Group | None = None) -> Row:
        """Write columns of a row; equal values are a write like any other."""
        _allow(caller, Right.WRITE, row.table, submitted)
        with self.group(group) as together:
            table = row.table
            changes = {name: value for name, value in submitted.items() if name != table.key}
            if submitted.get(table.key, row.id) != row.id:
                raise errors.invalid_argument(f"The {table.key} of a row cannot be changed.")
            at = self._now()
            written = self._with_status(table, row.values, changes)
            values = {**row.values, **written, **self._stamps(caller, at, created=False)}
            if "ownerid" in changes:
                values |= self._owner(changes, caller)
            self._check(table, values)
            after = self._state.put(table, row.id, self._by_rules(table, values))
            together.append(self._finish("Update", row, changes, caller, before=row, after=after, at=at))
            return after

    def delete(self, row: Row, caller: Caller) -> None:
        """Remove a row, and do to those that refer to it what their lookups say."""
        _allow(caller, Right.DELETE, row.table, {})
        with self._state.transaction():
            for other, column in list(self._state.referring(row)):
                if column.on_delete is OnDelete.RESTRICT:
                    raise errors.associated(row.table.name, other.table.name)
            for other, column in list(self._state.referring(row)):
                if self._state.find(other.reference) is not other:
                    continue
                if column.on_delete is OnDelete.CASCADE:
                    self.delete(other, caller)
                else:
                    self._state.put(other.table, other.id, {**other.values, column.name: None})
            self._state.remove(row)
            self._finish("Delete", row, {}, caller, before=row, after=None, at=self._now())

    def load(self, table: Table, row_id: str, values: Mapping[str, Value]) -> Row:
        """Put a row there as if it had been there before the sandbox began: nobody is told."""
        system = Reference(USER.name, SYSTEM_USER)
        if unknown := sorted(set(values) - set(table.columns)):
            raise ValueError(f"{table.name} has no columns {', '.join(unknown)}")
        stamps: dict[str, Value] = {"createdon": BEFORE_THE_SANDBOX, "modifiedon": BEFORE_THE_SANDBOX}
        stamps |= {"createdby": system, "modifiedby": system}
        if "ownerid" in table.columns:
            stamps |= {"ownerid": system, "owninguser": system}
        return self._state.put(table, row_id, stamps | self._with_defaults(table, values))

    def _now(self) -> datetime:
        return self._cloud.clock.now().replace(microsecond=0)

    def _finish(
        self,
        message: str,
        row: Row,
        submitted: Mapping[str, Value],
        caller: Caller,
        *,
        before: Row | None,
        after: Row | None,
        at: datetime,
    ) -> Operation:
        operation = Operation(
            message=message,
            table=row.table,
            id=row.id,
            submitted=submitted,
            before=before,
            after=after,
            caller=caller,
            at=at,
        )
        with self._state.transaction() as transaction:
            transaction.afterwards.append(lambda: self._tell([operation, *operation.specialised()]))
            for plugin in self.plugins:
                try:
                    plugin(operation, self)
                except PluginAborted as aborted:
                    raise errors.plugin_aborted(str(aborted)) from aborted
        return operation

    def _tell(self, operations: list[Operation]) -> None:
        for operation in operations:
            self._told(operation)

    def _with_defaults(self, table: Table, values: Mapping[str, Value]) -> dict[str, Value]:
        defaults = {column.name: column.default for column in table.columns.values() if column.default is not None}
        return self._with_status(table, {}, {**defaults, **values} | self._first_state(table, values))

    def _first_state(self, table: Table, values: Mapping[str, Value]) -> dict[str, Value]:
        return {} if not table.states or {"statecode", "statuscode"} & set(values) else {"statecode": 0}

    def _with_status(self, table: Table, old: Mapping[str, Value], changes: Mapping[str, Value]) -> dict[str, Value]:
        """The changes with state and status reason consistent: either one brings the other along."""
        given = dict(changes)
        state, reason = given.get("statecode"), given.get("statuscode")
        if state is None and reason is not None:
            given["statecode"] = next(one for one, reasons in table.states.items() if reason in reasons)
        elif isinstance(state, int) and reason is None and state != old.get("statecode"):
            given["statuscode"] = table.states[state][0]
        elif isinstance(state, int) and reason is not None and reason not in table.states[state]:
            raise errors.invalid_argument(f"{reason} is not a valid status code for state code {state}.")
        return given

    def _stamps(self, caller: Caller, at: datetime, *, created: bool) -> dict[str, Value]:
        user = caller.user.reference
        behalf = caller.initiating.reference if caller.initiating.id != caller.user.id else None
        stamps: dict[str, Value] = {"modifiedon": at, "modifiedby": user, "modifiedonbehalfby": behalf}
        if created:
            stamps |= {"createdon": at, "createdby": user, "createdonbehalfby": behalf}
        return stamps

    def _owner(self, values: Mapping[str, Value], caller: Caller) -> dict[str, Value]:
        owner = values.get("ownerid") or caller.user.reference
        row = self._state.must_find(owner) if isinstance(owner, Reference) else caller.user
        return {
            "ownerid": row.reference,
            "owninguser": row.reference,
            "owningbusinessunit": row.get("businessunitid"),
        }

    def _check(self, table: Table, values: Mapping[str, Value]) -> None:
        """Refuse a row that lacks a SystemRequired value or leads to rows that do not exist."""
        for column in table.columns.values():
            value = values.get(column.name)
            if column.required and value is None:
                raise errors.required(table.name, column.name)
            if column.kind is Kind.LOOKUP and isinstance(value, Reference):
                self._state.must_find(value)

    def _by_rules(self, table: Table, values: Mapping[str, Value]) -> Mapping[str, Value]:
        rule = RULES.get(table.name)
        return values if rule is None else rule(values, self._state)


def _allow(caller: Caller, right: Right, table: Table, submitted: Mapping[str, Value]) -> None:
    """Refuse what the caller may not do. What business logic does for it is not asked: it may run as the system."""
    if caller.depth > 1:
        return
    caller.need(privilege(right, table.name), table.name)
    for name, value in submitted.items():
        if isinstance(value, Reference) and name != "ownerid":
            caller.need(privilege(Right.APPEND, table.name), table.name)
            caller.need(privilege(Right.APPEND_TO, value.table), value.table)
