"""The administrator's filter."""

from __future__ import annotations

import pytest

from shared.conditions import compile_condition
from shared.errors import RefusedError, SettingsError

ROW: dict[str, object] = {
    "name": "Internal meeting",
    "bookingtype": 1,
    "msdyn_effort": 0.5,
    "flag": True,
    "empty": None,
    "starttime": "2026-11-22T09:00:00Z",
    "_resource_value": "50000000-0000-4000-8000-0000000000E1",
    "msdyn_workorder/msdyn_name": "WO-00042",
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("bookingtype eq 1", True),
        ("bookingtype ne 1", False),
        ("bookingtype in (1, 2)", True),
        ("bookingtype gt 1 or msdyn_effort lt 1.0", True),
        ("flag eq true and not (bookingtype eq 2)", True),
        ("name eq 'INTERNAL meeting'", True),
        ("startswith(name, 'intern')", True),
        ("contains(name, 'x') or endswith(name, 'meeting')", True),
        ("empty eq null", True),
        ("absent eq null", True),
        ("empty gt 1", False),
        ("name ne null", True),
        ("startswith(empty, 'x')", False),
        ("starttime ge 2026-11-22T09:00:00Z", True),
        ("starttime lt 2026-11-22T10:30:00+01:00", True),
        ("starttime lt 2026-11-22T10:00:00+01:00", False),
        ("_resource_value eq 50000000-0000-4000-8000-0000000000e1", True),
        ("msdyn_workorder/msdyn_name eq 'WO-00042'", True),
        ("starttime gt 2026-01-01T00:00:00", True),
    ],
)
def test_conditions(condition: str, *, expected: bool) -> None:
    holds, _ = compile_condition("SYNC_FILTER", condition)
    assert holds(ROW) is expected


def test_a_comparison_that_makes_no_sense_is_refused_not_answered() -> None:
    """To answer "no" would remove the events of every booking."""
    holds, _ = compile_condition("SYNC_FILTER", "name gt 5")
    with pytest.raises(RefusedError, match="SYNC_FILTER compares str with int"):
        holds(ROW)


def test_the_columns_that_must_be_read() -> None:
    _, columns = compile_condition("SYNC_FILTER", "bookingtype eq 1 and msdyn_workorder/msdyn_name ne null")
    assert columns == {"bookingtype", "msdyn_workorder/msdyn_name"}


@pytest.mark.parametrize(
    "condition",
    [
        "bookingtype eq",
        "bookingtype = 1",
        "name like 'x'",
        "tolower(name) eq 'x'",
        "bookingtype add 1 eq 2",
        "(",
        "name",
    ],
)
def test_what_is_no_condition_is_refused_with_an_example(condition: str) -> None:
    with pytest.raises(SettingsError, match=r"SYNC_FILTER.*bookingtype eq 1"):
        compile_condition("SYNC_FILTER", condition)
