"""Faults seeded into the app, each of which the simulation or the tests must notice: `dev.py simulate --mutations`.

A mutation replaces text in a copy of `shared/`; text that is not there exactly once is an error, so that no mutation
can rot away unseen.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
UNCHANGED = ("sandbox", "tests", "function_app.py", "pyproject.toml", "docs", "local.settings.sample.json", "host.json")
SEEDS = 300
TESTS = ("tests/core", "tests/sync", "tests/tables", "tests/wire")
SLOW_TESTS = "tests/sync/test_simulation.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """In the module `path` of `shared/`, `old` becomes `new`."""

    name: str
    path: str
    old: str
    new: str

    def applied_to(self, text: str) -> str:
        """The module with the fault in it. Raises `ValueError` when `old` is not there exactly once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: shared/{self.path} has the text {text.count(self.old)} times, not once")
        return text.replace(self.old, self.new)


MUTATIONS = (
    Mutation(
        name="an event is written whatever its etag",
        path="graph/events.py",
        old='await self._call("PATCH", mailbox, _event(mailbox, event), body, etag, is_urgent=is_urgent)',
        new='await self._call("PATCH", mailbox, _event(mailbox, event), body, "*", is_urgent=is_urgent)',
    ),
    Mutation(
        name="a row that cannot be read counts as deleted",
        path="sync/facts.py",
        old="return self.seen.booking is None and any(mark.cause is Cause.DELETED for mark in self.seen.marks)",
        new="return self.seen.booking is None",
    ),
    Mutation(
        name="one 404 proves that an event is gone",
        path="sync/snapshots.py",
        old="        if too_early > timedelta():\n",
        new="        if too_early is None:\n",
    ),
    Mutation(
        name="every event is generation 1",
        path="sync/facts.py",
        old="return max(used, default=0) + 1",
        new="return 1",
    ),
    Mutation(
        name="an event is created without the claim",
        path="sync/apply.py",
        old="            claim = await self._take_claim(claim, intent)\n",
        new="",
    ),
    Mutation(
        name="no look-up after an unknown outcome",
        path="sync/snapshots.py",
        old="        if facts.needs_look_up and not seen.event_is_gone:",
        new="        if facts.needs_look_up and not seen.links:",
    ),
    Mutation(
        name="a lost answer counts as a failure: the create is repeated at once",
        path="http.py",
        old='is_safe=repeatable or method == "GET"',
        new="is_safe=True",
    ),
    Mutation(
        name="the old event is handed over before the new one is created",
        path="sync/apply.py",
        old="            event = await self._post(action.mailbox, marker, action.content, until, effects)\n",
        new="            await self._hand_over(intent, effects)\n"
        "            event = await self._post(action.mailbox, marker, action.content, until, effects)\n",
    ),
    Mutation(
        name="links are saved whatever is stored",
        path="tables/store.py",
        old="operations = [write_as_read(link_key(link), link_values(link), link.row) for link in commit.save]",
        new="operations = [Put(link_key(link), link_values(link)) for link in commit.save]",
    ),
    Mutation(
        name="creates that are under way are not waited for",
        path="sync/facts.py",
        old="return until if others and until > self.seen.now else None",
        new="return None",
    ),
    Mutation(
        name="no tombstone is written",
        path="sync/apply.py",
        old="await self._store.save_claim(replace(claim or nobody, retired_at=now))",
        new="del nobody",
    ),
    Mutation(
        name="marks are settled before anything is done",
        path="sync/engine.py",
        old="        noted: list[Mark] = []\n",
        new="        noted: list[Mark] = []\n        await self._settle(shard, Commit(settled=marks))\n",
    ),
    Mutation(
        name="a change that is put off is forgotten",
        path="sync/engine.py",
        old="Commit(settled=marks, deferred=later)",
        new="Commit(settled=marks, deferred=())",
    ),
    Mutation(
        name="a person's copy is taken for ours",
        path="graph/wire.py",
        old="created_by == marker.transaction_id(mailbox)",
        new="(created_by or True)",
    ),
    Mutation(
        name="the claim is read after the booking",
        path="sync/snapshots.py",
        old="replace(seen, booking=row, is_booking_read=True)",
        new="replace(seen, booking=row, is_booking_read=True, claim=await self._store.claim(seen.booking_id))",
    ),
    Mutation(
        name="nobody looks again after effects that came too late",
        path="sync/engine.py",
        old="            if effects.done:\n",
        new="            if not effects:\n",
    ),
    Mutation(
        name="a worker is sure that a create whose answer was lost is over",
        path="sync/snapshots.py",
        old="return booking in self._unsure",
        new="return False",
    ),
    Mutation(
        name="a deletion is not announced",
        path="sync/apply.py",
        old="        if link.base is not None:\n",
        new="        if not link:\n",
    ),
    Mutation(
        name="an event is deleted although it moved since it was read",
        path="sync/apply.py",
        old="event, link.etag, is_meeting=link.is_meeting)\n        return link",
        new='event, "*", is_meeting=link.is_meeting)\n        return link',
    ),
    Mutation(
        name="an intent that lost its claim takes its event along",
        path="sync/apply.py",
        old="                await self._drop(action.link, effects)\n",
        new="                await self._delete(action.link, seen, effects)\n",
    ),
    Mutation(
        name="one worker may look at a booking twice at once",
        path="sync/engine.py",
        old="lock = self._locks.setdefault(booking, asyncio.Lock())",
        new="lock = asyncio.Lock()",
    ),
    Mutation(
        name="a drain goes on without an epoch",
        path="sync/engine.py",
        old="if more and not await self._store.has_epoch(shard):",
        new="if not shard:",
    ),
    Mutation(
        name="a mailbox that was left out of a rebuild counts as searched",
        path="sync/facts.py",
        old="return not is_new or self.mailbox in self.seen.unsearched",
        new="return not is_new",
    ),
    Mutation(
        name="of two events in one calendar both stay",
        path="sync/facts.py",
        old=" or link.mailbox == stands_in",
        new="",
    ),
    Mutation(
        name="change tracking tells of no deletion",
        path="sync/pull.py",
        old="cause=Cause.DELETED if row.is_deleted else Cause.UPDATED",
        new="cause=Cause.UPDATED",
    ),
    Mutation(
        name="a changed customer marks no booking",
        path="sync/pull.py",
        old="            pending = tuple(row.id for row in page.rows if not row.is_deleted)\n",
        new="            pending = ()\n",
    ),
    Mutation(
        name="a moved event overwrites a booking that has moved on",
        path="dataverse/bookings.py",
        old="""'W/"{version}"'""",
        new="'*'",
    ),
    Mutation(
        name="what both sides have changed is no conflict",
        path="sync/merge.py",
        old="case edit if wants == known:",
        new="case edit if known:",
    ),
    Mutation(
        name="a deleted event cancels a booking that was changed, too",
        path="sync/facts.py",
        old="return all(base.get(one) == there for one, there in self.content.fingerprints().items())",
        new="return bool(base)",
    ),
    Mutation(
        name="every hint of an event is an echo",
        path="sync/ports.py",
        old="return not is_late and mark.etag",
        new="return False and mark.etag",
    ),
    Mutation(
        name="what has left the window is not looked for",
        path="sync/recover.py",
        old="cause=Cause.EVENT_DELETED if item.is_removed else Cause.EVENT_CHANGED",
        new="cause=Cause.EVENT_CHANGED",
    ),
    Mutation(
        name="the link does not learn the version that was written",
        path="sync/apply.py",
        old="version=effects.version or version or link.version",
        new="version=version or link.version",
    ),
    Mutation(
        name="a refused write leaves the event as people moved it",
        path="sync/facts.py",
        old="verdicts[one] = Verdict.OVERRULE_EVENT",
        new="verdicts[one] = Verdict.KEEP",
    ),
    Mutation(
        name="an emptied table is taken for a new one",
        path="sync/rebuild.py",
        old="(await self._ours(mailbox, end)).items()",
        new="{}.items()",
    ),
)


def run(say: Callable[[str], None]) -> int:
    """Try every mutation, print a table, and give the exit code: 1 when any survives."""
    survivors = 0
    width = max(len(mutation.name) for mutation in MUTATIONS)
    for mutation in MUTATIONS:
        caught = caught_by(mutation)
        survivors += not caught
        say(f"{mutation.name:{width}}  {caught or 'SURVIVES'}")
    say(f"\n{len(MUTATIONS)} mutations, {survivors} survive")
    return 1 if survivors else 0


def caught_by(mutation: Mutation) -> str:
    """What notices the fault: a seed of the simulation with what it violates, else a test; empty for nothing."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        shutil.copytree(ROOT / "shared", copy / "shared", ignore=shutil.ignore_patterns("__pycache__"))
        for name in UNCHANGED:
            (copy / name).symlink_to(ROOT / name)
        module = copy / "shared" / mutation.path
        module.write_text(mutation.applied_to(module.read_text()))
        simulation = _python(copy, "-m", "tests.simulation", "--seeds", str(SEEDS), "--first-only")
        found = re.search(r"^seed (\d+): (.*)", simulation.stderr, re.MULTILINE)
        if found is not None:
            return f"seed {found[1]}: {_brief(found[2])}"
        if simulation.returncode:
            raise ChildProcessError(simulation.stderr[-3000:])
        tests = _python(copy, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--ignore", SLOW_TESTS, *TESTS)
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", tests.stdout, re.MULTILINE)
        return f"test {failed[1]}" if failed is not None else ""


def _python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this very project
        [sys.executable, *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def _brief(violation: str) -> str:
    """The violation without ids."""
    return re.sub(r" \(booking [0-9a-f-]+\)|[0-9a-f]{8}-[0-9a-f-]{27}\.?", "", violation)[:110]
