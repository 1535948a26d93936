"""Many operations at once: `$batch`, change sets, bulk actions."""

from __future__ import annotations

import json
import re
from email import message_from_bytes
from email.message import Message

import pytest

from sandbox.cloud import Cloud
from sandbox.dataverse.routes import Dataverse
from sandbox.directory import known_id
from sandbox.http import Json, Response
from sandbox.seed import Contoso
from tests.sandbox_dataverse.clients import ROOT, Client, Receiver, a_booking, by_key, register

BOOKINGS = "bookableresourcebookings"
ACTION = f"{BOOKINGS}/Microsoft.Dynamics.CRM"
TYPE = {"@odata.type": "Microsoft.Dynamics.CRM.bookableresourcebooking"}
FIRST, SECOND = known_id("first"), known_id("second")


def part(method: str, path: str, body: Json = None, content_id: str = "", **headers: str) -> str:
    """One operation as the text of a part."""
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    lines += [f"Content-ID: {content_id}"] if content_id else []
    lines += ["", f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {one}" for name, one in headers.items())]
    lines += ["Content-Type: application/json; type=entry"] if body is not None else []
    return "\r\n".join([*lines, "", json.dumps(body) if body is not None else "", ""])


def change_set(*parts: str) -> str:
    """Operations that stand or fall together."""
    inner = "".join(f"--changeset_1\r\n{one}" for one in parts)
    return f'Content-Type: multipart/mixed; boundary="changeset_1"\r\n\r\n{inner}--changeset_1--\r\n'


async def send(client: Client, *items: str, prefer: str = "") -> Response:
    body = "".join(f"--batch_1\r\n{item}" for item in items) + "--batch_1--\r\n"
    headers = {"Content-Type": 'multipart/mixed; boundary="batch_1"', **({"Prefer": prefer} if prefer else {})}
    return await client.call("POST", "$batch", body.encode(), headers=headers)


def answers(response: Response) -> list[tuple[int, str, Json]]:
    """Status, Content-ID and JSON of every operation's answer, those of change sets included."""
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode()
    return list(_answers(message_from_bytes(head + response.body)))


def _answers(message: Message) -> list[tuple[int, str, Json]]:
    found: list[tuple[int, str, Json]] = []
    for one in message.get_payload():
        assert isinstance(one, Message)
        if one.is_multipart():
            found += _answers(one)
            continue
        text = one.get_payload()
        assert isinstance(text, str)
        status = re.match(r"HTTP/1\.1 (\d+) ", text)
        assert status is not None
        _, _, body = text.replace("\r\n", "\n").partition("\n\n")
        found.append((int(status[1]), one.get("Content-ID", ""), json.loads(body) if body.strip() else None))
    return found


@pytest.fixture
async def booking(planner: Client, contoso: Contoso) -> str:
    return f"{BOOKINGS}({await planner.create(BOOKINGS, a_booking(contoso))})"


async def test_parts_are_executed_in_order(planner: Client, contoso: Contoso, booking: str, cloud: Cloud) -> None:
    cloud.recorder.clear()
    response = await send(
        planner,
        part("GET", f"/api/data/v9.2/{booking}?$select=name"),
        part("PATCH", f"{ROOT}/{booking}", {"name": "New"}, If_Match="*"),
        part("GET", f"{BOOKINGS}?$select=name&$filter=name eq 'new'"),
        part("POST", BOOKINGS, a_booking(contoso), Prefer="return=representation"),
    )
    assert response.status == 200
    found = answers(response)
    assert [status for status, _, _ in found] == [200, 204, 200, 201]
    assert found[0][2]["name"] == "Boiler service"
    assert found[2][2]["value"][0]["name"] == "New"
    assert cloud.recorder.counts() == {"dataverse": {"http": 1, "logical": 4, "refused": 0}}
    assert response.body.endswith(b"--\r\n")
    assert b"OData-EntityId: https://" in response.body


async def test_the_first_error_ends_the_batch_with_its_status(planner: Client, booking: str) -> None:
    response = await send(
        planner,
        part("PATCH", booking, {"name": "Kept"}),
        part("PATCH", booking, {"name": "x" * 101}),
        part("PATCH", booking, {"name": "Never"}),
    )
    assert response.status == 400
    assert [status for status, _, _ in answers(response)] == [204, 400]
    assert b"REQ_ID: " in response.body
    assert (await planner.get(f"{booking}?$select=name"))["name"] == "Kept"


async def test_a_batch_may_fail_with_some_of_its_parts_carried_out(
    planner: Client, contoso: Contoso, cloud: Cloud
) -> None:
    cloud.faults.add({"path": "*/$batch", "do": "drop_after_commit", "parts": 2})
    creates = [part("POST", BOOKINGS, a_booking(contoso, name=f"Number {number}")) for number in range(4)]
    assert (await send(planner, *creates, prefer="odata.continue-on-error")).dropped
    rows = (await planner.get(f"{BOOKINGS}?$select=name"))["value"]
    assert [row["name"] for row in rows] == ["Number 0", "Number 1"]


async def test_continue_on_error_answers_every_part(planner: Client, booking: str) -> None:
    response = await send(
        planner,
        part("PATCH", booking, {"name": "x" * 101}),
        part("PATCH", booking, {"name": "Stale"}, If_Match='W/"1"'),
        part("GET", f"unknownthings({FIRST})"),
        part("PATCH", booking, {"name": "Done"}, If_Match="*"),
        prefer="odata.continue-on-error",
    )
    assert response.status == 200
    assert [status for status, _, _ in answers(response)] == [400, 412, 501, 204]


async def test_a_write_in_a_batch_has_its_own_condition_tag_and_representation(
    planner: Client, booking: str, receiver: Receiver, dataverse: Dataverse
) -> None:
    await register(planner)
    version = (await planner.get(f"{booking}?$select=name"))["@odata.etag"]
    response = await send(
        planner,
        part(
            "PATCH",
            f"/api/data/v9.2/{booking}?$select=name,versionnumber&$expand=Resource($select=name)&tag=our%20mark",
            {"name": "New"},
            If_Match=version,
            Prefer="return=representation",
        ),
        part("PATCH", booking, {"name": "Late"}, If_Match=version),
        prefer="odata.continue-on-error",
    )
    [(status, _, row), (refused, _, error)] = answers(response)
    assert (status, row["name"]) == (200, "New")
    assert row["@odata.etag"] == f'W/"{row["versionnumber"]}"' != version
    assert "Resource" not in row
    assert (refused, error["error"]["code"]) == (412, "0x80060882")
    await dataverse.webhooks.quiet()
    [post] = receiver.bodies
    assert by_key(post["SharedVariables"])["tag"] == "our mark"


async def test_query_options_of_a_batch_are_not_modelled(planner: Client, booking: str) -> None:
    body = f"--batch_1\r\n{part('PATCH', booking, {'name': 'New'})}--batch_1--\r\n".encode()
    headers = {"Content-Type": 'multipart/mixed; boundary="batch_1"'}
    assert (await planner.call("POST", "$batch?tag=mine", body, headers=headers)).status == 501


async def test_a_change_set_stands_as_a_whole(
    planner: Client, contoso: Contoso, receiver: Receiver, booking: str
) -> None:
    response = await send(
        planner,
        change_set(
            part("PATCH", booking, {"name": "One"}, "1", If_Match="*"),
            part("POST", BOOKINGS, a_booking(contoso, name="Two"), "2"),
        ),
    )
    assert [(status, content_id) for status, content_id, _ in answers(response)] == [(204, "1"), (204, "2")]
    names = {row["name"] for row in (await planner.get(f"{BOOKINGS}?$select=name"))["value"]}
    assert names == {"One", "Two"}
    assert receiver.posts == []


async def test_a_failing_change_set_leaves_nothing_behind(
    planner: Client, contoso: Contoso, dataverse: Dataverse, booking: str
) -> None:
    response = await send(
        planner,
        change_set(
            part("PATCH", booking, {"name": "One"}, "1"),
            part("POST", BOOKINGS, a_booking(contoso, name="Two"), "2"),
            part("DELETE", booking, None, "3"),
            part("POST", BOOKINGS, a_booking(contoso, duration=...), "4"),
        ),
        part("GET", f"{booking}?$select=name"),
        prefer="odata.continue-on-error",
    )
    found = answers(response)
    assert [status for status, _, _ in found] == [400, 200]
    assert found[1][2]["name"] == "Boiler service"
    assert len((await planner.get(f"{BOOKINGS}?$select=name"))["value"]) == 1
    assert dataverse.state.deletions == []


async def test_later_parts_of_a_change_set_refer_to_earlier_ones(planner: Client, contoso: Contoso) -> None:
    response = await send(
        planner,
        change_set(
            part("POST", "bookableresources", {"name": "New", "resourcetype": 1, "timezone": 92}, "1"),
            part("POST", BOOKINGS, a_booking(contoso, **{"Resource@odata.bind": "$1"}), "2"),
            part("PATCH", "$2", {"name": "Renamed by reference"}, "3"),
        ),
    )
    assert response.status == 200
    rows = (await planner.get(f"{BOOKINGS}?$select=name&$expand=Resource($select=name)"))["value"]
    assert [(row["name"], row["Resource"]["name"]) for row in rows] == [("Renamed by reference", "New")]


async def test_a_reference_to_nothing_is_refused(planner: Client, contoso: Contoso) -> None:
    lonely = part("POST", BOOKINGS, a_booking(contoso, **{"Resource@odata.bind": "$7"}), "1")
    response = await send(planner, change_set(lonely))
    assert response.status == 400
    assert b"Content-ID Reference: '$7' does not exist in the batch context." in response.body


@pytest.mark.parametrize(
    "items",
    [
        (change_set(part("GET", BOOKINGS, None, "1")),),
        (change_set(part("DELETE", BOOKINGS)),),
        (change_set(part("DELETE", BOOKINGS, None, "1"), part("DELETE", BOOKINGS, None, "1")),),
        (part("POST", "$batch"),),
        ("Content-Type: application/http\r\n\r\nnonsense\r\n",),
        ("Content-Type: text/plain\r\n\r\nGET WhoAmI HTTP/1.1\r\n\r\n",),
        tuple(part("GET", "WhoAmI") for _ in range(1001)),
    ],
    ids=["read in a change set", "no id", "the same id twice", "nested", "no request line", "no http", "too many"],
)
async def test_malformed_batches_are_400(planner: Client, items: tuple[str, ...]) -> None:
    assert (await send(planner, *items)).status == 400


async def test_a_batch_needs_its_boundary(planner: Client) -> None:
    for kind in ("application/json", "multipart/mixed; boundary=other"):
        answer = await planner.call("POST", "$batch", b"--batch_1--\r\n", headers={"Content-Type": kind})
        assert answer.status == 400


async def test_a_part_that_breaks_the_connection_breaks_the_envelope(
    planner: Client, booking: str, cloud: Cloud
) -> None:
    cloud.faults.add({"service": "dataverse", "inner": True, "do": "drop_after_commit"})
    response = await send(planner, part("PATCH", booking, {"name": "Committed"}))
    assert response.dropped
    assert (await planner.get(f"{booking}?$select=name"))["name"] == "Committed"


async def test_create_multiple_answers_the_ids_in_order(planner: Client, contoso: Contoso) -> None:
    targets = [{**TYPE, **a_booking(contoso, bookableresourcebookingid=one)} for one in (FIRST, SECOND)]
    answer = await planner.call("POST", f"{ACTION}.CreateMultiple", {"Targets": targets})
    assert (answer.status, answer.json()["Ids"]) == (200, [FIRST, SECOND])


async def test_one_failing_row_rolls_all_back(planner: Client, contoso: Contoso) -> None:
    targets = [{**TYPE, **a_booking(contoso)}, {**TYPE, **a_booking(contoso, duration=...)}]
    assert (await planner.call("POST", f"{ACTION}.CreateMultiple", {"Targets": targets})).status == 400
    assert (await planner.get(f"{BOOKINGS}?$select=name"))["value"] == []


async def test_update_multiple_needs_every_row(planner: Client, booking: str) -> None:
    booking_id = booking.partition("(")[2].rstrip(")")
    known = {**TYPE, "bookableresourcebookingid": booking_id, "name": "New"}
    missing = {**TYPE, "bookableresourcebookingid": FIRST, "name": "New"}
    action = f"{ACTION}.UpdateMultiple?tag=mine"
    assert (await planner.call("POST", action, {"Targets": [known, missing]})).status == 404
    assert (await planner.get(f"{booking}?$select=name"))["name"] == "Boiler service"
    assert (await planner.call("POST", action, {"Targets": [known]})).status == 204
    assert (await planner.get(f"{booking}?$select=name"))["name"] == "New"


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("DeleteMultiple", {"Targets": [{**TYPE, "bookableresourcebookingid": FIRST}]}, 501),
        ("UpsertMultiple", {"Targets": [TYPE]}, 400),
        ("CreateMultiple", {"Targets": []}, 400),
        ("CreateMultiple", {"Targets": [{"name": "no type"}]}, 400),
        ("UpdateMultiple", {"Targets": [{**TYPE, "name": "no id"}]}, 400),
    ],
)
async def test_bulk_actions_that_are_refused(planner: Client, action: str, body: Json, status: int) -> None:
    assert (await planner.call("POST", f"{ACTION}.{action}", body)).status == status
