"""The story of a few bookings: what the planner does in Dynamics, and what the technicians must see in Outlook then.

The planner works through the Dataverse Web API and keeps a diary; the technicians look through Microsoft Graph. Between
them is nothing but the app in its functions host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sandbox.hands import BOOKINGS, LENGTH, PEOPLE, WEBHOOK, Calendars, Hands, shown_times, times, when
from sandbox.http import Json
from sandbox.steps import DYNAMICS, OUTLOOK, Act, Step, StoryError

PATIENCE_AFTER_A_WIPE = 90.0
"""The same while the app searches all calendars, waits 25 s and searches them again."""
PATIENCE_AFTER_A_LOST_ANSWER = 60.0
"""The same while the app does not know yet what its lost create has led to: it waits until that must be over."""
SHOWN_AS = {"Committed": "busy", "Proposed": "tentative"}
TEAM = ("alice", "bob")
"""Whose calendars nothing else may enter, until everybody gets visits."""
BURST, MANY_PEOPLE = 100, 20
"""How many bookings are made at once, and for how many people."""
MOST_REQUESTS = {"graph": 15, "dataverse": 10}
"""What these may cost at most."""
CREATE = {"service": "graph", "method": "POST", "path": "*/users/*/events"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A booking in the planner's diary; one that is `shown_as` nothing is canceled."""

    subject: str
    person: str
    start: datetime
    shown_as: str


class Story:
    """Two technicians' calendars and the planner who fills them."""

    def __init__(self, hands: Hands, now: datetime) -> None:
        """Tell the story tomorrow morning."""
        self._hands = hands
        self._up = hands.up
        self._morning = (now + timedelta(days=1)).replace(hour=9, minute=0, second=0, microsecond=0)
        self._diary: dict[str, Entry] = {}
        self._booking = ""
        """The one that the planner has in hand; a key of the diary."""
        self._team: Collection[str] = TEAM
        self._items: Counter[tuple[str, str]] = Counter()
        self._last_request = 0

    def one_booking(self) -> list[Step]:
        """From its first day to its last."""
        step, afternoon = self._step, self._morning + timedelta(hours=5)
        return [
            step(
                "create",
                "the planner books Alice for a boiler service, tomorrow 09:00 to 10:30",
                lambda: self._book("Boiler service"),
            ),
            step("move", "drags it to 14:00", lambda: self._move(afternoon)),
            step("rename", "renames it to 'Boiler repair'", lambda: self._rename("Boiler repair")),
            step("work order", "attaches a work order of a customer", self._attach_work_order),
            step("status", "sets the status back to Proposed", lambda: self._set_status("Proposed")),
            step("reassign", "gives it to Bob", lambda: self._assign("bob")),
            step("reassign back", "gives it back to Alice", lambda: self._assign("alice")),
            step("cancel", "cancels the booking", lambda: self._set_status("Canceled")),
            step("take back", "commits it again", lambda: self._set_status("Committed")),
            step("delete", "deletes the booking", self._delete),
        ]

    def lost_answer(self) -> list[Step]:
        """It ends with half a minute of waiting."""
        step = self._step
        return [
            step(
                "lost answer",
                "books again, and Graph's answer to the create never arrives",
                self._book_unanswered,
            ),
            replace(step("delete that", "deletes it, too", self._delete), patience=PATIENCE_AFTER_A_LOST_ANSWER),
        ]

    def hard_times(self) -> list[Step]:
        """Everything is lost that can be lost, and then there is much to do at once."""
        step = self._step
        return [
            step(
                "heal",
                "books again while the webhook is down, then saves the booking once more",
                self._book_unheard,
            ),
            step("a full day", "books four more visits, for Alice and Bob", self._fill_the_day),
            replace(
                step(
                    "wipe",
                    "posts everything again; the app has lost its tables (half a minute)",
                    self._wipe_and_post_again,
                    self._as_before_the_wipe,
                ),
                then=self._up.quiet,
                patience=PATIENCE_AFTER_A_WIPE,
            ),
            step("after it", "drags the first visit to 16:00", self._move_after_the_wipe, self._as_the_same_items),
            replace(
                step(
                    "lost hour",
                    "books, moves, reassigns, cancels, deletes; an hour of posts is lost",
                    self._work_unheard,
                    self._as_asked_for,
                ),
                then=lambda: self._up.functions.run_function("pull_dataverse"),
            ),
            replace(
                step(
                    "burst",
                    f"books {BURST} visits for {MANY_PEOPLE} people at once; Microsoft takes its usual time",
                    self._book_the_week,
                    self._as_in_the_week,
                ),
                objection=self._costs_too_much,
            ),
        ]

    def _step(self, name: str, deed: str, act: Act, seen: Callable[[Calendars], str] | None = None) -> Step:
        """The planner does something, and the calendars show it: what is in the diary, unless `seen` says otherwise."""
        judge = seen or self._as_in_the_diary

        async def look() -> str:
            return judge(await self._hands.calendars(self._team))

        return Step(name=name, where=DYNAMICS, deed=deed, act=act, shows_in=OUTLOOK, look=look)

    # The technicians.

    def _as_in_the_diary(self, seen: Calendars) -> str:
        """What the calendars show, if it is exactly what the diary says."""
        shown = Counter(_entry(person, event) for person, events in seen.items() for event in events)
        if shown != Counter(entry for entry in self._diary.values() if entry.shown_as):
            return ""
        match list(shown):
            case []:
                return "the event is gone"
            case [one]:
                return f"{_name(one.person)} has '{one.subject}', {when(one.start)}, {one.shown_as}"
        return ", ".join(f"{_name(person)} has {len(events)} events" for person, events in seen.items())

    def _as_before_the_wipe(self, seen: Calendars) -> str:
        if self._as_in_the_diary(seen) and _items(seen) == self._items and not self._created_or_deleted():
            return f"the same {self._items.total()} events; the app searched all calendars, and again 25 s later"
        return ""

    def _as_the_same_items(self, seen: Calendars) -> str:
        if self._as_in_the_diary(seen) and _items(seen) == self._items and not self._created_or_deleted():
            return "it is there, still the same event: the app knows its events again"
        return ""

    def _as_asked_for(self, seen: Calendars) -> str:
        return "all five are right, once the app asked Dynamics itself" if self._as_in_the_diary(seen) else ""

    def _as_in_the_week(self, seen: Calendars) -> str:
        visits = Counter(event["subject"] for events in seen.values() for event in events)
        if any(visits[f"Visit {number}"] != 1 for number in range(BURST)):
            return ""
        spent = self._hands.requests(self._last_request)
        return f"{BURST} events after {spent['graph']} requests to Graph and {spent['dataverse']} to Dataverse"

    async def _costs_too_much(self) -> str:
        spent = self._hands.requests(self._last_request)
        over = [
            f"{spent[name]} requests to {name}, not {most}"
            for name, most in MOST_REQUESTS.items()
            if spent[name] > most
        ]
        return " and ".join(over)

    def _created_or_deleted(self) -> bool:
        """Whether the app made or deleted an event since the tables were wiped."""
        return any(call.method in ("POST", "DELETE") for call in self._hands.work(self._last_request))

    # The planner.

    @property
    def _in_hand(self) -> Entry:
        return self._diary[self._booking]

    async def _book(self, subject: str, person: str = "alice", start: datetime | None = None) -> None:
        entry = Entry(subject=subject, person=person, start=start or self._morning, shown_as=SHOWN_AS["Committed"])
        self._booking = await self._hands.book(subject, person, entry.start)
        self._diary[self._booking] = entry

    async def _book_unanswered(self) -> None:
        answer_lost = {**CREATE, "app": self._up.app.client_id, "do": "drop_after_commit"}
        self._up.simulators.cloud.faults.add(answer_lost)
        await self._book("Answer lost")

    async def _book_unheard(self) -> None:
        async with self._hands.unheard(WEBHOOK):
            await self._book("Nobody heard this")
        await self._rename("Heard at last")

    async def _move(self, start: datetime) -> None:
        await self._save(times(start), replace(self._in_hand, start=start))

    async def _rename(self, name: str) -> None:
        await self._save({"name": name}, replace(self._in_hand, subject=name))

    async def _assign(self, person: str) -> None:
        resource = await self._hands.bind("Resource", "bookableresources", PEOPLE[person])
        await self._save(resource, replace(self._in_hand, person=person))

    async def _set_status(self, name: str) -> None:
        status = await self._hands.bind("BookingStatus", "bookingstatuses", name)
        await self._save(status, replace(self._in_hand, shown_as=SHOWN_AS.get(name, "")))

    async def _attach_work_order(self) -> None:
        path = "msdyn_workorders?$select=msdyn_name&$expand=msdyn_serviceaccount($select=name)&$top=1"
        [order] = (await self._hands.dataverse("GET", path))["value"]
        columns = {"msdyn_workorder@odata.bind": f"/msdyn_workorders({order['msdyn_workorderid']})"}
        await self._save(columns, replace(self._in_hand, subject=order["msdyn_serviceaccount"]["name"]))

    async def _save(self, columns: Json, entry: Entry) -> None:
        """Change the booking in hand; `entry` is what the diary says from now on."""
        await self._hands.save(self._booking, columns)
        self._diary[self._booking] = entry

    async def _delete(self) -> None:
        await self._hands.dataverse("DELETE", f"{BOOKINGS}({self._booking})")
        del self._diary[self._booking]

    async def _fill_the_day(self) -> None:
        day = [("Lift inspection", "alice", 2), ("Replace pump", "alice", 4), ("Exchange filter", "bob", 0)]
        for subject, person, hours in [*day, ("Network cabling", "bob", 3)]:
            await self._book(subject, person, self._morning + timedelta(hours=hours))

    async def _wipe_and_post_again(self) -> None:
        """Wipe at rest: an event that the app could not write down any more it would take back and make anew."""
        await self._up.quiet()
        self._items = _items(await self._hands.calendars(self._team))
        self._last_request = self._hands.last_call
        await self._up.table.wipe()
        self._up.simulators.dataverse.webhooks.repeat("shuffled")

    async def _move_after_the_wipe(self) -> None:
        self._take("Heard at last")
        await self._move(self._morning + timedelta(hours=7))

    async def _work_unheard(self) -> None:
        """Work while posts are lost; just before, the timers ran as they do every five minutes."""
        for name in ("keep_subscriptions", "pull_dataverse"):
            await self._up.functions.run_function(name)
        await self._up.quiet()
        before = _items(await self._hands.calendars(self._team))
        async with self._hands.unheard(WEBHOOK):
            await self._work()
        if _items(await self._hands.calendars(self._team)) != before:
            raise StoryError("a post arrived that was to be lost")

    async def _work(self) -> None:
        await self._book("Repair conveyor", "bob", self._morning + timedelta(hours=6))
        self._take("Lift inspection")
        await self._move(self._morning + timedelta(hours=3))
        self._take("Replace pump")
        await self._assign("bob")
        self._take("Exchange filter")
        await self._set_status("Canceled")
        self._take("Network cabling")
        await self._delete()

    async def _book_the_week(self) -> None:
        """One request with all bookings, as a scheduling engine makes it; they start tomorrow and later."""
        people = "bookableresources?$select=name&$filter=resourcetype%20eq%203&$orderby=name"
        resources = (await self._hands.dataverse("GET", f"{people}&$top={MANY_PEOPLE}"))["value"]
        status = await self._hands.bind("BookingStatus", "bookingstatuses", "Committed")
        targets = [
            {
                "@odata.type": "Microsoft.Dynamics.CRM.bookableresourcebooking",
                "name": f"Visit {number}",
                **times(self._morning + timedelta(days=1 + number // MANY_PEOPLE)),
                "bookingtype": 1,
                "Resource@odata.bind": f"/bookableresources({resources[number % MANY_PEOPLE]['bookableresourceid']})",
                **status,
            }
            for number in range(BURST)
        ]
        self._team = [resource["name"].partition(" ")[0].lower() for resource in resources]
        self._up.simulators.cloud.settings.change({"graph.latency": "realistic", "dataverse.latency": "realistic"})
        await self._up.quiet()
        self._last_request = self._hands.last_call
        await self._hands.dataverse("POST", f"{BOOKINGS}/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})

    def _take(self, subject: str) -> None:
        """Take a booking into the hand."""
        [self._booking] = [booking for booking, entry in self._diary.items() if entry.subject == subject]


def _entry(person: str, event: Json) -> Entry:
    """An event as the planner would have written it down; one of another length is no such entry."""
    start, end = shown_times(event)
    subject = event["subject"] if end - start == LENGTH else f"{event['subject']} ({end - start})"
    return Entry(subject=subject, person=person, start=start, shown_as=event["showAs"])


def _items(seen: Calendars) -> Counter[tuple[str, str]]:
    """Which items stand in whose calendar."""
    return Counter((person, event["id"]) for person, events in seen.items() for event in events)


def _name(person: str) -> str:
    return person.capitalize()
