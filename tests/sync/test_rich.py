"""Notifications with data: a moved event costs no read, and whatever is wrong with the data costs one (R5, R11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sandbox.entra.certificates import known_key_pair
from sandbox.graph.notifications import PUBLISHER
from shared.errors import CredentialError
from shared.secrets import Secret
from tests.simulation.loop import run
from tests.simulation.planner import TOMORROW, Planner
from tests.simulation.world import FUNCTIONS, World
from tests.sync.test_one_way import only

SETTINGS = {
    "GRAPH_NOTIFICATION_URL": FUNCTIONS,
    "GRAPH_NOTIFICATION_CERTIFICATE": "notifications",
    "KEYVAULT_URL": "https://vault.sandbox",
}
LATER = TOMORROW + timedelta(hours=5)


class Vault:
    """Implements `Secrets`: versions of one certificate, the newest last."""

    def __init__(self) -> None:
        self.versions: dict[str, Secret] = {}
        self.seconds = 0.0
        self.rotate()

    def rotate(self) -> str:
        """Add a version; gives its name."""
        version = f"{len(self.versions) + 1:032x}"
        self.versions[version] = Secret(value=known_key_pair(f"rich {version}").pem, version=version)
        return version

    async def get(self, name: str) -> Secret:
        await asyncio.sleep(self.seconds)
        certificate, _, version = name.partition("/")
        assert certificate == "notifications"
        found = self.versions.get(version or list(self.versions)[-1])
        if found is None:
            raise CredentialError("no such version")
        return found

    def discard(self, name: str, secret: Secret) -> None:
        raise AssertionError(f"{name} is good: {secret}")


class Telling(World):
    """Contoso with an app that is told what has changed."""

    def __init__(self) -> None:
        super().__init__(settings=SETTINGS)
        self.certificates = self.vault = Vault()
        self.app = self.start_app()

    async def rest(self) -> None:
        """Until nobody has anything to tell or to do."""
        while True:
            await self.graph.notifications.quiet()
            await self.settle()
            if not self.graph.notifications.counts["waiting"]:
                return

    async def in_outlook(self, method: str, event: str, body: Any = None) -> None:
        """Alice does something to an event."""
        account = self.directory.find("alice@contoso.test")
        assert account is not None
        status, said, _ = await self.call_graph(method, f"/users/{account.id}/events/{event}", body)
        assert status in (200, 204), said

    async def drag(self, event: str, **more: Any) -> None:
        """Alice moves an event to `LATER`, and perhaps does more to it at once."""
        times = {
            name: {"dateTime": f"{LATER + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
            for name, minutes in (("start", 0), ("end", 90))
        }
        await self.in_outlook("PATCH", event, {**times, **more})

    async def starts(self, booking: str) -> str:
        status, row, _ = await self.call_dataverse("GET", f"bookableresourcebookings({booking})")
        assert status == 200
        return str(row["starttime"])

    def reads(self) -> int:
        """Operations that the app has asked of calendars."""
        app = self.contoso.booking_sync.client_id
        calls = [call for call in self.cloud.recorder.calls if (call.service, call.app) == ("graph", app)]
        return sum("/events" in call.path and call.method == "GET" for call in calls)


def told_all(story: Callable[[Telling, str, str], Awaitable[None]]) -> None:
    """Tell a story of one booking of Alice and its event, from when both are at rest and nothing is counted."""

    async def tell() -> None:
        now = Telling()
        try:
            await now.install()
            assert not (await now.app.subscribing.round()).refused.keys() & {mailbox(now)}
            booking = await Planner(now).book("alice")
            await now.rest()
            await now.clock.sleep(120)
            now.cloud.recorder.clear()
            await story(now, booking, only(now.events("alice")).item_id)
        finally:
            await now.close()

    run(tell())


def mailbox(now: World) -> str:
    account = now.directory.find("alice@contoso.test")
    assert account is not None
    return account.id


MOVED = f"{LATER:%Y-%m-%dT%H:%M:%SZ}"


def test_r5_a_moved_event_costs_no_read_and_one_write() -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        await now.drag(event)
        await now.rest()
        assert await now.starts(booking) == MOVED
        assert now.reads() == 0
        assert now.journal()[-1][0] in {"moved", "already_seen", "unchanged"}
        writes = [
            call
            for call in now.cloud.recorder.calls
            if call.service == "dataverse" and call.app == now.contoso.booking_sync.client_id and call.method == "PATCH"
        ]
        assert len(writes) == 1

    told_all(story)


def test_no_subject_and_no_body_is_stored() -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        kept: list[Mapping[str, Any]] = []
        put = now.tables.transact

        async def keep(partition: str, operations: Any) -> Any:
            kept.extend(one.values for one in operations if hasattr(one, "values"))
            return await put(partition, operations)

        now.tables.transact = keep  # type: ignore[method-assign]
        await now.drag(event, subject="Confidential", body={"contentType": "text", "content": "Confidential"})
        await now.rest()
        assert booking
        assert any("told" in values for values in kept)
        assert "Confidential" not in str([values for values in kept if "cause" in values])

    told_all(story)


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"subject": "Mine"}, id="subject"),
        pytest.param({"body": {"contentType": "html", "content": "<p>mine</p>"}}, id="body"),
        pytest.param({"showAs": "free"}, id="free or busy"),
    ],
)
def test_r6_what_is_more_than_a_move_is_read_first(more: dict[str, Any]) -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        before = only(now.events("alice")).content
        await now.drag(event, **more)
        await now.rest()
        assert await now.starts(booking) == MOVED
        assert now.reads() >= 1
        after = only(now.events("alice")).content
        assert (after.subject, after.body, after.show_as) == (before.subject, before.body, before.show_as)

    told_all(story)


def test_r6_a_move_that_dataverse_refuses_is_put_back() -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        app = now.contoso.booking_sync.client_id
        now.cloud.faults.add(
            {"service": "dataverse", "app": app, "method": "PATCH", "times": None, "do": "refuse", "status": 400}
        )
        before = await now.starts(booking)
        await now.drag(event)
        await now.rest()
        assert await now.starts(booking) == before
        assert only(now.events("alice")).content.start.at == TOMORROW

    told_all(story)


def test_r8_old_data_that_come_late_change_nothing() -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        [rule] = now.cloud.faults.add({"service": "notification", "times": None, "do": "hold"})
        await now.drag(event)
        rule.times = 0
        times = {
            name: {"dateTime": f"{LATER + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"}
            for name, minutes in (("start", 60), ("end", 150))
        }
        await now.in_outlook("PATCH", event, times)
        await now.rest()
        newest = f"{LATER + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        assert await now.starts(booking) == newest
        now.graph.notifications.release()
        await now.rest()
        assert await now.starts(booking) == newest

    told_all(story)


def test_both_certificates_are_good_while_one_is_exchanged() -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        old = list(now.certificates.versions)[-1]
        [rule] = now.cloud.faults.add({"service": "notification", "times": None, "do": "hold"})
        await now.drag(event)
        rule.times = 0
        new = now.certificates.rotate()
        report = await now.app.subscribing.round()
        assert set(report.done) <= {"renew", "refused"}
        in_force = now.graph.notifications._subscriptions.all(now.clock.now())
        assert {one.rich.recipient.id for one in in_force if one.rich is not None} == {new}
        assert old != new
        now.graph.notifications.release()
        await now.rest()
        assert await now.starts(booking) == MOVED
        assert now.reads() == 0

    told_all(story)


@pytest.mark.parametrize("what", ["certificate", "vault", "keys", "token", "signature"])
def test_r11_data_that_cannot_be_used_cost_a_read_and_nothing_else(what: str) -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        match what:
            case "certificate":
                now.certificates.versions.clear()
                now.app = now.start_app()
            case "vault":
                now.certificates.seconds = 60.0
                now.app = now.start_app()
            case "keys":
                now.cloud.faults.add(
                    {"service": "login", "path": "*/keys", "times": None, "do": "refuse", "status": 503}
                )
                now.app = now.start_app()
            case "token":
                now.settings = replace(now.settings, tenant="7a1d0000-0000-4000-8000-0000000000aa")
                now.app = now.start_app()
            case "signature":
                seal = now.graph.notifications._subscriptions
                for one in seal.all(now.clock.now()):
                    assert one.rich is not None
                    other = replace(one.rich.recipient, public_key=known_key_pair("nobody's").key.public_key())
                    one.rich = replace(one.rich, recipient=other)
        await now.drag(event)
        await now.rest()
        assert await now.starts(booking) == MOVED
        assert now.reads() == 1
        posts = [call for call in now.cloud.recorder.calls if call.service == "notification"]
        assert {call.status for call in posts} == {202}

    told_all(story)


def test_a_deletion_still_needs_its_proof() -> None:
    async def story(now: Telling, booking: str, event: str) -> None:
        await now.in_outlook("DELETE", event)
        await now.rest()
        status, row, _ = await now.call_dataverse("GET", f"bookableresourcebookings({booking})")
        assert status == 200
        canceled = {now.contoso.statuses[name] for name in ("Canceled", "Field Service Canceled")}
        assert row["_bookingstatus_value"] in canceled
        assert 1 <= now.reads() <= 2

    told_all(story)


def test_the_publisher_is_the_one_that_the_documentation_names() -> None:
    assert PUBLISHER.client_id == "0bf30f3b-4a52-48df-9a82-234910c4a086"
