"""What is taken from a Dataverse post, and what is refused with words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidPostError
from shared.intake.dataverse import MOST_BYTES, MOST_ROWS, read_post
from shared.sync.model import Cause
from shared.sync.route import Hint

ORGANIZATION = "7a1d0000-0000-4000-8000-0000000000aa"
BOOKING = "40000000-0000-4000-8000-00000000b001"
RESOURCE = "50000000-0000-4000-8000-0000000000e1"
OLD_RESOURCE = "50000000-0000-4000-8000-0000000000e2"
NOBODY = "00000000-0000-0000-0000-000000000000"
JSON = "application/json; charset=utf-8"


def entity(resource: str | None = None, version: str | None = None) -> dict[str, Any]:
    attributes: list[dict[str, Any]] = [{"key": "starttime", "value": "/Date(1767250800000)/"}]
    if resource is not None:
        attributes.append({"key": "resource", "value": {"Id": resource, "LogicalName": "bookableresource"}})
    return {"Attributes": attributes, "Id": BOOKING, "RowVersion": version}


def post(message: str = "Update", **changes: Any) -> dict[str, Any]:
    return {
        "OrganizationId": ORGANIZATION,
        "PrimaryEntityName": "bookableresourcebooking",
        "PrimaryEntityId": BOOKING,
        "MessageName": message,
        "CorrelationId": "90000000-0000-4000-8000-00000000c0de",
        "InputParameters": [{"key": "Target", "value": entity()}],
        "PreEntityImages": [],
        "PostEntityImages": [],
        **changes,
    }


def read(value: Any, content_type: str = JSON) -> tuple[Hint, ...]:
    return read_post(json.dumps(value).encode(), content_type, ORGANIZATION)


def one(value: Any) -> Hint:
    [hint] = read(value)
    return hint


def parameters(**values: Any) -> dict[str, Any]:
    return {"InputParameters": [{"key": key, "value": value} for key, value in values.items()]}


def bulk(message: str, *rows: Any, **changes: Any) -> dict[str, Any]:
    """A bulk message has no primary row."""
    return post(message, **{"PrimaryEntityId": NOBODY, **parameters(Targets={"Entities": list(rows)}), **changes})


REFERENCE = {"Id": BOOKING, "LogicalName": "bookableresourcebooking", "Name": None, "RowVersion": None}


# Messages about one row.


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("Create", Cause.CREATED),
        ("Update", Cause.UPDATED),
        ("Delete", Cause.DELETED),
        ("Upsert", Cause.UPDATED),
        ("Restore", Cause.UPDATED),
    ],
)
def test_messages(message: str, cause: Cause) -> None:
    got = one(post(message))
    assert (got.booking, got.cause, got.correlation) == (BOOKING, cause, "90000000-0000-4000-8000-00000000c0de")


@pytest.mark.parametrize("primary", [BOOKING, NOBODY, None, BOOKING.upper(), f"{{{BOOKING}}}"])
@pytest.mark.parametrize(
    ("message", "given", "cause"),
    [
        ("Delete", {"Target": REFERENCE}, Cause.DELETED),
        ("Assign", {"Assignee": {"Id": NOBODY, "LogicalName": "systemuser"}, "Target": REFERENCE}, Cause.UPDATED),
        ("SetState", {"State": {"Value": 1}, "EntityMoniker": REFERENCE, "Status": {"Value": 2}}, Cause.UPDATED),
        ("SetStateDynamicEntity", {"EntityMoniker": REFERENCE, "State": None, "Status": None}, Cause.UPDATED),
    ],
)
def test_a_reference_names_the_row_as_the_primary_id_does(
    message: str, given: dict[str, Any], cause: Cause, primary: str | None
) -> None:
    got = one(post(message, PrimaryEntityId=primary, **parameters(**given)))
    assert (got.booking, got.cause, got.version) == (BOOKING, cause, None)


@pytest.mark.parametrize("absent", ["keys", "null", "empty"])
@pytest.mark.parametrize("message", ["Create", "Update", "Delete", "SetState", "Assign"])
def test_a_post_that_was_too_large_still_says_which_booking(message: str, absent: str) -> None:
    whole = post(message)
    for name in ("ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages"):
        whole[name] = None if absent == "null" else []
        if absent == "keys":
            del whole[name]
    got = one(whole)
    assert (got.booking, got.version, got.resource) == (BOOKING, None, None)


def test_what_stands_in_the_parent_context_is_not_taken_for_the_change() -> None:
    parent = post("CreateMultiple", **parameters(Target=entity(OLD_RESOURCE, "99")), ParentContext=None)
    assert one(post("Update", ParentContext=parent)).resource is None


@pytest.mark.parametrize(
    ("images", "resource"),
    [
        ({"PostEntityImages": [{"key": "post", "value": entity(RESOURCE)}]}, RESOURCE),
        ({"InputParameters": [{"key": "Target", "value": entity(RESOURCE)}]}, RESOURCE),
        ({"PreEntityImages": [{"key": "pre", "value": entity(OLD_RESOURCE)}]}, OLD_RESOURCE),
        (
            {
                "PreEntityImages": [{"value": entity(OLD_RESOURCE), "key": "pre"}],
                "PostEntityImages": [
                    {"key": "AsynchronousStepPrimaryName", "value": entity()},
                    {"value": {"__type": "Entity:x", **entity(RESOURCE)}, "key": "post"},
                ],
            },
            RESOURCE,
        ),
        ({"PostEntityImages": [{"key": "post", "value": None}]}, None),
        ({"PostEntityImages": [{"key": "post", "value": {"Id": BOOKING}}]}, None),
        ({"PostEntityImages": [{"key": "post", "value": {"Attributes": [{"key": "resource", "value": None}]}}]}, None),
    ],
    ids=["post-image", "target", "pre-image", "the newest wins", "null image", "no columns", "null column"],
)
def test_the_way_is_found_by_the_most_recent_resource(images: dict[str, Any], resource: str | None) -> None:
    assert one(post(**images)).resource == resource


@pytest.mark.parametrize("correlation", [None, 5, "x", "\ud800", "a" * 100, [[[]]]])
def test_a_correlation_that_is_no_guid_is_left_out(correlation: Any) -> None:
    assert one(post(CorrelationId=correlation)).correlation == ""


def test_the_version_is_of_the_row_after_the_change() -> None:
    images: dict[str, Any] = {
        "PreEntityImages": [{"key": "pre", "value": entity(version="7")}],
        "PostEntityImages": [{"key": "post", "value": entity(version="9")}],
    }
    assert one(post(**images)).version == 9
    assert one(post(PreEntityImages=images["PreEntityImages"])).version is None
    assert one(post("Create", **parameters(Target=entity(version="8")))).version == 8


def test_r1_the_version_that_the_author_of_an_update_expected_is_not_the_new_one() -> None:
    """Optimistic concurrency puts the old version into the target; as the new one it would look like an echo."""
    assert one(post("Update", **parameters(Target=entity(version="8")))).version is None


# Messages about many rows.


def row(number: int, **more: Any) -> dict[str, Any]:
    return {**entity(RESOURCE, "9"), "Id": f"{BOOKING[:-2]}{number:02}", **more}


@pytest.mark.parametrize(
    ("message", "cause", "version"),
    [
        ("CreateMultiple", Cause.CREATED, 9),
        ("UpdateMultiple", Cause.UPDATED, None),
        ("UpsertMultiple", Cause.UPDATED, None),
        ("DeleteMultiple", Cause.DELETED, None),
    ],
)
def test_a_bulk_message_gives_a_hint_for_each_row(message: str, cause: Cause, version: int | None) -> None:
    got = read(bulk(message, row(1), row(2)))
    assert [(hint.booking[-2:], hint.cause, hint.version, hint.resource) for hint in got] == [
        ("01", cause, version, RESOURCE),
        ("02", cause, version, RESOURCE),
    ]
    assert {hint.correlation for hint in got} == {"90000000-0000-4000-8000-00000000c0de"}


def test_the_ids_of_new_rows_stand_in_the_target_in_its_columns_or_in_the_result() -> None:
    column = {"key": "bookableresourcebookingid", "value": BOOKING}
    assert one(bulk("CreateMultiple", {"Id": NOBODY, "Attributes": [column]})).booking == BOOKING
    result = [{"key": "Ids", "value": [row(1)["Id"], row(2)["Id"]]}]
    for rows in ([row(1, Id=NOBODY), row(2, Id=None)], []):
        got = read(bulk("CreateMultiple", *rows, OutputParameters=result))
        assert [hint.booking for hint in got] == [row(1)["Id"], row(2)["Id"]]


@pytest.mark.parametrize(
    "value",
    [
        bulk("UpdateMultiple"),
        bulk("UpdateMultiple", InputParameters=None),
        bulk("UpdateMultiple", row(1), row(2, Id=NOBODY)),
        bulk("CreateMultiple", row(1, Id=NOBODY), OutputParameters=[{"key": "Ids", "value": []}]),
    ],
    ids=["no rows", "too large", "a row without id", "no ids in the result"],
)
def test_a_bulk_message_that_does_not_name_all_its_rows_is_refused(value: Any) -> None:
    """Storing half of it would look like success; change tracking brings the whole."""
    with pytest.raises(InvalidPostError, match="change tracking") as caught:
        read(value)
    assert caught.value.status == 422


def test_more_rows_than_dataverse_can_post_are_refused() -> None:
    with pytest.raises(InvalidPostError) as caught:
        read(bulk("UpdateMultiple", *([{"Id": BOOKING}] * (MOST_ROWS + 1))))
    assert caught.value.status == 413


# Refused.


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ([], 400),
        ({}, 400),
        (post(OrganizationId="8a1d0000-0000-4000-8000-0000000000aa"), 403),
        (post(PrimaryEntityName="account"), 422),
        (post("Retrieve"), 422),
        (post(PrimaryEntityId="not a guid"), 400),
        (post(InputParameters="text"), 400),
        (post(PostEntityImages=[{"value": {}}]), 400),
        (post(PostEntityImages=[{"key": "post", "value": {"Attributes": [], "RowVersion": "x"}}]), 400),
        (post(PostEntityImages=[{"key": "post", "value": {"Attributes": [], "RowVersion": float("inf")}}]), 400),
        (post(PrimaryEntityId=None, InputParameters=None), 400),
        (post(MessageName=["Update"]), 422),
        (bulk("UpdateMultiple", 5), 400),
        (bulk("UpdateMultiple", {"Id": "x"}), 400),
        (bulk("UpdateMultiple", **parameters(Targets=5)), 400),
    ],
    ids=[
        "array",
        "empty",
        "wrong organisation (R14)",
        "wrong table",
        "wrong message",
        "bad id",
        "parameters",
        "image without key",
        "version",
        "endless version",
        "no id at all",
        "message is a list",
        "row is a number",
        "row with a bad id",
        "targets are a number",
    ],
)
def test_a_wrong_post_is_refused_with_words(value: Any, status: int) -> None:
    with pytest.raises(InvalidPostError) as caught:
        read(value)
    assert caught.value.status == status
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", JSON, 400),
        (b"\xff\xfe", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b" " * (MOST_BYTES + 1), JSON, 413),
        (b"{}", "text/plain", 415),
        (b"{}", "", 415),
    ],
    ids=["not json", "not text", "too deep", "too large", "wrong type", "no type"],
)
def test_what_is_no_post_at_all(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(InvalidPostError) as caught:
        read_post(body, content_type, ORGANIZATION)
    assert caught.value.status == status


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([BOOKING, NOBODY]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["key", "value", "Id", "Attributes", "Entities", "RowVersion"]), inner, max_size=2
        )
        | st.fixed_dictionaries({"key": st.sampled_from(["Target", "Targets", "Ids", "resource"]), "value": inner})
    ),
    max_leaves=6,
)
MESSAGES = (
    "Create",
    "Update",
    "Delete",
    "SetState",
    "Assign",
    "CreateMultiple",
    "UpdateMultiple",
    "Upsert",
    "Retrieve",
)


@given(
    st.sampled_from(MESSAGES),
    st.dictionaries(
        st.sampled_from(
            [
                *("OrganizationId", "PrimaryEntityName", "PrimaryEntityId", "MessageName", "CorrelationId"),
                *("InputParameters", "OutputParameters", "PreEntityImages", "PostEntityImages", "ParentContext"),
            ]
        ),
        json_values,
        max_size=2,
    ),
)
def test_whatever_the_json_it_is_read_or_refused(message: str, changes: dict[str, Any]) -> None:
    """Never any other exception: that would be answered with 503 and posted again."""
    with suppress(InvalidPostError):
        hints = read({**post(message), **changes})
        assert hints
        assert all(hint.booking == hint.booking.lower() != NOBODY for hint in hints)


@pytest.mark.parametrize("name", ["PrimaryEntityId", "MessageName", "CorrelationId", "OrganizationId"])
@pytest.mark.parametrize("depth", [500, 5_000, 50_000])
def test_deep_json_is_read_or_refused(name: str, depth: int) -> None:
    body = json.dumps(post(**{name: "HERE"})).replace('"HERE"', "[" * depth + "]" * depth).encode()
    with suppress(InvalidPostError):
        assert read_post(body, JSON, ORGANIZATION)
