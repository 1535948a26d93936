"""The page as people have it: in a browser, by mouse and by keyboard. Skipped where there is no browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from sandbox.dataverse.schema import Reference, Value
from sandbox.directory import Account, known_id
from tests.page.browser import ALT, SHIFT, Tab
from tests.page.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

SETTLED = (
    "document.querySelector('#bars').getAnimations({ subtree: true }).every((one) => !(one instanceof CSSTransition))"
)


def bar(what: str, title: str = "Boiler service") -> str:
    """The selector of a booking or an event by its title."""
    return f'.bar[aria-label^="{what} {title}"]'


@pytest_asyncio.fixture(loop_scope="session")
async def tab(browser: Tab, world: World) -> AsyncIterator[Tab]:
    """The page, on its first look at an empty week; at the end nothing may have gone wrong in it."""
    browser.errors.clear()
    await browser.open(world.url)
    await browser.until("!!document.querySelector('.name') && !document.querySelector('#empty').hidden")
    yield browser
    assert browser.errors == []


async def spoken(tab: Tab, selector: str) -> str:
    """What a bar says to who cannot see it, once it is there."""
    await tab.until(f"!!document.querySelector({selector!r})")
    return str(await tab.evaluate(f"document.querySelector({selector!r}).getAttribute('aria-label')"))


async def says(tab: Tab, selector: str, words: str) -> None:
    """Wait until it says so, and what was done is done."""
    said = f"document.querySelector({selector!r})?.getAttribute('aria-label').includes({words!r})"
    await tab.until(f"{said} && document.querySelector('#scroll').ariaBusy !== 'true'")


async def middle(tab: Tab, selector: str) -> tuple[float, float]:
    box = await tab.box(selector)
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


async def place(tab: Tab, row: str, hour: float, *, in_outlook: bool = False) -> tuple[float, float]:
    """Where a row shows an hour of the Monday."""
    found: list[float] = await tab.evaluate(
        f"""(() => {{
            const name = [...document.querySelectorAll('.name')].find((one) => one.textContent.startsWith({row!r}));
            const column = document.querySelector('.column').getBoundingClientRect();
            const box = name.getBoundingClientRect();
            return [column.x + column.width * ({hour} - 8) / 10, box.y + 3 + {24 if in_outlook else 8}];
        }})()"""
    )
    return found[0], found[1]


async def test_every_place_is_a_time_and_every_time_a_place(tab: Tab) -> None:
    """Also across days of different width, and over hours that are not shown."""
    wrong = await tab.evaluate(
        """import("/static/layout.mjs").then(({ Scale }) => {
            const quarter = 900000, from = Date.parse("2026-03-05T00:00:00Z");
            const scale = Scale.around(from, 7, [{ start: from + 27 * quarter, end: from + 30 * quarter }]);
            const times = Array.from({ length: 7 * 96 }, (_, index) => from + index * quarter);
            const hour = (time) => new Date(time).getUTCHours();
            const shown = times.filter((time) => hour(time) >= scale.first && hour(time) < scale.last);
            const isWrong = (time) => Math.abs(scale.timeAt(scale.at(time)) - time) > 1;
            return [scale.first, scale.last, ...shown.filter(isWrong)];
        })"""
    )
    assert wrong == [6, 18]


async def test_a_drag_on_an_empty_row_books(tab: Tab, world: World) -> None:
    await tab.drag(await place(tab, "Alice", 9.1), await place(tab, "Alice", 10.4))
    assert await tab.until("document.activeElement.name") == "title"
    await tab.type("Boiler service")
    await tab.key("Enter")
    await says(tab, bar("Booking"), "Mon 2 Mar, 09:00 – 10:30; Committed; not in Outlook")
    [booking] = world.bookings()
    assert world.booking(booking)["person"] == "Alice Anderson"
    await tab.until("document.querySelector('.bar.ghost') && document.querySelector('#details').hidden")


async def test_a_click_in_the_lower_half_enters_an_event(tab: Tab, world: World) -> None:
    await tab.click_at(*await place(tab, "Bob", 13.05, in_outlook=True))
    await tab.until("document.querySelector('#details h3').textContent === 'New event'")
    await tab.type("Dentist")
    await tab.key("Enter")
    await says(tab, bar("Event", "Dentist"), "Bob Brandt; Mon 2 Mar, 13:00 – 14:00; busy")
    assert world.bookings() == []


async def test_a_drag_moves_a_booking_in_time_and_to_another_person(tab: Tab, world: World) -> None:
    booking = await world.book()
    x, y = await middle(tab, bar("Booking"))
    to_x, to_y = await place(tab, "Dave", 14)
    await tab.drag((x, y), (to_x + x - (await place(tab, "Alice", 9))[0], to_y), release=False)
    await tab.until("document.querySelector('#tip').textContent === 'Mon 2 Mar, 14:00 – 15:30Dave Doyle'")
    await tab.mouse("mouseReleased", to_x, to_y)
    await says(tab, bar("Booking"), "Dave Doyle; Mon 2 Mar, 14:00 – 15:30")
    assert world.booking(booking)["person"] == "Dave Doyle"
    assert world.booking(booking)["start"] == "Mon 14:00"


async def test_escape_puts_a_booking_back(tab: Tab, world: World) -> None:
    booking = await world.book()
    x, y = await middle(tab, bar("Booking"))
    await tab.drag((x, y), (x + 80, y + 90), release=False)
    await tab.key("Escape")
    await tab.mouse("mouseReleased", x + 80, y + 90)
    assert "Alice Anderson; Mon 2 Mar, 09:00" in await spoken(tab, bar("Booking"))
    assert world.booking(booking)["start"] == "Mon 09:00"


async def test_the_edges_resize(tab: Tab, world: World) -> None:
    booking = await world.book()
    hour = (await place(tab, "Alice", 10))[0] - (await place(tab, "Alice", 9))[0]
    box = await tab.box(bar("Booking"))
    y = box["y"] + 8
    await tab.drag((box["right"] - 2, y), (box["right"] - 2 + hour, y))
    await says(tab, bar("Booking"), "09:00 – 11:30")
    await tab.until(SETTLED)
    await tab.drag((box["x"] + 2, y), (box["x"] + 2 + hour / 2, y))
    await says(tab, bar("Booking"), "09:30 – 11:30")
    assert world.booking(booking)["minutes"] == 120


async def test_both_truths_are_shown(tab: Tab, world: World) -> None:
    """The app writes the event, somebody drags it in Outlook: the booking stays, and the difference is seen."""
    booking = await world.book()
    await tab.until("document.querySelector('.bar.ghost')")
    event = await world.write_event(booking)
    await says(tab, bar("Event"), "the same on both sides")
    await tab.until(
        "document.querySelector('#verdict').textContent === '1 on both sides' && !document.querySelector('.ghost')"
    )
    x, y = await middle(tab, bar("Event"))
    hour = (await place(tab, "Alice", 10))[0] - (await place(tab, "Alice", 9))[0]
    await tab.drag((x, y), (x + 2 * hour, y))
    await says(tab, bar("Event"), "11:00 – 12:30; busy; 2 h later in Outlook")
    await says(tab, bar("Booking"), "09:00 – 10:30; Committed; 2 h later in Outlook")
    assert (world.event(event) or {})["start"] == "Mon 11:00"
    assert world.booking(booking)["start"] == "Mon 09:00"


async def test_who_sees_only_one_half_is_told_where_the_other_is(tab: Tab, world: World) -> None:
    await world.write_event(await world.book("Dave Doyle"), "alice")
    await says(tab, bar("Booking"), "Dave Doyle; Mon 2 Mar, 09:00 – 10:30; Committed; in Alice Anderson's calendar")
    await says(tab, bar("Event"), "Alice Anderson; Mon 2 Mar, 09:00 – 10:30; busy; booked for Dave Doyle")
    await tab.key("x")
    await tab.until("document.activeElement.classList.contains('bar')")


async def test_a_click_beside_what_is_open_only_closes_it(tab: Tab, world: World) -> None:
    await world.book()
    await tab.click(bar("Booking"))
    await tab.until("!document.querySelector('#details').hidden")
    await tab.click_at(*await place(tab, "Alice", 16))
    await tab.until("document.querySelector('#details').hidden")
    await tab.click_at(*await place(tab, "Alice", 16))
    await tab.until("document.querySelector('#details h3').textContent === 'New booking'")


async def test_the_details_show_and_change_both_sides(tab: Tab, world: World) -> None:
    booking = await world.book()
    await world.write_event(booking, hour=10)
    await tab.click(bar("Booking"))
    assert await tab.until("[...document.querySelectorAll('.differs')].map((one) => one.name).join()") == "start,end"
    status = known_id("bookingstatus", "Proposed")
    await tab.evaluate(f"document.querySelector('[name=status]').value = '{status}'")
    await tab.click(".side.d .primary")
    await says(tab, bar("Booking"), "Proposed")
    assert world.booking(booking)["status"] == "Proposed"
    await tab.click(".side.o .quiet")
    await tab.until("document.querySelector('#details').hidden && !document.querySelector('.bar.o')")


async def test_everything_by_keyboard(tab: Tab, world: World) -> None:
    booking = await world.book()
    await tab.until(f"!!document.querySelector({bar('Booking')!r})")
    await tab.evaluate("document.querySelector('.bar[tabindex=\"0\"]').focus()")
    await tab.key("ArrowRight", ALT)
    await says(tab, bar("Booking"), "09:30 – 11:00")
    await tab.key("ArrowRight", ALT | SHIFT)
    await says(tab, bar("Booking"), "09:30 – 11:30")
    await tab.key("ArrowDown", ALT)
    await says(tab, bar("Booking"), "Bob Brandt; Mon 2 Mar, 09:30 – 11:30")
    await tab.until("document.activeElement.classList.contains('bar')")
    await tab.key("Enter")
    await tab.until("document.activeElement.name === 'title'")
    await tab.key("Escape")
    await tab.until("document.querySelector('#details').hidden && document.activeElement.classList.contains('bar')")
    await tab.key("Delete")
    await says(tab, bar("Booking"), "Canceled")
    assert world.booking(booking)["person"] == "Bob Brandt"
    await tab.key("n")
    await tab.until("document.querySelector('#details h3').textContent === 'New booking'")
    await tab.type("Second")
    await tab.key("Enter")
    await says(tab, bar("Booking", "Second"), "Alice Anderson; Mon 2 Mar")
    await tab.key("d")
    await tab.until("document.querySelector('#period').textContent === 'Mon, 2 March 2026'")
    await tab.key("]")
    await tab.until("document.querySelector('#period').textContent === 'Tue, 3 March 2026'")
    await tab.key("w")
    await tab.until("document.querySelector('#period').textContent === '2 – 8 March 2026'")


async def test_arrows_go_from_one_to_the_next(tab: Tab, world: World) -> None:
    for title, person, hour in (
        ("First", "Alice Anderson", 9),
        ("Then", "Alice Anderson", 14),
        ("Below", "Bob Brandt", 14),
    ):
        await world.book(person, hour, title=title)
    await tab.until(f"!!document.querySelector({bar('Booking', 'Below')!r})")
    await tab.evaluate(f"document.querySelector({bar('Booking', 'First')!r}).focus()")
    for key, title in (("ArrowRight", "Then"), ("ArrowDown", "Below"), ("ArrowUp", "Then"), ("ArrowLeft", "First")):
        await tab.key(key)
        assert (await tab.evaluate("document.activeElement.getAttribute('aria-label')")).startswith(f"Booking {title}")


async def test_a_refusal_is_said_in_words_and_taken_back(tab: Tab, world: World) -> None:
    booking = await world.book()
    world.simulators.cloud.faults.add({"service": "dataverse", "do": "refuse", "message": "Not today.", "times": 1})
    x, y = await middle(tab, bar("Booking"))
    await tab.drag((x, y), (x + 60, y))
    await tab.until("document.querySelector('.toast.bad')?.textContent === 'Dynamics refused: Not today. (503)'")
    await says(tab, bar("Booking"), "09:00 – 10:30")
    assert world.booking(booking)["start"] == "Mon 09:00"
    tab.errors[:] = [error for error in tab.errors if "502" not in error]


async def test_the_week_fills_and_calls_are_seen(tab: Tab, world: World) -> None:
    await tab.click("#fill")
    await tab.until("document.querySelectorAll('.bar.d').length > 100 && document.querySelector('#empty').hidden")
    assert await tab.evaluate("document.querySelector('#verdict').textContent") == f"{len(world.bookings())} on the way"
    await tab.click("#calls-all")
    await tab.until("document.querySelector('#calls').textContent.includes('CreateMultiple')")


async def test_faults_are_switched(tab: Tab, world: World) -> None:
    await tab.click("#switch-graph-down")
    await tab.until("document.querySelector('#switch-graph-down').getAttribute('aria-checked') === 'true'")
    assert [rule.service for rule in world.simulators.cloud.faults.rules] == ["graph"]
    await world.planner.graph("GET", "users")  # people are not troubled
    await tab.click("#switch-graph-down")
    await tab.until("document.querySelector('#switch-graph-down').getAttribute('aria-checked') === 'false'")
    assert world.simulators.cloud.faults.rules == ()


async def test_nothing_is_asked_while_nothing_happens(tab: Tab, world: World) -> None:
    """After the first looks one question stays open; only news or its end are followed by another."""
    asked = "performance.getEntriesByType('resource').filter((one) => one.name.includes('/api/live')).length"
    before = await tab.evaluate(asked)
    await tab.evaluate("new Promise((done) => setTimeout(done, 500))")
    assert await tab.evaluate(asked) <= before + 1
    await world.book()
    await tab.until(f"!!document.querySelector({bar('Booking')!r})")


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 720, False), (1280, 800, True), (1024, 640, False)])
async def test_forty_people_with_long_names_fit(tab: Tab, world: World, *, width: int, height: int, dark: bool) -> None:
    alice = world.simulators.directory.accounts[known_id("user", "alice")]
    for number in range(40):
        add_person(world, alice, f"Bartholomew Featherstonehaugh-Cholmondeley the {number}th")
    for hour in (9, 9.5, 10, 16.5):
        await world.book("Alice Anderson", hour, title="A title that is much too long for any bar " * 2)
    await tab.open(world.url, width=width, height=height, dark=dark)
    await tab.until(f"document.querySelectorAll('.bar.d').length === 4 && {SETTLED}")
    assert await tab.evaluate("document.querySelector('#canvas').clientHeight") > 60 * 40
    assert await tab.evaluate("document.documentElement.scrollWidth") <= width
    assert await tab.evaluate(
        "document.querySelector('#scroll').scrollWidth <= document.querySelector('#scroll').clientWidth"
    )
    shown = "document.querySelectorAll('.bar.d, .label:not([hidden])')"
    bars: list[dict[str, Any]] = await tab.evaluate(f"[...{shown}].map((one) => one.getBoundingClientRect().toJSON())")
    for index, one in enumerate(bars):
        assert one["right"] <= width
        for other in bars[index + 1 :]:
            apart = one["right"] <= other["left"] + 1 or other["right"] <= one["left"] + 1
            assert apart or one["bottom"] <= other["top"] + 1 or other["bottom"] <= one["top"] + 1, (one, other)


def add_person(world: World, like: Account, name: str) -> None:
    simulators = world.simulators
    account = replace(like, id=known_id("user", name), name=name, address=f"{known_id(name)}@contoso.test")
    simulators.directory.add(account)
    user = simulators.dataverse.state.rows("systemuser")[-1]
    values = {**user.values, "azureactivedirectoryobjectid": account.id, "fullname": name, "applicationid": None}
    simulators.dataverse.load("systemuser", known_id("systemuser", name), values)
    resource: dict[str, Value] = {
        "name": name,
        "resourcetype": 3,
        "timezone": 110,
        "userid": Reference("systemuser", known_id("systemuser", name)),
    }
    simulators.dataverse.load("bookableresource", known_id("bookableresource", name), resource)
