"""The other half of the story: what the technicians do in Outlook, and what the planner must see in Dynamics then.

Both sides write down what they agreed on; a step comes true when Dynamics and Outlook show exactly that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import quote

from sandbox.entra.certificates import known_key_pair
from sandbox.graph.lifecycle import Event
from sandbox.hands import BOOKINGS, LENGTH, NOTIFICATION, WEBHOOK, Hands, shown_times, times, when
from sandbox.http import Json
from sandbox.steps import APP, BOTH, DYNAMICS, GRAPH, OUTLOOK, Act, Step, StoryError, nothing
from sandbox.storage import GIVEN_UP

PATIENCE_AFTER_MUCH = 60.0
"""Seconds until a step has failed that brings hundreds of posts, or a round over all mailboxes."""
PATIENCE_WITH_A_DELETION = 90.0
"""The same while the app does not believe yet that an event is gone: its own last write has to be a minute old."""
DAYS_AHEAD = 4
CONFLICTS = {"SYNC_CONFLICTS": "time=dataverse"}
"""As in the sample settings."""
CERTIFICATE = "notifications"
"""What the certificate is called in the Key Vault for which Graph encrypts."""

MOVED, OUTLOOK_WINS, NOBODY_WINS, DYNAMICS_WINS = "Boiler check", "Door drive", "Water meter", "Fire door"
RENAMED, DELETED = "Cold room", "Spare part"
VISITS = {
    "carol": {MOVED: 6, OUTLOOK_WINS: 8, NOBODY_WINS: 10, DYNAMICS_WINS: 12},
    "dave": {RENAMED: 6, DELETED: 8},
}
"""Who has which visits, and at what hour."""

type Visits = dict[str, datetime]
"""When visits begin, by subject."""


class Technicians:
    """Carol and Dave with their calendars, and the planner who looks on."""

    def __init__(self, hands: Hands, now: datetime) -> None:
        """Tell what they do about visits some days ahead."""
        self._hands = hands
        self._up = hands.up
        self._day = (now + timedelta(days=DAYS_AHEAD)).replace(hour=0, minute=0, second=0, microsecond=0)
        self._person = {subject: person for person, visits in VISITS.items() for subject in visits}
        self._bookings: dict[str, str] = {}
        self._agreed: Visits = {}
        self._last_request = 0
        self._policy = "dataverse"
        """Who wins now, as it stands in the sample settings."""
        self._posts = 0
        """How many came again."""

    def first(self) -> Step:
        """What it is about; the older it is, the sooner a deletion is believed."""
        return Step(
            name="visits",
            where=DYNAMICS,
            deed="the planner books Carol and Dave for six visits, four days ahead",
            act=self._book,
            shows_in=OUTLOOK,
            look=self._as_agreed,
            objection=self._rest,
        )

    def steps(self) -> list[Step]:
        """What becomes of it; what has to be waited for comes last."""
        return [
            self._move_step("move in Outlook", "Carol drags a visit to 13:00", nothing, hour=13, most_reads=1),
            self._conflict_step("dataverse", DYNAMICS_WINS, winner=DYNAMICS),
            self._conflict_step("outlook", OUTLOOK_WINS, winner=OUTLOOK),
            self._conflict_step("park", NOBODY_WINS, winner=""),
            Step(
                name="notifications lost",
                where=BOTH,
                deed="both move, Dave renames, the planner gives in; an hour of posts is lost",
                act=self._work_unheard,
                then=self._run_timers,
                shows_in=BOTH,
                look=self._as_recovered,
                objection=self._rest,
                patience=PATIENCE_AFTER_MUCH,
            ),
            Step(
                name="echo storm",
                where=GRAPH,
                deed="everything that it ever told comes again, up to 1,000 posts",
                act=self._repeat,
                then=self._up.quiet,
                shows_in=APP,
                look=self._as_unimpressed,
                objection=self._too_much,
                patience=PATIENCE_AFTER_MUCH,
            ),
            self._move_step(
                "subscription removed",
                "all subscriptions vanish, a timer makes new ones; Carol drags to 14:00",
                self._lose_subscriptions,
                hour=14,
                most_reads=1,
            ),
            self._move_step(
                "with data",
                "Graph is to send changes along, encrypted; Carol drags to 15:00",
                self._ask_for_data,
                hour=15,
                most_reads=0,
            ),
            self._move_step(
                "certificate rotated",
                "a new certificate stands in the vault; Carol drags to 16:00",
                self._rotate,
                hour=16,
                most_reads=0,
            ),
            Step(
                name="delete in Outlook",
                where=OUTLOOK,
                deed="Dave deletes a visit; believed a minute after the app's last write of it",
                act=self._delete,
                shows_in=DYNAMICS,
                look=self._as_canceled,
                patience=PATIENCE_WITH_A_DELETION,
            ),
        ]

    def _move_step(self, name: str, deed: str, before: Act, *, hour: int, most_reads: int) -> Step:
        """Something happens, then Carol drags a visit; that may cost so many reads of Graph and one write."""
        start = self._at(hour)

        async def act() -> None:
            await before()
            await self._up.quiet()
            self._last_request = self._hands.last_call
            await self._drag(MOVED, start)
            self._agreed[MOVED] = start

        async def look() -> str:
            return f"the booking is {when(start)}, too ({self._cost()})" if await self._booked() == self._agreed else ""

        async def objection() -> str:
            await self._rest()
            spent = Counter(call.service for call in self._hands.work(self._last_request))
            return f"it took {self._cost()}" if spent["graph"] > most_reads or spent["dataverse"] > 1 else ""

        return Step(name=name, where=OUTLOOK, deed=deed, act=act, shows_in=DYNAMICS, look=look, objection=objection)

    def _conflict_step(self, policy: str, subject: str, *, winner: str) -> Step:
        """Both sides move a visit at the same time, under one of the policies; without a winner people decide."""
        in_outlook, in_dynamics = self._at(18), self._at(20)
        won, lost = (in_outlook, in_dynamics) if winner == OUTLOOK else (in_dynamics, in_outlook)

        async def act() -> None:
            if self._policy != policy:
                await self._up.restart_functions_host({"SYNC_CONFLICTS": f"time={policy}"})
                self._policy = policy
            async with self._hands.at_once():
                await self._drag(subject, in_outlook)
                await self._hands.save(self._bookings[subject], times(in_dynamics))
            if winner:
                self._agreed[subject] = won

        async def decided() -> str:
            losers = await self._up.table.losers(self._bookings[subject])
            is_kept = [fields["time"].partition("/")[0] for fields in losers[-1:]] == [lost.isoformat()]
            if not is_kept or not await self._as_agreed():
                return ""
            return f"both have {when(won)}; the journal keeps {when(lost)}"

        async def parked() -> str:
            as_put = {**self._agreed, subject: in_dynamics} == await self._booked()
            as_put = as_put and {**self._agreed, subject: in_outlook} == await self._shown()
            if not as_put or not await self._up.table.count(f"{GIVEN_UP}{self._bookings[subject]}"):
                return ""
            return f"Outlook keeps {in_outlook:%H:%M}, Dynamics {in_dynamics:%H:%M}; it waits for people"

        return Step(
            name=f"conflict, {policy}",
            where=BOTH,
            deed=f"both drag a visit at once, to {in_outlook:%H:%M} and {in_dynamics:%H:%M}; "
            + (f"{winner} wins" if winner else "people decide"),
            act=act,
            shows_in=BOTH,
            look=decided if winner else parked,
        )

    # What is done.

    def _at(self, hour: int) -> datetime:
        return self._day + timedelta(hours=hour)

    async def _book(self) -> None:
        for person, visits in VISITS.items():
            for subject, hour in visits.items():
                self._bookings[subject] = await self._hands.book(subject, person, self._at(hour))
                self._agreed[subject] = self._at(hour)

    async def _drag(self, subject: str, start: datetime) -> None:
        """Somebody drags an event of his in Outlook."""
        ends = {"start": start, "end": start + LENGTH}
        content = {name: {"dateTime": f"{at:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"} for name, at in ends.items()}
        await self._change(subject, content)

    async def _change(self, subject: str, content: Json) -> None:
        await self._hands.change_event(self._person[subject], await self._event(subject), content)

    async def _event(self, subject: str) -> str:
        person = self._person[subject]
        events = (await self._hands.calendars([person]))[person]
        [event] = [str(event["id"]) for event in events if event["subject"] == subject]
        return event

    async def _delete(self) -> None:
        await self._hands.delete_event(self._person[DELETED], await self._event(DELETED))
        del self._agreed[DELETED]

    async def _work_unheard(self) -> None:
        """Just before, the app has asked both sides, as it does every few minutes."""
        await self._run_timers()
        await self._up.quiet()
        self._last_request = self._hands.last_call
        async with self._hands.unheard(WEBHOOK, NOTIFICATION):
            await self._drag(MOVED, self._at(8))
            await self._change(RENAMED, {"subject": "Mine"})
            await self._hands.save(self._bookings[OUTLOOK_WINS], times(self._at(10)))
            await self._hands.save(self._bookings[NOBODY_WINS], times(self._at(18)))
        self._agreed |= {MOVED: self._at(8), OUTLOOK_WINS: self._at(10), NOBODY_WINS: self._at(18)}
        posts = [call for call in self._up.simulators.cloud.recorder.after(self._last_request) if call.status]
        if any(call.service in (WEBHOOK, NOTIFICATION) for call in posts):
            raise StoryError("a post arrived that was to be lost")

    async def _run_timers(self) -> None:
        for name in ("recover_calendars", "pull_dataverse"):
            await self._up.functions.run_function(name)

    async def _repeat(self) -> None:
        await self._up.quiet()
        self._last_request = self._hands.last_call
        self._posts = self._up.simulators.graph.notifications.repeat("shuffled")

    async def _lose_subscriptions(self) -> None:
        notifications = self._up.simulators.graph.notifications
        before = self._subscribed()
        notifications.signal(Event.REMOVED)
        await self._up.quiet()
        left = self._subscribed()
        await self._up.functions.run_function("keep_subscriptions")
        if left or self._subscribed() != before:
            raise StoryError(f"of {len(before)} subscriptions {len(left)} were left and {len(self._subscribed())} are")

    def _subscribed(self) -> Collection[str]:
        """The mailboxes of which the app is told, each as often as it is."""
        known = self._up.simulators.graph.notifications.overview()["subscriptions"]
        return sorted(one["mailbox"] for one in known if one["app"] == self._up.app.client_id)

    async def _ask_for_data(self) -> None:
        await self._renew_with("first", {"GRAPH_NOTIFICATION_CERTIFICATE": CERTIFICATE, **CONFLICTS})

    async def _rotate(self) -> None:
        await self._renew_with("second", {})

    async def _renew_with(self, certificate: str, settings: Mapping[str, str]) -> None:
        """A certificate is put into the vault; an app that starts anew reads it at once, not in some hours."""
        self._up.simulators.keyvault.put_certificate(CERTIFICATE, known_key_pair(f"{CERTIFICATE} {certificate}"))
        await self._up.restart_functions_host(settings)
        await self._up.functions.run_function("keep_subscriptions")

    # What is seen.

    async def _booked(self) -> Visits:
        """When the visits are in Dynamics; one that is canceled is not."""
        wanted = quote(" or ".join(f"bookableresourcebookingid eq {booking}" for booking in self._bookings.values()))
        columns = "$select=name,starttime,endtime&$expand=BookingStatus($select=name)"
        rows = (await self._hands.dataverse("GET", f"{BOOKINGS}?{columns}&$filter={wanted}"))["value"]
        ends = {row["name"]: [datetime.fromisoformat(row[name]) for name in ("starttime", "endtime")] for row in rows}
        canceled = {row["name"] for row in rows if "Canceled" in row["BookingStatus"]["name"]}
        return {
            subject: start
            for subject, (start, end) in ends.items()
            if end - start == LENGTH and subject not in canceled
        }

    async def _shown(self) -> Visits:
        """When the visits are in Outlook."""
        visits: Visits = {}
        for person, events in (await self._hands.calendars(VISITS)).items():
            for event in events:
                start, end = shown_times(event)
                if self._person.get(event["subject"]) == person and end - start == LENGTH:
                    visits[event["subject"]] = start
        return visits

    async def _as_agreed(self) -> str:
        """Whether both sides show what they agreed on."""
        if await self._booked() != self._agreed or await self._shown() != self._agreed:
            return ""
        return f"{len(self._agreed)} visits, the same on both sides"

    async def _as_recovered(self) -> str:
        if not await self._as_agreed():
            return ""
        calls = Counter(call.service for call in self._hands.calls(self._last_request) if not call.inner)
        asked = f"{calls['graph']} requests to Graph and {calls['dataverse']} to Dataverse"
        return f"{len(self._agreed)} visits, 0 drift, after {asked}"

    async def _as_unimpressed(self) -> str:
        return f"{self._posts} posts came, nothing was asked, nothing written"

    async def _as_canceled(self) -> str:
        return "the booking is canceled" if await self._as_agreed() else ""

    async def _too_much(self) -> str:
        """Objects when the storm has cost a request, or did not arrive."""
        posts = [
            call
            for call in self._up.simulators.cloud.recorder.after(self._last_request)
            if call.service == NOTIFICATION and call.status == HTTPStatus.ACCEPTED
        ]
        if not posts or len(posts) != self._posts:
            return f"{len(posts)} of {self._posts} posts arrived"
        return f"it took {self._cost()}" if self._hands.work(self._last_request) else ""

    async def _rest(self) -> str:
        """Lets everything come to rest, and objects when the sides agree no longer then."""
        await self._up.quiet()
        return "" if await self._as_agreed() else "later the sides differ"

    def _cost(self) -> str:
        """What the app has asked and written about the visits, in words."""
        kinds = Counter(
            f"{call.service.capitalize()} {'read' if call.method == 'GET' else 'write'}"
            for call in self._hands.work(self._last_request)
        )
        return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for kind, count in sorted(kinds.items())) or "no request"
