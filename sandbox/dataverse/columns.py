"""How a table is written down: one constructor per kind of column, and the columns that the platform adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sandbox.dataverse.schema import Column, Kind, OnDelete, Table, Value

type States = Mapping[int, tuple[str, Mapping[int, str]]]


def text(name: str, max_length: int = 100, *, required: bool = False, write_only: bool = False) -> Column:
    """Text of limited length."""
    return Column(name=name, kind=Kind.TEXT, max_length=max_length, required=required, write_only=write_only)


def integer(name: str, *, required: bool = False, minimum: int | None = None, default: Value = None) -> Column:
    """A whole number."""
    return Column(name=name, kind=Kind.INTEGER, required=required, minimum=minimum, default=default)


def decimal(name: str) -> Column:
    """A number with a fraction."""
    return Column(name=name, kind=Kind.DECIMAL)


def flag(name: str, *, default: Value = False) -> Column:
    """Yes or no."""
    return Column(name=name, kind=Kind.BOOLEAN, default=default)


def instant(name: str, *, required: bool = False) -> Column:
    """A point in time."""
    return Column(name=name, kind=Kind.INSTANT, required=required)


def guid(name: str) -> Column:
    """An id that is no lookup."""
    return Column(name=name, kind=Kind.GUID)


def choice(name: str, options: Mapping[int, str], *, required: bool = False, default: Value = None) -> Column:
    """One of some options."""
    return Column(name=name, kind=Kind.CHOICE, options=options, required=required, default=default)


def lookup(
    name: str, target: str, navigation: str = "", *, collection: str = "", required: bool = False, cascade: bool = False
) -> Column:
    """A reference to a row of `target`; the navigation property is called as the column unless said otherwise.

    Deleting the target is restricted by required lookups, clears the others.
    """
    on_delete = OnDelete.RESTRICT if required else OnDelete.REMOVE_LINK
    return Column(
        name=name,
        kind=Kind.LOOKUP,
        navigations={navigation or name: target},
        collection=collection,
        required=required,
        on_delete=OnDelete.CASCADE if cascade else on_delete,
    )


def table(
    name: str,
    set_name: str,
    schema_name: str,
    columns: Sequence[Column],
    *,
    name_column: str = "name",
    owned: bool = False,
    states: States | None = None,
) -> Table:
    """A table with the columns that the platform adds to every table, to owned ones and to those with a state."""
    every = [
        Column(name=f"{name}id", kind=Kind.GUID),
        *columns,
        *_status_columns(states or {}),
        *(_system_lookup(n, "systemuser") for n in ("createdby", "modifiedby", "createdonbehalfby")),
        _system_lookup("modifiedonbehalfby", "systemuser"),
        *(Column(name=n, kind=Kind.INSTANT, read_only=True) for n in ("createdon", "modifiedon")),
        Column(name="versionnumber", kind=Kind.BIGINT, read_only=True),
    ]
    if owned:
        every += [
            lookup("ownerid", "systemuser"),
            _system_lookup("owninguser", "systemuser"),
            _system_lookup("owningteam", "team"),
            _system_lookup("owningbusinessunit", "businessunit"),
        ]
    return Table(
        name=name,
        set_name=set_name,
        schema_name=schema_name,
        name_column=name_column,
        columns={column.name: column for column in every},
        states={state: tuple(reasons) for state, (_, reasons) in (states or {}).items()},
    )


def _system_lookup(name: str, target: str) -> Column:
    return Column(name=name, kind=Kind.LOOKUP, navigations={name: target}, read_only=True)


def _status_columns(states: States) -> list[Column]:
    if not states:
        return []
    reasons = {reason: label for _, labels in states.values() for reason, label in labels.items()}
    return [
        choice("statecode", {state: label for state, (label, _) in states.items()}, required=True),
        choice("statuscode", reasons),
    ]
