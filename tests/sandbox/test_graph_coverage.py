"""The page that says what the Graph simulator knows."""

from __future__ import annotations

from tests.sandbox.coverage import PAGE, page


async def test_the_page_says_what_the_simulator_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == await page(), "write it anew: python -m tests.sandbox.coverage"
