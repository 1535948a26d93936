"""Sliding windows: laws over any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from sandbox.limits import Window

START = datetime(2026, 3, 1, tzinfo=UTC)
LENGTH = 60
HISTORIES = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 5)), max_size=30)
"""Pauses in seconds, and the amount used after each."""


def filled(history: list[tuple[int, int]]) -> tuple[Window, list[tuple[datetime, int]], datetime]:
    """A window with a history, the history as it was, and the time at its end."""
    window, entries, at = Window(LENGTH), list[tuple[datetime, int]](), START
    for pause, amount in history:
        at += timedelta(seconds=pause)
        window.add(at, amount)
        entries.append((at, amount))
    return window, entries, at


def used(entries: list[tuple[datetime, int]], at: datetime) -> int:
    return sum(amount for since, amount in entries if at - since < timedelta(seconds=LENGTH))


@given(HISTORIES, st.integers(0, 120))
def test_a_window_holds_what_came_in_its_length_before(history: list[tuple[int, int]], later: int) -> None:
    window, entries, at = filled(history)
    at += timedelta(seconds=later)
    assert window.used(at) == used(entries, at)


@given(HISTORIES, st.integers(5, 20), st.integers(1, 5))
def test_after_the_wait_it_fits_and_not_before(history: list[tuple[int, int]], limit: int, amount: int) -> None:
    window, entries, at = filled(history)
    wait = window.wait(at, limit, amount)
    assert used(entries, at + timedelta(seconds=wait)) + amount <= limit
    if wait:
        assert used(entries, at + timedelta(seconds=wait - 1)) + amount > limit


@given(HISTORIES, st.integers(5, 20))
def test_what_is_refused_counts(history: list[tuple[int, int]], limit: int) -> None:
    window, entries, at = filled(history)
    fits = used(entries, at) + 1 <= limit
    wait = window.take(at, limit)
    assert (wait == 0) == fits
    assert window.used(at) == used(entries, at) + 1
    if wait:
        assert window.take(at + timedelta(seconds=wait), limit) == 0


def test_without_a_limit_everything_fits() -> None:
    window = Window(LENGTH)
    assert all(window.take(START, inf, 10**9) == 0 for _ in range(10))


def test_what_is_larger_than_the_limit_waits_for_an_empty_window() -> None:
    window = Window(LENGTH)
    assert window.take(START, 5, 9) == LENGTH
