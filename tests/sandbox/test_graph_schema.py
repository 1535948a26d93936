"""The comparison with Microsoft's schema can fail: broken answers are told from good ones, and fail a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.http import Json
from tests.sandbox.apps import ALICE, App
from tests.schema.validator import Validator
from tests.schema.watch import validator as compiled

ROOT = Path(__file__).parents[2]
EVENTS = ("users", ALICE, "events")
REMOVED = {"id": "1", "@removed": {"reason": "deleted"}}
CONTEXT = {"@odata.context": "https://graph/v1.0/$metadata#Collection(event)"}


@pytest.fixture
def validator() -> Validator:
    return compiled()


def without(name: str) -> Callable[[Json], None]:
    return lambda event: event.pop(name)


BROKEN: list[tuple[str, Callable[[Json], object], str]] = [
    ("unknown property", lambda event: event.update(colour="red"), "colour is no property of event"),
    ("unknown property inside", lambda event: event["body"].update(size=1), "body.size is no property of itemBody"),
    ("wrong case", lambda event: event["start"].update(TimeZone="UTC"), "start.TimeZone is no property of"),
    ("text for a flag", lambda event: event.update(isAllDay="false"), "isAllDay is no Edm.Boolean"),
    ("flag for a number", lambda event: event.update(reminderMinutesBeforeStart=True), "Start is no Edm.Int32"),
    ("number too large", lambda event: event.update(reminderMinutesBeforeStart=2**31), "Start is no Edm.Int32"),
    ("no instant", lambda event: event.update(createdDateTime="2026-03-01T08:00:00"), "is no Edm.DateTimeOffset"),
    ("enumeration", lambda event: event.update(showAs="away"), "showAs 'away' is no freeBusyStatus"),
    ("sentinel", lambda event: event.update(onlineMeetingProvider="unknownFutureValue"), "is no onlineMeetingProvider"),
    ("no object", lambda event: event.update(organizer="Alice"), "organizer is no object"),
    ("no collection", lambda event: event.update(categories=None), "categories is no collection"),
    ("wrong item", lambda event: event["categories"].append(1), "categories[0] is no Edm.String"),
    ("key missing", without("id"), "id is missing"),
    ("default missing", without("showAs"), "showAs is missing"),
    ("context missing", without("@odata.context"), "@odata.context is missing"),
    ("annotation", lambda event: event.update({"@odata.colour": "red"}), "@odata.colour is an unknown annotation"),
    ("of nothing", lambda event: event.update({"x@odata.context": ""}), "x@odata.context is an unknown annotation"),
    ("null key", lambda event: event.update(id=None), "id must not be null"),
    ("wrong type", lambda event: event.update({"@odata.type": "#microsoft.graph.user"}), "is no kind of event"),
]


@pytest.mark.parametrize(("spoil", "problem"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_a_broken_event_is_told_from_a_good_one(
    app: App, validator: Validator, spoil: Callable[[Json], object], problem: str
) -> None:
    event = await app.create(ALICE)
    assert not validator.check("POST", EVENTS, (), 201, json.dumps(event).encode())
    spoil(event)
    (found,) = validator.check("POST", EVENTS, (), 201, json.dumps(event).encode())
    assert problem in str(found)
    assert str(found).startswith(f"POST /users/{ALICE}/events 201: ")


ANSWERS: list[tuple[str, str, int, Json, str]] = [
    ("GET", "users/a/things", 200, {}, "answers an operation that Microsoft's schema does not have"),
    ("GET", "users/a/events", 200, {"value": []}, "@odata.context is missing"),
    ("GET", "users/a/events", 200, CONTEXT, "value is missing or no collection"),
    ("GET", "users/a/events", 200, {**CONTEXT, "value": [], "more": 1}, "more is unknown here"),
    ("GET", "users/a/events", 200, {**CONTEXT, "value": [REMOVED]}, "value[0].@removed is an unknown annotation"),
    ("GET", "users/a/calendarView/delta", 200, {**CONTEXT, "value": []}, "must have one of @odata.nextLink"),
    ("DELETE", "users/a/events/1", 204, {}, "must be empty"),
    ("POST", "users/a/events/1/cancel", 202, {}, "must be empty"),
    ("GET", "users/a/events/1", 404, {"error": {"code": "x"}}, "error.message is no text"),
    ("GET", "users/a/events/1", 404, {"message": "gone"}, "error is missing, or not alone"),
    ("POST", "$batch", 200, {"responses": [{"id": 1, "status": 200}]}, "responses[0].id is no text"),
    ("POST", "subscriptions", 201, {**CONTEXT, "id": "1", "resource": "r"}, "expirationDateTime is missing"),
]


@pytest.mark.parametrize(("method", "path", "status", "body", "problem"), ANSWERS, ids=[case[4] for case in ANSWERS])
def test_a_broken_answer_is_a_violation(
    validator: Validator, *, method: str, path: str, status: int, body: Json, problem: str
) -> None:
    found = validator.check(method, path.split("/"), (), status, json.dumps(body).encode())
    assert problem in "\n".join(map(str, found))


def test_a_round_of_changes_may_say_that_something_was_removed(validator: Validator) -> None:
    page: Json = {**CONTEXT, "value": [REMOVED, {"id": "2", "subject": "x"}], "@odata.deltaLink": "https://graph/"}
    assert not validator.check("GET", ("users", "a", "calendarView", "delta"), (), 200, json.dumps(page).encode())
    page["value"][0]["@removed"] = {"reason": "moved"}
    assert validator.check("GET", ("users", "a", "calendarView", "delta"), (), 200, json.dumps(page).encode())


SPOILT = """
from sandbox.cloud import Cloud
from sandbox.http import Request, Response

class Careless:
    name = "graph"
    async def handle(self, request, call):
        return Response.of_json(200, {"@odata.context": "", "id": "1", "colour": "red"})
    def is_envelope(self, request):
        return False
    def error(self, status, code, message):
        raise AssertionError

async def test_nothing_is_asserted_here():
    cloud = Cloud()
    cloud.add(Careless())
    await cloud.serve("graph", Request.of("GET", "https://localhost/v1.0/users/alice/calendar?$select=name"))
"""


def test_a_careless_simulator_fails_a_run_that_asserts_nothing(tmp_path: Path) -> None:
    """The figure at the end of every run is worth something."""
    test = tmp_path / "test_careless.py"
    test.write_text(SPOILT)
    command = [sys.executable, "-m", "pytest", "-p", "tests.schema.plugin", "-o", "asyncio_mode=auto", str(test)]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [*command, "--rootdir", str(tmp_path), "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "GET /users/alice/calendar 200: colour is no property of calendar" in done.stdout
    assert "1 Graph answers validated, 1 violations" in done.stdout
