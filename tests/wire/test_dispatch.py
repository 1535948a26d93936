"""What leaves together and when, and what becomes of it: on virtual time, against an `Exchange`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from shared.dispatch import CROWD, GATHER, TICK
from shared.errors import (
    BookingSyncError,
    GoneError,
    NotSentError,
    OutcomeUnknownError,
    PreconditionError,
    RefusedError,
    ThrottledError,
)
from shared.http import HttpRequest, HttpResponse, Patience
from tests.simulation.loop import run
from tests.wire.exchange import BASE, Answered, Client, Exchange, Sent, answer

WRITE = 0.33
CREATE = Patience(answer=timedelta(seconds=12), total=timedelta(seconds=8))
LONG = Patience(answer=timedelta(seconds=60), total=timedelta(seconds=600))


def seconds() -> float:
    return asyncio.get_running_loop().time()


def people(number: int) -> list[str]:
    return [f"m{person}" for person in range(number)]


async def together(client: Client, *names: str, **options: Any) -> list[str | BaseException]:
    """Issue operations at one moment; what each led to."""
    return await asyncio.gather(*(client.call(name, **options) for name in names), return_exceptions=True)


async def by_workers(client: Client, workers: int, names: list[str], **options: Any) -> None:
    """As the engine does it: so many at once, each issues its next operation when it has its answer."""
    left = iter(names)

    async def work() -> None:
        for name in left:
            await client.call(name, **options)

    await asyncio.gather(*(work() for _ in range(workers)))


# When an operation leaves, and with whom.


def test_a_lone_call_is_a_plain_request_that_waits_for_nothing() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        for number in range(3):
            began = seconds()
            await client.call(f"m1/{number}")
            assert seconds() - began == pytest.approx(WRITE)
        assert [sent.names for sent in exchange.sent] == [["m1/0"], ["m1/1"], ["m1/2"]]

    run(story())


def test_what_is_issued_at_one_moment_leaves_in_one_envelope() -> None:
    async def story() -> None:
        exchange = Exchange()
        names = [f"{mailbox}/x" for mailbox in people(20)]
        assert await together(Client(exchange), *names) == names
        assert [sorted(sent.names) for sent in exchange.sent] == [sorted(names)]

    run(story())


def test_who_comes_while_a_request_is_under_way_gathers_behind_it() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)

        async def later(number: int) -> None:
            await asyncio.sleep(0.05 * number)
            await client.call(f"m{number}/x")

        await asyncio.gather(*map(later, range(6)))
        assert [(sent.at, len(sent.names)) for sent in exchange.sent] == [(0, 1), (WRITE, 5)]

    run(story())


def test_where_several_have_left_together_more_are_expected_for_a_while() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        await together(client, "m1/x", "m2/x")
        began = seconds()
        await asyncio.gather(client.call("m3/x"), client.call("m4/x", is_urgent=True))
        assert [sent.names for sent in exchange.sent[1:]] == [["m4/x"], ["m3/x"]]
        assert exchange.sent[1].at == began
        assert 0 <= exchange.sent[2].at - began - GATHER.total_seconds() < TICK
        await asyncio.sleep(CROWD.total_seconds())
        began = seconds()
        await client.call("m5/x")
        assert seconds() - began == pytest.approx(WRITE)

    run(story())


def test_a_full_envelope_waits_for_nobody() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        await together(client, *(f"{person}/x" for person in people(41)))
        assert [(sent.at, len(sent.names)) for sent in exchange.sent] == [
            (0, 20),
            (0, 20),
            (0.5, 1),
        ]

    run(story())


def test_a_request_that_hangs_holds_nobody_up() -> None:
    async def story() -> None:
        exchange = Exchange(seconds=lambda name: 25 if name == "m0/x" else WRITE)
        client = Client(exchange)
        slow = asyncio.create_task(client.call("m0/x"))
        await asyncio.sleep(0.1)
        for number in range(1, 4):
            began = seconds()
            await client.call(f"m{number}/x")
            assert seconds() - began < 0.5 + 0.1 + WRITE + 0.01
        await slow

    run(story())


def test_a_burst_over_many_mailboxes_needs_few_requests() -> None:
    async def story() -> None:
        exchange = Exchange()
        names = [f"{mailbox}/{number}" for number in range(5) for mailbox in people(20)]
        assert await together(Client(exchange), *names) == names
        assert sorted(exchange.done) == sorted(names)
        assert len(exchange.sent) <= 15
        assert exchange.refused == 0

    run(story())


@pytest.mark.parametrize("workers", [32, 64])
def test_one_mailbox_is_written_as_fast_as_it_can_be(workers: int) -> None:
    async def story() -> None:
        exchange = Exchange()
        await by_workers(Client(exchange), workers, [f"m1/{number}" for number in range(500)])
        assert 500 / seconds() > 0.97 * 4 / WRITE
        assert exchange.refused == 0
        assert exchange.most_busy["m1"] <= 4
        assert len(exchange.sent) < 0.1 * 500

    run(story())


def test_a_hot_mailbox_does_not_hold_up_the_rest() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        hot = asyncio.create_task(by_workers(client, 64, [f"hot/{number}" for number in range(500)]))
        for number in range(20):
            await asyncio.sleep(1)
            began = seconds()
            await client.call(f"m{number}/x")
            assert seconds() - began == pytest.approx(WRITE)
        await hot

    run(story())


def test_many_operations_of_a_mailbox_wait_until_nothing_is_under_way_for_it() -> None:
    async def story() -> None:
        exchange = Exchange(seconds=lambda name: 3 if name == "m1/slow" else WRITE)
        client = Client(exchange)
        slow = asyncio.create_task(client.call("m1/slow"))
        await asyncio.sleep(0.1)
        await together(client, *(f"m1/{number}" for number in range(12)))
        await slow
        assert [(sent.at, len(sent.names)) for sent in exchange.sent] == [(0, 1), (3, 12)]
        assert exchange.refused == 0

    run(story())


def test_every_mailbox_gets_its_turn() -> None:
    async def story() -> None:
        exchange = Exchange()
        names = [f"{mailbox}/{number}" for mailbox in people(40) for number in range(3)]
        assert await together(Client(exchange, most=1), *names) == names
        assert len({name.partition("/")[0] for sent in exchange.sent[:2] for name in sent.names}) == 40

    run(story())


def test_many_hot_mailboxes_do_not_starve_the_others() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange, most=4)
        hot = [f"{mailbox}/{number}" for number in range(60) for mailbox in people(8)]
        busy = asyncio.create_task(by_workers(client, 240, hot, patience=LONG))
        await asyncio.sleep(3)
        began = seconds()
        await together(client, *(f"other{number}/x" for number in range(5)))
        assert seconds() - began < 6
        await busy

    run(story())


def test_urgent_operations_overtake_and_ride_with_four_at_most() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        await by_workers(client, 3, [f"m1/{number}" for number in range(30)])  # now it is known what m1 bears
        exchange.sent.clear()
        began = seconds()
        bulk = asyncio.create_task(
            together(client, *(f"{mailbox}/{number}" for number in range(4) for mailbox in people(20)))
        )
        await asyncio.sleep(0.1)
        names = [f"m{number}/urgent" for number in (1, 30, 31, 32, 33, 34)]
        assert await together(client, *names, is_urgent=True) == names
        assert seconds() - began < 0.1 + 2 * WRITE + 0.01
        await bulk
        urgent = [sent for sent in exchange.sent if any("urgent" in name for name in sent.names)]
        assert [len(sent.names) for sent in urgent] == [4, 2]
        assert exchange.refused == 0

    run(story())


def test_no_more_requests_are_under_way_than_the_setting_allows() -> None:
    async def story() -> None:
        exchange = Exchange()
        names = [f"{mailbox}/{number}" for number in range(3) for mailbox in people(200)]
        assert await together(Client(exchange, most=5), *names) == names
        assert exchange.most_open == 5

    run(story())


# What the services answer.


def spoilt(name: str, status: int, code: str = "", **headers: str) -> Callable[[list[Answered]], list[Answered]]:
    """Answer one operation of the first envelope with an error."""

    def spoil(answers: list[Answered]) -> list[Answered]:
        error = {"error": {"code": code}}
        return [
            {"id": one["id"], "status": status, "headers": headers, "body": error}
            if one["body"].get("name") == name
            else one
            for one in answers
        ]

    return spoil


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (400, "ErrorInvalidRequest", RefusedError),
        (404, "ErrorItemNotFound", GoneError),
        (412, "ErrorIrresolvableConflict", PreconditionError),
    ],
)
def test_one_failure_inside_is_one_failure(status: int, code: str, error: type[Exception]) -> None:
    async def story() -> None:
        names = [f"{mailbox}/x" for mailbox in people(5)]
        exchange = Exchange(spoil=spoilt("m3/x", status, code))
        results = await together(Client(exchange), *names)
        assert isinstance(results.pop(3), error)
        assert results == [name for name in names if name != "m3/x"]

    run(story())


def test_r2_an_operation_skipped_because_of_another_is_unknown() -> None:
    """None here depends on another, so something is wrong with the envelope's answer."""

    async def story() -> None:
        exchange = Exchange(spoil=spoilt("m1/x", 424, "FailedDependency"))
        results = await together(Client(exchange), "m0/x", "m1/x", method="POST")
        assert isinstance(results[1], OutcomeUnknownError)

    run(story())


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_mailbox_is_left_alone_and_the_others_go_on(status: int) -> None:
    async def story() -> None:
        first = True

        def spoil(answers: list[Answered]) -> list[Answered]:
            nonlocal first
            was_first, first = first, False
            refuse = spoilt("m3/x", status, "ApplicationThrottled", **{"Retry-After": "2.128"})
            return refuse(answers) if was_first else answers

        exchange = Exchange(spoil=spoil)
        client = Client(exchange)
        names = [f"{mailbox}/x" for mailbox in people(5)]
        burst = asyncio.create_task(together(client, *names, method="POST"))
        await asyncio.sleep(3 * WRITE)
        began = seconds()
        await client.call("m1/y")
        assert seconds() - began <= GATHER.total_seconds() + WRITE + TICK
        assert await client.call("m3/y") == "m3/y"
        assert await burst == names
        again = [sent.at for sent in exchange.sent[1:] if "m3" in sent.mailboxes]
        assert min(again) >= 2 * WRITE + 2.128
        assert max(again) < 2 * WRITE + 3

    run(story())


def test_a_longer_pause_than_an_operation_can_wait_is_handed_back_with_its_time() -> None:
    async def story() -> None:
        exchange = Exchange(before=lambda _: answer(429, retry_after="120"))
        client = Client(exchange)
        with pytest.raises(ThrottledError):
            await client.call("m1/x")
        with pytest.raises(NotSentError) as caught:
            await client.call("m1/y")
        assert caught.value.retry_after == timedelta(seconds=120)
        assert (len(exchange.sent), seconds()) == (1, 0)

    run(story())


@pytest.mark.parametrize(("bears", "share"), [(3, 0.02), (2, 0.07)])
def test_a_mailbox_that_others_use_too_gets_fewer_at_once(bears: int, share: float) -> None:
    async def story() -> None:
        exchange = Exchange(bears=bears)
        await by_workers(Client(exchange), 32, [f"m1/{number}" for number in range(500)], patience=LONG)
        assert sorted(Counter(exchange.done).values()) == [1] * 500
        assert exchange.refused <= share * 500

    run(story())


LOST: dict[str, HttpResponse | BookingSyncError] = {
    "no answer": OutcomeUnknownError("no answer"),
    "gateway's page": HttpResponse(status=502, body=b"<html>Bad Gateway</html>"),
    "unavailable": answer(503, "ServiceNotAvailable"),
    "time-out": answer(504),
    "unreadable": HttpResponse(status=200, body=b'{"responses":[{"id":"0","sta'),
    "html as success": HttpResponse(status=200, body=b"<html>ok</html>"),
    "odd json": HttpResponse(status=200, body=b'{"responses":{"0":1}}'),
    "no list": HttpResponse(status=200, body=b"[]"),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
@pytest.mark.parametrize("committed", [False, True], ids=["before the work", "after the work"])
def test_r2_an_envelope_that_is_lost_is_unknown_for_each_in_it(
    lost: HttpResponse | BookingSyncError, *, committed: bool
) -> None:
    async def story() -> None:
        def before(sent: Sent) -> HttpResponse | BookingSyncError | None:
            return lost if not committed and len(sent.names) == 4 else None

        exchange = Exchange(before=before, spoil=lambda answers: lost if committed and len(answers) == 4 else answers)
        client = Client(exchange)
        results = await asyncio.gather(
            client.call("m0/x", "POST"),
            client.call("m1/x", "POST"),
            client.call("m2/x", "PATCH"),
            client.call("m3/x", "GET"),
            return_exceptions=True,
        )
        assert [type(result) for result in results[:2]] == [OutcomeUnknownError] * 2
        assert list(results[2:]) == ["m2/x", "m3/x"]
        assert exchange.done.count("m0/x") == committed
        assert len(exchange.sent[0].names) == 4

    run(story())


def without(name: str, answers: list[Answered]) -> list[Answered]:
    return [one for one in answers if one["body"]["name"] != name]


def twice(name: str, answers: list[Answered]) -> list[Answered]:
    [one] = [one for one in answers if one["body"]["name"] == name]
    return [*answers, {**one, "status": 201}]


@pytest.mark.parametrize("spoil", [without, twice], ids=["missing", "twice"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "GET"])
def test_r2_an_answer_that_is_missing_or_comes_twice_is_unknown(
    spoil: Callable[[str, list[Answered]], list[Answered]], method: str
) -> None:
    async def story() -> None:
        exchange = Exchange(spoil=lambda answers: spoil("m1/x", answers))
        client = Client(exchange)
        results = await asyncio.gather(
            client.call("m0/x", "POST"), client.call("m1/x", method), client.call("m2/x"), return_exceptions=True
        )
        assert [results[0], results[2]] == ["m0/x", "m2/x"]
        if method == "POST":
            assert isinstance(results[1], OutcomeUnknownError)
        else:
            assert results[1] == "m1/x"
        assert exchange.done.count("m1/x") == (1 if method == "POST" else 2)

    run(story())


def test_an_answer_to_nobody_is_passed_over() -> None:
    async def story() -> None:
        odd = [None, 7, {"status": 200}, {"id": "99", "status": 200}, {"id": 3}]
        exchange = Exchange(spoil=lambda answers: [*odd, *answers])
        names = [f"{mailbox}/x" for mailbox in people(3)]
        assert await together(Client(exchange), *names, method="POST") == names

    run(story())


@pytest.mark.parametrize("status", [400, 403, 404, 413])
def test_an_envelope_that_is_refused_says_nothing_about_those_in_it(status: int) -> None:
    async def story() -> None:
        exchange = Exchange(before=lambda sent: answer(status, "BadRequest") if len(sent.names) > 1 else None)
        names = [f"{mailbox}/x" for mailbox in people(5)]
        assert await together(Client(exchange), *names, method="POST") == names
        assert sorted(exchange.done) == names
        assert [len(sent.names) for sent in exchange.sent] == [5, 1, 1, 1, 1, 1]

    run(story())


def test_a_throttled_envelope_has_done_nothing() -> None:
    async def story() -> None:
        exchange = Exchange(before=lambda sent: answer(429, retry_after="2") if sent.at == 0 else None)
        names = [f"{mailbox}/x" for mailbox in people(5)]
        assert await together(Client(exchange), *names, method="POST") == names
        assert exchange.sent[1].at >= 2

    run(story())


def test_an_expired_token_is_replaced_once_for_all() -> None:
    async def story() -> None:
        exchange = Exchange(refuses_tokens={"t1"})
        names = [f"{mailbox}/x" for mailbox in people(20)]
        assert await together(Client(exchange), *names, method="POST") == names
        assert [(sent.token, len(sent.names)) for sent in exchange.sent] == [("t1", 20), ("t2", 20)]

    run(story())


def test_a_token_that_is_refused_inside_is_replaced() -> None:
    async def story() -> None:
        exchange = Exchange()
        exchange.spoil = lambda answers: (
            spoilt("m3/x", 401, "InvalidAuthenticationToken")(answers) if len(exchange.sent) == 1 else answers
        )
        names = [f"{mailbox}/x" for mailbox in people(5)]
        assert await together(Client(exchange), *names) == names
        assert [(sent.token, len(sent.names)) for sent in exchange.sent] == [("t1", 5), ("t2", 1)]

    run(story())


def test_an_envelope_goes_with_the_freshest_token_in_it() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        tasks = []
        for number, token in enumerate(["t1", "t1", "t2"]):
            request = HttpRequest(
                method="GET",
                url=f"{BASE}/v1.0/users/m{number}/events/x",
                headers={"Authorization": f"Bearer {token}"},
                lane=f"m{number}",
            )
            tasks.append(asyncio.create_task(client.dispatcher.send(request)))
            await asyncio.sleep(0.1)
        await asyncio.gather(*tasks)
        assert [(sent.token, len(sent.names)) for sent in exchange.sent] == [("t1", 1), ("t2", 2)]

    run(story())


# R2: a create is sent in time or not at all.


async def fails_unsent(call: Coroutine[Any, Any, str], exchange: Exchange, name: str) -> None:
    began = seconds()
    with pytest.raises(NotSentError):
        await call
    assert seconds() - began <= CREATE.total.total_seconds() + 0.11
    await asyncio.sleep(600)
    assert all(name not in sent.names for sent in exchange.sent)


def test_r2_a_create_that_waits_for_its_turn_too_long_is_never_sent() -> None:
    async def story() -> None:
        exchange = Exchange(seconds=lambda _: 25)
        client = Client(exchange, most=1)
        slow = asyncio.create_task(client.call("m1/x", patience=LONG))
        await asyncio.sleep(1)
        await fails_unsent(client.call("m2/x", "POST", patience=CREATE), exchange, "m2/x")
        await slow

    run(story())


def test_r2_a_create_that_waits_for_a_crowded_mailbox_too_long_is_never_sent() -> None:
    async def story() -> None:
        exchange = Exchange(seconds=lambda _: 20)
        client = Client(exchange)
        slow = asyncio.create_task(together(client, *(f"m1/{number}" for number in range(3)), patience=LONG))
        await asyncio.sleep(1)
        await fails_unsent(client.call("m1/x", "POST", patience=CREATE), exchange, "m1/x")
        await slow

    run(story())


@pytest.mark.parametrize("wait", ["7.5", "9", "3600"])
def test_r2_a_create_in_a_mailbox_that_asks_for_patience_is_in_time_or_never_sent(wait: str) -> None:
    async def story() -> None:
        exchange = Exchange(before=lambda sent: answer(429, retry_after=wait) if sent.at == 0 else None)
        client = Client(exchange)
        first = asyncio.create_task(client.call("m1/y", patience=LONG))
        await asyncio.sleep(0.05)
        if wait == "7.5":
            await client.call("m1/x", "POST", patience=CREATE)
            assert exchange.sent[-1].at <= 0.05 + CREATE.total.total_seconds()
        else:
            await fails_unsent(client.call("m1/x", "POST", patience=CREATE), exchange, "m1/x")
        await asyncio.gather(first, return_exceptions=True)

    run(story())


def test_r2_a_create_whose_token_comes_late_is_never_sent() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)

        async def slow(_scope: str) -> str:
            await asyncio.sleep(CREATE.total.total_seconds() + 0.01)
            return "t1"

        client.tokens.token = slow  # type: ignore[method-assign]
        await fails_unsent(client.call("m1/x", "POST", patience=CREATE), exchange, "m1/x")

    run(story())


def test_r2_a_create_is_late_if_time_passes_between_the_choice_and_the_wire() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        call = asyncio.create_task(client.call("m1/x", "POST", patience=CREATE))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(client.clock.advance, timedelta(seconds=9))
        await fails_unsent(asyncio.wait_for(call, None), exchange, "m1/x")

    run(story())


def test_an_envelope_waits_no_longer_for_its_answer_than_a_create_in_it_may() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        await asyncio.gather(client.call("m1/x"), client.call("m2/x", "POST", patience=CREATE))
        assert [sent.timeout for sent in exchange.sent] == [CREATE.answer.total_seconds()]

    run(story())


# Nothing waits without being able to finish.


def test_who_gives_up_waiting_is_not_sent() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        first = asyncio.create_task(client.call("m1/x"))
        await asyncio.sleep(0.1)
        tasks = [asyncio.create_task(client.call(f"m{number}/y")) for number in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(first, *tasks, return_exceptions=True)
        assert [sent.names for sent in exchange.sent] == [["m1/x"], ["m0/y", "m2/y"]]

    run(story())


def test_who_gives_up_under_way_takes_nobody_along() -> None:
    async def story() -> None:
        exchange = Exchange()
        client = Client(exchange)
        tasks = [asyncio.create_task(client.call(f"m{number}/y")) for number in range(3)]
        await asyncio.sleep(0.1)
        tasks[0].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == ["m1/y", "m2/y"]
        await client.call("m0/y")

    run(story())


class EndError(BaseException):
    """Something that is no error of the app."""


@pytest.mark.parametrize("end", [EndError(), ZeroDivisionError()], ids=["end", "defect"])
def test_an_end_of_everything_reaches_everybody(end: BaseException) -> None:
    async def story() -> None:
        def fail(sent: Sent) -> None:
            if sent.at == 0:
                raise end

        exchange = Exchange(before=fail)
        client = Client(exchange)
        results = await together(client, *(f"m{number}/x" for number in range(3)))
        assert results == [end] * 3
        await asyncio.sleep(1)
        assert await client.call("m0/y") == "m0/y"

    run(story())


def test_a_loop_that_ends_leaves_nobody_waiting() -> None:
    async def story() -> list[asyncio.Task[str]]:
        client = Client(Exchange())
        tasks = [asyncio.create_task(client.call(f"m1/{number}")) for number in range(30)]
        await asyncio.sleep(0.1)
        return tasks

    assert all(task.cancelled() for task in run(story()))
