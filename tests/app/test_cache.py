"""One fetch at a time, shared by all who wait, its failure too; renewal ahead of the end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.clock import Clock
from shared.cache import PAUSE, Cache, Fetched
from shared.errors import TransientError, UnavailableError
from tests.simulation.loop import run

RENEW, UNTIL = timedelta(minutes=40), timedelta(minutes=50)
FETCH_SECONDS = 2.0


class Source:
    """Counts up; each fetch takes two seconds and fails as long as `is_down`."""

    def __init__(self) -> None:
        self.clock = Clock(datetime(2026, 3, 1, tzinfo=UTC))
        self.fetches = 0
        self.is_down = False
        self.cache = Cache(self.fetch, self.clock)

    async def fetch(self, name: str) -> Fetched[str]:
        self.fetches += 1
        number = self.fetches
        await self.clock.sleep(FETCH_SECONDS)
        if self.is_down:
            raise UnavailableError(f"fetch {number} of {name} failed")
        now = self.clock.now()
        return Fetched(value=f"{name}-{number}", renew=now + RENEW, until=now + UNTIL)

    async def get(self) -> str:
        return await self.cache.get("a")


def test_however_many_ask_one_fetch_goes_out() -> None:
    async def main() -> None:
        source = Source()
        assert set(await asyncio.gather(*(source.get() for _ in range(50)))) == {"a-1"}
        assert source.fetches == 1
        assert await source.cache.get("b") == "b-2"

    run(main())


def test_a_failure_goes_to_all_who_waited_and_to_nobody_else() -> None:
    async def main() -> None:
        source = Source()
        source.is_down = True
        failed = await asyncio.gather(*(source.get() for _ in range(50)), return_exceptions=True)
        assert {str(error) for error in failed} == {"fetch 1 of a failed"}
        assert source.fetches == 1
        source.is_down = False
        assert await source.get() == "a-2"

    run(main())


def test_a_waiter_that_gives_up_leaves_the_fetch_to_the_others() -> None:
    async def main() -> None:
        source = Source()
        waiting = asyncio.create_task(source.get())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await source.get()
        assert await waiting == "a-1"
        assert source.fetches == 1

    run(main())


def test_ahead_of_its_end_a_value_is_renewed_while_it_serves_on() -> None:
    async def main() -> None:
        source = Source()
        await source.get()
        source.clock.advance(RENEW)
        began = asyncio.get_running_loop().time()
        assert {await source.get() for _ in range(3)} == {"a-1"}
        assert asyncio.get_running_loop().time() == began, "nobody waits"
        await asyncio.sleep(FETCH_SECONDS + 1)
        assert await source.get() == "a-2"
        assert source.fetches == 2

    run(main())


def test_after_its_end_everybody_waits_for_the_next() -> None:
    async def main() -> None:
        source = Source()
        await source.get()
        source.clock.advance(UNTIL)
        assert set(await asyncio.gather(*(source.get() for _ in range(5)))) == {"a-2"}
        assert source.fetches == 2

    run(main())


def test_a_renewal_that_fails_is_tried_again_after_a_pause_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        source = Source()
        await source.get()
        source.clock.advance(RENEW)
        source.is_down = True
        for expected in (2, 2, 3):
            assert await source.get() == "a-1"
            await asyncio.sleep(FETCH_SECONDS + 1)
            assert source.fetches == expected
            await asyncio.sleep(PAUSE.total_seconds() / 2)
        source.is_down = False
        source.clock.advance(UNTIL - RENEW)
        assert await source.get() == "a-4"

    run(main())
    assert [record.message for record in caplog.records] == [
        f"fetch {number} of a failed. {TransientError.next_step}" for number in (2, 3)
    ]


def test_a_discarded_value_is_fetched_anew_once() -> None:
    async def main() -> None:
        source = Source()
        old = await source.get()
        source.cache.discard("a", old)
        new = await source.get()
        source.cache.discard("a", old)
        assert await source.get() == new == "a-2"
        source.cache.discard("never", old)

    run(main())


def test_no_value_shows() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert "s3cret" not in repr(Fetched(value="s3cret", renew=now, until=now))
