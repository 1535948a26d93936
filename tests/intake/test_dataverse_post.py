"""What is taken from a Dataverse post, and what is refused with words."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidPostError
from shared.intake.dataverse import MOST_BYTES, read_post
from shared.sync.model import Cause

ORGANIZATION = "7a1d0000-0000-4000-8000-0000000000aa"
BOOKING = "40000000-0000-4000-8000-00000000b001"
RESOURCE = "50000000-0000-4000-8000-0000000000e1"
OLD_RESOURCE = "50000000-0000-4000-8000-0000000000e2"
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


def read(value: Any, content_type: str = JSON) -> Any:
    return read_post(json.dumps(value).encode(), content_type, ORGANIZATION)


@pytest.mark.parametrize(
    ("message", "cause"),
    [("Create", Cause.CREATED), ("Update", Cause.UPDATED), ("Delete", Cause.DELETED)],
)
def test_messages(message: str, cause: Cause) -> None:
    got = read(post(message))
    assert (got.booking, got.cause, got.correlation) == (BOOKING, cause, "90000000-0000-4000-8000-00000000c0de")


@pytest.mark.parametrize(
    ("images", "resource"),
    [
        ({"PostEntityImages": [{"key": "post", "value": entity(RESOURCE)}]}, RESOURCE),
        ({"InputParameters": [{"key": "Target", "value": entity(RESOURCE)}]}, RESOURCE),
        ({"PreEntityImages": [{"key": "pre", "value": entity(OLD_RESOURCE)}]}, OLD_RESOURCE),
        (
            {
                "PreEntityImages": [{"key": "pre", "value": entity(OLD_RESOURCE)}],
                "PostEntityImages": [
                    {"key": "AsynchronousStepPrimaryName", "value": entity()},
                    {"key": "post", "value": entity(RESOURCE)},
                ],
            },
            RESOURCE,
        ),
        ({"PreEntityImages": None, "PostEntityImages": None, "InputParameters": None}, None),
    ],
    ids=["post-image", "target", "pre-image", "the newest wins", "trimmed post"],
)
def test_the_way_is_found_by_the_most_recent_resource(images: dict[str, Any], resource: str | None) -> None:
    assert read(post(**images)).resource == resource


@pytest.mark.parametrize("correlation", [None, 5, "x", "\ud800", "a" * 100])
def test_a_correlation_that_is_no_guid_is_left_out(correlation: Any) -> None:
    assert read(post(CorrelationId=correlation)).correlation == ""


def test_the_version_is_of_the_row_after_the_change() -> None:
    images: dict[str, Any] = {
        "PreEntityImages": [{"key": "pre", "value": entity(version="7")}],
        "PostEntityImages": [{"key": "post", "value": entity(version="9")}],
    }
    assert read(post(**images)).version == 9
    assert read(post(PreEntityImages=images["PreEntityImages"])).version is None


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
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "value", "Id"]), inner),
    max_leaves=10,
)


@given(json_values, json_values, json_values)
def test_whatever_the_images_hold_it_is_read_or_refused(first: Any, second: Any, third: Any) -> None:
    """Never any other exception: that would be answered with 503 and posted again."""
    with suppress(InvalidPostError):
        assert read(post(InputParameters=first, PreEntityImages=second, PostEntityImages=third)).booking == BOOKING
