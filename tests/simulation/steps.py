"""What can happen in a simulation: each kind of step, how it is drawn by lot, and what it does.

To add a kind, write its two functions and its row in `KINDS`. A step that makes no sense when its turn comes gives
False and does nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from sandbox.dataverse.schema import Reference, Value
from sandbox.directory import known_id
from sandbox.faults import Rule
from sandbox.graph.events import Event
from sandbox.graph.lifecycle import Event as Signal
from shared.graph.wire import MARKER_PROPERTY
from tests.simulation.planner import Planner, times
from tests.simulation.rules import Rules
from tests.simulation.script import Step
from tests.simulation.stage import PEACE, STORAGE, Stage, Worker
from tests.simulation.world import START

SLOTS = 8
FIRST_DAY = START + timedelta(days=2)
FAR = timedelta(days=200)
MAILBOXES = ("alice", "bob", "carol", "dave")
WITHOUT_MAILBOX = ("room-1", "van", "xavier")
SECOND_RESOURCE = "alice too"
"""Another resource of a person who has one: both lead to the same mailbox."""
NAMES = ("Boiler", "Lift", "Pump", "Door")
STATUSES = ("Proposed", "Committed", "Canceled", "Scheduled", "In Progress", "Field Service Canceled")
WORK_ORDERS = ("WO-00001", "WO-00002", None)
CUSTOMERS = ("Fabrikam", "Northwind Traders")
"""Of the work orders above."""
MOST_ROUNDS = 12

type Given = Mapping[str, Any]


@dataclass(slots=True)
class Play:
    """A script being played: the stage, the judge, and which booking is in which slot."""

    stage: Stage
    rules: Rules
    slots: dict[int, str] = field(default_factory=dict)
    faults: list[Rule] = field(default_factory=list)
    planner: Planner = field(init=False)
    second: str = field(init=False)

    def __post_init__(self) -> None:
        """Put the planner at the desk and give a person a second resource."""
        self.planner = Planner(self.stage)
        self.second = known_id("bookableresource", SECOND_RESOURCE)
        user = self.stage.contoso.people["alice"].user_id
        values: dict[str, Value] = {"name": SECOND_RESOURCE, "resourcetype": 3, "userid": Reference("systemuser", user)}
        self.stage.dataverse.load("bookableresource", self.second, values)

    async def perform(self, step: Step) -> None:
        """Wait, then do one step."""
        await asyncio.sleep(step.wait)
        if await KINDS[step.do].perform(self, **step.given):
            self.stage.seen[f"step {step.do}"] += 1

    def resource(self, name: str) -> str:
        """The id of a bookable resource."""
        if name == SECOND_RESOURCE:
            return self.second
        return self.stage.contoso.spare_van if name == "van" else self.stage.contoso.resource(name)

    def add_fault(self, rule: Given) -> Rule:
        """Put a fault in force, for the app's own calls only."""
        app = {"app": self.stage.contoso.booking_sync.client_id} if rule["service"] in ("graph", "dataverse") else {}
        [made] = self.stage.cloud.faults.add({**rule, **app})
        self.faults.append(made)
        return made

    def count_faults(self) -> None:
        """Note which faults took effect."""
        for rule in self.faults:
            effect = {"do": rule.do, "status": rule.status, "retry_after": rule.retry_after}
            self.stage.seen[name_of_fault(rule.service, effect)] += rule.hits
        self.faults.clear()

    def end_faults(self) -> None:
        """From now on nothing fails."""
        self.count_faults()
        self.stage.cloud.faults.clear()
        self.stage.wakes_are_lost = False
        for worker in self.stage.workers:
            worker.calls_left = None
            worker.thaw()

    async def calm(self) -> None:
        """End all trouble, let everything come to rest, and judge."""
        self.end_faults()
        self.stage.dataverse.webhooks.release()
        self.stage.graph.notifications.release()
        await self.stage.rest(PEACE)
        await self.stage.replay()
        rounds, quiet = 0, False
        while not quiet and rounds < MOST_ROUNDS:
            if not await self.stage.rest(PEACE):
                self.rules.violations.append(f"R1: no rest within {PEACE:.0f} s: {self.stage.marks()}")
                return
            before = self.stage.tables.accepted
            await self.stage.pull()
            await self.stage.recover()
            quiet = self.stage.tables.accepted == before and self.stage.is_at_rest
            rounds += 1
        if not quiet:
            self.rules.violations.append(f"R1: asking both sides still finds something after {rounds} rounds")
        self.rules.check_at_rest()


def name_of_fault(service: str, effect: Given) -> str:
    """Under what a fault is counted."""
    parts = ["fault", service, effect["do"], str(effect.get("status") or "")]
    return " ".join(filter(None, [*parts, "with Retry-After" if effect.get("retry_after") else ""]))


# The planner.


async def book(play: Play, slot: int, person: str, start: float, status: str, order: str | None, name: str) -> bool:
    if slot in play.slots:
        return False
    body = {
        "name": name,
        **times(FIRST_DAY + timedelta(hours=start), 60),
        "bookingtype": 1,
        "Resource@odata.bind": f"/bookableresources({play.resource(person)})",
        "BookingStatus@odata.bind": f"/bookingstatuses({play.stage.contoso.statuses[status]})",
        **_order(play, order),
    }
    play.slots[slot] = await play.planner.create(body)
    return True


def _order(play: Play, order: str | None) -> dict[str, Any]:
    if order is None:
        return {}
    return {"msdyn_workorder@odata.bind": f"/msdyn_workorders({play.stage.contoso.work_orders[order]})"}


def change(act: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[bool]]:
    """A step that changes the booking in a slot, if there is one."""

    async def perform(play: Play, slot: int, **given: Any) -> bool:
        if slot not in play.slots:
            return False
        play.rules.plan(play.slots[slot])
        await act(play, play.slots[slot], **given)
        return True

    return perform


@change
async def move(play: Play, booking: str, start: float) -> None:
    await play.planner.move(booking, FIRST_DAY + timedelta(hours=start), 60)


@change
async def rename(play: Play, booking: str, name: str) -> None:
    await play.planner.change(booking, name=name)


@change
async def work_order(play: Play, booking: str, order: str | None) -> None:
    empty = {"msdyn_workorder@odata.bind": None}
    await play.planner.change(booking, **(_order(play, order) or empty))


@change
async def status(play: Play, booking: str, status: str) -> None:
    await play.planner.set_status(booking, status)


@change
async def reassign(play: Play, booking: str, person: str) -> None:
    await play.planner.assign_resource(booking, play.resource(person))


@change
async def waver(play: Play, booking: str, status: str, back: str, pause: float) -> None:
    """The planner takes a status back, or what an edit of it was."""
    await play.planner.set_status(booking, status)
    await asyncio.sleep(pause)
    await play.planner.set_status(booking, back)


@change
async def lend(play: Play, booking: str, person: str, back: str, pause: float) -> None:
    """The planner gives a booking to one and at once to another."""
    await play.planner.assign_resource(booking, play.resource(person))
    await asyncio.sleep(pause)
    await play.planner.assign_resource(booking, play.resource(back))


async def delete(play: Play, slot: int) -> bool:
    if slot not in play.slots:
        return False
    await play.planner.delete(play.slots.pop(slot))
    return True


async def rename_customer(play: Play, customer: str, name: str) -> bool:
    await _save(play, f"accounts({play.stage.contoso.customers[customer]})", name=name)
    return True


async def employ(play: Play, person: str, *, is_employed: bool) -> bool:
    """A user is disabled in Dynamics 365, or enabled again."""
    play.rules.plan(*play.slots.values())
    await _save(play, f"systemusers({play.stage.contoso.people[person].user_id})", isdisabled=not is_employed)
    return True


async def _save(play: Play, path: str, **columns: Any) -> None:
    status, body, _ = await play.stage.call_dataverse("PATCH", path, columns, {"If-Match": "*"})
    assert status == 204, body


# The technician.


def _event(play: Play, slot: int) -> tuple[str, Event] | None:
    """The event of the booking in a slot, as a person sees it, and the path of its calendar."""
    for person in MAILBOXES:
        account = play.stage.contoso.account(person)
        for event in play.stage.graph.state.mailbox(account).events_of():
            item = play.rules.items[event.item_id]
            if item.is_ours and item.booking == play.slots.get(slot):
                return f"/users/{account.id}/events", event
    return None


async def edit_event(play: Play, slot: int, subject: str | None, start: float | None) -> bool:
    found = _event(play, slot)
    if found is None:
        return False
    path, event = found
    body: dict[str, Any] = {"subject": subject} if subject is not None else {}
    if start is not None:
        body |= {"isAllDay": False, **_at(start)}
    answer, _, _ = await play.stage.call_graph("PATCH", f"{path}/{event.folder_id}", body)
    assert answer == 200
    if start is not None:
        play.rules.move(play.slots[slot], FIRST_DAY + timedelta(hours=start))
    return True


async def clash(play: Play, slot: int, start: float, other: float) -> bool:
    """The planner moves a booking while a person moves its event."""
    if _event(play, slot) is None:
        return False
    play.rules.plan(play.slots[slot])
    moving = asyncio.create_task(play.planner.move(play.slots[slot], FIRST_DAY + timedelta(hours=start), 60))
    await edit_event(play, slot, None, other)
    await moving
    return True


async def spoil_event(play: Play, slot: int, *, is_all_day: bool) -> bool:
    """A person makes the event last all day, or takes its length."""
    found = _event(play, slot)
    if found is None:
        return False
    path, event = found
    begin = FIRST_DAY.replace(hour=0)
    end = begin + timedelta(days=1) if is_all_day else begin
    times = {
        name: {"dateTime": f"{at:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
        for name, at in (("start", begin), ("end", end))
    }
    answer, _, _ = await play.stage.call_graph("PATCH", f"{path}/{event.folder_id}", {"isAllDay": is_all_day, **times})
    assert answer == 200
    play.rules.plan(play.slots[slot])
    return True


def _at(start: float) -> dict[str, Any]:
    begin = FIRST_DAY + timedelta(hours=start)
    return {
        name: {"dateTime": f"{at:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
        for name, at in (("start", begin), ("end", begin + timedelta(hours=1)))
    }


async def delete_event(play: Play, slot: int) -> bool:
    found = _event(play, slot)
    if found is None:
        return False
    path, event = found
    answer, _, _ = await play.stage.call_graph("DELETE", f"{path}/{event.folder_id}")
    assert answer == 204
    play.rules.plan(play.slots[slot])
    return True


async def copy_event(play: Play, slot: int, person: str) -> bool:
    """A person copies the event, with all its hidden properties, into a calendar."""
    found = _event(play, slot)
    if found is None:
        return False
    properties = [{"id": name, "value": value} for name, value in found[1].content.properties.items()]
    return await _own_event(play, person, found[1].content.subject or "", properties)


async def foreign_event(play: Play, person: str, marker: str) -> bool:
    """An event that is none of ours, or one of another organisation's app."""
    properties = [{"id": MARKER_PROPERTY, "value": marker}] if marker else []
    return await _own_event(play, person, "A person's own", properties)


async def _own_event(play: Play, person: str, subject: str, properties: list[dict[str, str]]) -> bool:
    body = {"subject": subject, **_at(5), "singleValueExtendedProperties": properties}
    path = f"/users/{play.stage.contoso.account(person).id}/events"
    answer, _, _ = await play.stage.call_graph("POST", path, body)
    assert answer == 201
    return True


# Trouble.


async def time_passes(_play: Play) -> bool:
    return True


async def fault(play: Play, rule: Given) -> bool:
    play.add_fault(rule)
    return True


async def outage(play: Play, service: str, seconds: float) -> bool:
    """A service refuses every call for a while; of posts, all are lost."""
    rule = play.add_fault(
        {"service": service, "do": "lose" if service in ("webhook", "notification") else "refuse", "times": None}
    )

    async def end() -> None:
        await asyncio.sleep(seconds)
        rule.times = 0

    play.stage.begin(end())
    return True


async def release(play: Play) -> bool:
    held = (play.stage.dataverse.webhooks, play.stage.graph.notifications)
    return bool(sum([outbox.release() for outbox in held]))


async def repeat_posts(play: Play, order: str, seed: int) -> bool:
    """Every post so far comes once more."""
    return bool(play.stage.dataverse.webhooks.repeat(order, seed))


async def lose_wakes(play: Play, seconds: float) -> bool:
    play.stage.wakes_are_lost = True

    async def end() -> None:
        await asyncio.sleep(seconds)
        play.stage.wakes_are_lost = False

    play.stage.begin(end())
    return True


async def crash(play: Play, worker: int, calls: int, *, after: bool) -> bool:
    """A worker dies at an outside call to come."""
    chosen = _worker(play, worker)
    if chosen is None:
        return False
    chosen.calls_left, chosen.strikes_after_the_call, chosen.strike = calls, after, chosen.die
    return True


async def freeze(play: Play, worker: int, calls: int, seconds: float, *, after: bool) -> bool:
    """A worker stands still for a while at an outside call to come."""
    chosen = _worker(play, worker)
    if chosen is None:
        return False

    async def end() -> None:
        await asyncio.sleep(seconds)
        chosen.thaw()

    def begin() -> None:
        chosen.freeze()
        play.stage.begin(end())

    chosen.calls_left, chosen.strikes_after_the_call, chosen.strike = calls, after, begin
    return True


async def kill(play: Play, worker: int) -> bool:
    """A worker dies now."""
    chosen = _worker(play, worker)
    if chosen is None:
        return False
    chosen.die()
    return True


def _worker(play: Play, number: int) -> Worker | None:
    workers = play.stage.workers
    return workers[number % len(workers)] if workers else None


async def pull(play: Play) -> bool:
    play.stage.begin(play.stage.pull())
    return True


async def recover(play: Play) -> bool:
    play.stage.begin(play.stage.recover())
    return True


async def signal(play: Play, event: str) -> bool:
    """Something becomes of all subscriptions."""
    return bool(play.stage.graph.notifications.signal(event))


async def replay(play: Play) -> bool:
    """An administrator has dead letters tried again."""
    play.stage.begin(play.stage.replay())
    return bool(play.stage.rows("dead"))


async def wipe(play: Play, order: str, seed: int) -> bool:
    """The table is emptied, and every post comes once more."""
    play.stage.tables.clear()
    play.rules.plan(*play.slots.values())
    play.stage.dataverse.webhooks.repeat(order, seed)
    return True


async def calm(play: Play) -> bool:
    await play.calm()
    return True


# By lot.


def _slot(lot: Random) -> int:
    return lot.randrange(SLOTS)


def _start(lot: Random) -> float:
    return lot.choice((0, 1, 2, 3, 4, 24, 26.5)) if lot.random() < 0.95 else FAR.total_seconds() / 3600


def _person(lot: Random) -> str:
    if lot.random() < 0.85:
        return lot.choice(MAILBOXES)
    return lot.choice((*WITHOUT_MAILBOX, SECOND_RESOURCE))


def _status(lot: Random) -> str:
    return lot.choice(STATUSES)


def _status_of_new(lot: Random) -> str:
    return "Committed" if lot.random() < 0.7 else lot.choice(STATUSES)


def _pause(lot: Random) -> float:
    return lot.choice((0.1, 0.5, 2.0, 10.0, 45.0))


def _edited(lot: Random) -> Given:
    return {
        "slot": _slot(lot),
        "subject": lot.choice(("My own words", None)),
        "start": lot.choice((9, 10.5, 11, None)),
    }


EVENTS = "/v1.0/users/*/events*"
GRAPH_WRITES = ("POST", "PATCH", "DELETE")
REFUSALS: tuple[Given, ...] = (
    {"do": "refuse", "status": 429},
    {"do": "refuse", "status": 429, "retry_after": 3},
    {"do": "refuse", "status": 429, "retry_after": 60},
    {"do": "refuse", "status": 503},
    {"do": "refuse", "status": 503, "retry_after": 5},
    {"do": "refuse", "status": 504},
    {"do": "refuse", "status": 500},
    {"do": "drop"},
    {"do": "html", "status": 502},
    {"do": "html", "status": 404},
    {"do": "html", "status": 200},
)
LOST_ANSWERS: tuple[Given, ...] = (
    {"do": "fail_after_commit", "status": 503},
    {"do": "fail_after_commit", "status": 504},
    {"do": "fail_after_commit", "status": 500},
    {"do": "drop_after_commit"},
)


def _graph_fault(lot: Random) -> Given:
    method = lot.choice((*GRAPH_WRITES, "GET", "*"))
    effect = lot.choice((REFUSALS, LOST_ANSWERS))
    return {"service": "graph", "method": method, "path": EVENTS, **lot.choice(effect), **_how_often(lot)}


def _dataverse_fault(lot: Random) -> Given:
    return {"service": "dataverse", **lot.choice(REFUSALS + LOST_ANSWERS), **_how_often(lot)}


def _login_fault(lot: Random) -> Given:
    return {"service": "login", **lot.choice(REFUSALS[3:8]), **_how_often(lot)}


def _storage_fault(lot: Random) -> Given:
    method = lot.choice(("get", "query", "transact", "transact", "transact"))
    effects = ("refuse", "fail_after_commit", "repeat") if method == "transact" else ("refuse",)
    return {"service": STORAGE, "method": method, "do": lot.choice(effects), **_how_often(lot)}


def _webhook_fault(lot: Random) -> Given:
    effects: tuple[Given, ...] = (
        *({"do": do} for do in ("lose", "duplicate", "hold", "reorder", "drop", "drop_after_commit")),
        *({"do": "refuse", "status": status} for status in (429, 500, 503)),
        {"do": "fail_after_commit", "status": 503},
    )
    return {"service": "webhook", **lot.choice(effects), "times": lot.randint(1, 4)}


def _notification_fault(lot: Random) -> Given:
    return {**_webhook_fault(lot), "service": "notification"}


def _delay(lot: Random) -> Given:
    service = lot.choice(("graph", "dataverse", "webhook", "notification", STORAGE))
    seconds = round(lot.uniform(1, 9 if service == STORAGE else 14), 1)
    return {"service": service, "do": "delay", "seconds": seconds, **_how_often(lot)}


def _touch(lot: Random) -> Given:
    return {"service": "graph", "do": "touch", "times": lot.randint(1, 5)}


def _unauthorized(lot: Random) -> Given:
    return {"service": lot.choice(("graph", "dataverse")), "do": "refuse", "status": 401, **_how_often(lot)}


def _denied(lot: Random) -> Given:
    return {"service": "graph", "path": EVENTS, "do": "refuse", "status": 403, **_how_often(lot)}


def _at_a_call(lot: Random) -> Given:
    return {"worker": lot.randrange(4), "calls": lot.randrange(25), "after": lot.choice((True, False))}


def _repeated(lot: Random) -> Given:
    return {"order": lot.choice(("same", "reversed", "shuffled")), "seed": lot.randrange(100)}


def _refused_write(lot: Random) -> Given:
    """Business logic does not allow what people did to an event."""
    return {"service": "dataverse", "method": "PATCH", "do": "refuse", "status": 400, **_how_often(lot)}


def _expired(lot: Random) -> Given:
    return {"service": lot.choice(("dataverse", "graph")), "do": "expire_cursor", "times": lot.randint(1, 6)}


def _how_often(lot: Random) -> Given:
    return {"after": lot.choice((0, 0, 0, 1, 2, 5)), "times": lot.choice((1, 1, 1, 2, 3, 8))}


def _rule(draw: Callable[[Random], Given]) -> Callable[[Random], Given]:
    return lambda lot: {"rule": dict(draw(lot))}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of step. `weight` is how often it is drawn when a script has it at all."""

    weight: float
    perform: Callable[..., Awaitable[bool]]
    draw: Callable[[Random], Given]


def _none(_lot: Random) -> Given:
    return {}


KINDS: Mapping[str, Kind] = {
    "book": Kind(
        14,
        book,
        lambda lot: {
            "slot": _slot(lot),
            "person": _person(lot),
            "start": _start(lot),
            "status": _status_of_new(lot),
            "order": lot.choice(WORK_ORDERS),
            "name": lot.choice(NAMES),
        },
    ),
    "move": Kind(6, move, lambda lot: {"slot": _slot(lot), "start": _start(lot)}),
    "rename": Kind(4, rename, lambda lot: {"slot": _slot(lot), "name": lot.choice(NAMES)}),
    "work_order": Kind(3, work_order, lambda lot: {"slot": _slot(lot), "order": lot.choice(WORK_ORDERS)}),
    "status": Kind(6, status, lambda lot: {"slot": _slot(lot), "status": _status(lot)}),
    "reassign": Kind(8, reassign, lambda lot: {"slot": _slot(lot), "person": _person(lot)}),
    "waver": Kind(
        3,
        waver,
        lambda lot: {"slot": _slot(lot), "status": _status(lot), "back": _status_of_new(lot), "pause": _pause(lot)},
    ),
    "lend": Kind(
        3,
        lend,
        lambda lot: {"slot": _slot(lot), "person": _person(lot), "back": _person(lot), "pause": _pause(lot)},
    ),
    "delete": Kind(4, delete, lambda lot: {"slot": _slot(lot)}),
    "rename_customer": Kind(
        1,
        rename_customer,
        lambda lot: {"customer": lot.choice(CUSTOMERS), "name": lot.choice(("Litware", "Fabrikam", "Trey"))},
    ),
    "employ": Kind(1, employ, lambda lot: {"person": lot.choice(MAILBOXES), "is_employed": lot.choice((True, False))}),
    "edit_event": Kind(14, edit_event, _edited),
    "clash": Kind(4, clash, lambda lot: {"slot": _slot(lot), "start": _start(lot), "other": lot.choice((9, 10.5, 11))}),
    "spoil_event": Kind(2, spoil_event, lambda lot: {"slot": _slot(lot), "is_all_day": lot.choice((True, False))}),
    "delete_event": Kind(5, delete_event, lambda lot: {"slot": _slot(lot)}),
    "copy_event": Kind(2, copy_event, lambda lot: {"slot": _slot(lot), "person": lot.choice(MAILBOXES)}),
    "foreign_event": Kind(
        1,
        foreign_event,
        lambda lot: {
            "person": lot.choice(MAILBOXES),
            "marker": lot.choice(("", f"1.{known_id('x')}.{known_id('y')}.1")),
        },
    ),
    "time_passes": Kind(3, time_passes, _none),
    "graph_fault": Kind(14, fault, _rule(_graph_fault)),
    "dataverse_fault": Kind(6, fault, _rule(_dataverse_fault)),
    "login_fault": Kind(1, fault, _rule(_login_fault)),
    "storage_fault": Kind(6, fault, _rule(_storage_fault)),
    "webhook_fault": Kind(5, fault, _rule(_webhook_fault)),
    "notification_fault": Kind(5, fault, _rule(_notification_fault)),
    "delay": Kind(3, fault, _rule(_delay)),
    "touch": Kind(2, fault, _rule(_touch)),
    "unauthorized": Kind(0.5, fault, _rule(_unauthorized)),
    "denied": Kind(0.6, fault, _rule(_denied)),
    "refused_write": Kind(2, fault, _rule(_refused_write)),
    "expired_cursor": Kind(1, fault, _rule(_expired)),
    "outage": Kind(
        2,
        outage,
        lambda lot: {
            "service": lot.choice(("graph", "dataverse", "login", STORAGE)),
            "seconds": lot.choice((20, 60, 300, 900)),
        },
    ),
    "lost_posts": Kind(1, outage, lambda lot: {"service": "webhook", "seconds": lot.choice((10, 120, 3600))}),
    "lost_notifications": Kind(
        1, outage, lambda lot: {"service": "notification", "seconds": lot.choice((10, 120, 3600))}
    ),
    "signal": Kind(1, signal, lambda lot: {"event": lot.choice(list(Signal))}),
    "lose_wakes": Kind(1, lose_wakes, lambda lot: {"seconds": lot.choice((5, 60))}),
    "release": Kind(2, release, _none),
    "repeat_posts": Kind(1, repeat_posts, _repeated),
    "replay": Kind(1, replay, _none),
    "wipe": Kind(0.7, wipe, _repeated),
    "crash": Kind(4, crash, _at_a_call),
    "kill": Kind(2, kill, lambda lot: {"worker": lot.randrange(4)}),
    "freeze": Kind(4, freeze, lambda lot: {**_at_a_call(lot), "seconds": round(lot.uniform(1, 60), 1)}),
    "pull": Kind(3, pull, _none),
    "recover": Kind(4, recover, _none),
    "calm": Kind(1.5, calm, _none),
}
