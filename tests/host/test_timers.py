from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from sandbox.functions.settings import SettingsError
from sandbox.functions.timers import Schedule, Status, StatusFile, Timer
from sandbox.functions.worker import InvocationError, TypedData

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "then"),
    [
        ("0 */5 * * * *", "2026-11-02T10:00:04", "2026-11-02T10:05:00"),
        ("*/10 * * * * *", "2026-11-02T10:00:04", "2026-11-02T10:00:10"),
        ("0 30 9 * Jan Mon", "2026-11-02T10:00:00", "2027-01-04T09:30:00"),
        ("0 0 9-17 * * MON-FRI", "2026-11-06T17:00:00", "2026-11-09T09:00:00"),
        ("0 0 0 1 Jul *", "2026-11-06T17:00:00", "2027-07-01T00:00:00"),
        ("0 0 12 * * WED", "2026-11-02T00:00:00", "2026-11-04T12:00:00"),
    ],
)
def test_six_fields_with_seconds_first_in_utc(text: str, after: str, then: str) -> None:
    next_tick = Schedule(text, "f").next_after(datetime.fromisoformat(after).replace(tzinfo=UTC))
    assert next_tick == datetime.fromisoformat(then).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "*/5 * * * *",
        "00:05:00",
        "60 * * * * *",
        "nonsense",
        "0 0 0 * * 8",
        "0 0 0 31 Feb *",
        "0 0 0 1 * MON",
        "0 0 0 L * *",
        "0 0 0 15W * *",
        "0 0 0 * * 5L",
        "0 0 0 * * 5#1",
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="function 'f'"):
        Schedule(text, "function 'f'")


class Time:
    """Goes on only when a timer waits for it."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    async def pause(self, _stopped: asyncio.Event, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Runs:
    """Notes runs of a timer and stops it after so many."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.infos: list[dict[str, Any]] = []
        self.stop: Callable[[], None]
        self._count = count
        self._error = error

    async def __call__(self, info: TypedData) -> None:
        self.infos.append(json.loads(info.value))
        if len(self.infos) == self._count:
            self.stop()
        if self._error:
            raise self._error


async def listen(runs: Runs, memory: StatusFile, schedule: str = "0 * * * * *", **options: Any) -> None:
    time = Time()
    timer = Timer("renew", Schedule(schedule, "f"), run=runs, memory=memory, now=time.now, pause=time.pause, **options)
    runs.stop = timer.stop
    await timer.listen()


async def test_a_timer_runs_at_its_ticks_and_after_failures(tmp_path: Path) -> None:
    runs = Runs(3, InvocationError("broken"))
    memory = StatusFile(tmp_path / "timers.json")
    await listen(runs, memory)
    assert [info["IsPastDue"] for info in runs.infos] == [False] * 3
    status = memory.load("renew")
    assert status
    assert status.last == NOON + timedelta(minutes=3)
    assert status.next == NOON + timedelta(minutes=4)


async def test_ticks_that_fall_into_a_run_are_left_out() -> None:
    time = Time()
    began: list[datetime] = []
    running = 0

    async def run(_: TypedData) -> None:
        nonlocal running
        running += 1
        assert running == 1
        began.append(time.time)
        time.time += timedelta(minutes=2, seconds=30)
        if len(began) == 2:
            timer.stop()
        running -= 1

    schedule = Schedule("0 * * * * *", "f")
    timer = Timer("slow", schedule, run=run, memory=StatusFile(None), now=time.now, pause=time.pause)
    await timer.listen()
    assert began == [NOON + timedelta(minutes=1), NOON + timedelta(minutes=4)]


async def test_a_tick_missed_while_the_host_was_down_is_made_up_for_as_past_due(tmp_path: Path) -> None:
    path = tmp_path / "timers.json"
    missed = NOON - timedelta(minutes=1)
    StatusFile(path).save("renew", Status(last=missed - timedelta(minutes=1), next=missed, updated=missed))
    runs = Runs(2)
    await listen(runs, StatusFile(path))
    assert [info["IsPastDue"] for info in runs.infos] == [True, False]
    assert datetime.fromisoformat(runs.infos[0]["ScheduleStatus"]["Next"]) == missed


async def test_a_new_timer_is_not_past_due_and_has_no_status(tmp_path: Path) -> None:
    runs = Runs(1)
    await listen(runs, StatusFile(tmp_path / "timers.json"), run_on_startup=True)
    assert runs.infos == [{"IsPastDue": False, "ScheduleStatus": None, "Schedule": {"AdjustForDST": True}}]


@pytest.mark.parametrize(
    ("schedule", "use_monitor", "remembered"),
    [("0 * * * * *", None, True), ("0 * * * * *", False, False), ("*/10 * * * * *", None, False)],
)
async def test_schedules_below_a_minute_or_unmonitored_are_not_remembered(
    *, tmp_path: Path, schedule: str, use_monitor: bool | None, remembered: bool
) -> None:
    memory = StatusFile(tmp_path / "timers.json")
    await listen(Runs(1), memory, schedule, use_monitor=use_monitor)
    assert (memory.load("renew") is not None) == remembered


async def test_the_worker_gets_the_timers_state(serve: Any, http: ClientSession) -> None:
    host = await serve(
        """
@app.timer_trigger("timer", schedule="%OFTEN%")
async def often(timer: func.TimerRequest) -> None:
    await note(past_due=timer.past_due, dst=timer.schedule["AdjustForDST"])

@app.timer_trigger("timer", schedule="0 0 0 1 1 *")
async def seldom(timer: func.TimerRequest) -> None:
    await note(by_hand=True)
""",
        settings={"OFTEN": "* * * * * *"},
    )
    async with http.get(f"{host.url}/api/seen/1") as answer:
        assert json.loads(await answer.text())[0] == {"past_due": False, "dst": True}
    async with http.post(f"{host.url}/admin/functions/seldom?code={host.master_key}", json={}) as answer:
        assert answer.status == 202
    count = 2
    while True:
        async with http.get(f"{host.url}/api/seen/{count}") as answer:
            seen = json.loads(await answer.text())
        if {"by_hand": True} in seen:
            break
        count = len(seen) + 1


async def test_a_timer_can_be_run_by_hand_and_awaited(serve: Any, http: ClientSession) -> None:
    host = await serve(
        """
@app.timer_trigger("timer", schedule="0 0 0 1 1 *")
async def good(timer: func.TimerRequest) -> None:
    await asyncio.sleep(0.1)
    await note(done=True)

@app.timer_trigger("timer", schedule="0 0 0 1 1 *")
async def bad(timer: func.TimerRequest) -> None:
    raise ValueError("on purpose")
"""
    )
    await host.run_function("good")
    async with http.get(f"{host.url}/api/seen/0") as answer:
        assert json.loads(await answer.text()) == [{"done": True}]
    with pytest.raises(RuntimeError, match="'bad' did not end well"):
        await host.run_function("bad")
    with pytest.raises(RuntimeError, match="answered 404"):
        await host.run_function("unknown")
