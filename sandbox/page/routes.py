"""The page's server side: the files of the page, what it shows, and what people do on it.

It listens on loopback without TLS, so that no browser warns of the sandbox's own authority. Whatever other pages a
browser has open must not work it: every call has to name this host (no rebound name of somebody else's), and a call
that changes something must be JSON and come from the page itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.cloud import Cloud
from sandbox.directory import Directory
from sandbox.http import Json, Request, Response, Route, Router
from sandbox.page.board import Board
from sandbox.page.calls import in_words
from sandbox.page.desk import Desk, RefusedError, read_booking, read_event
from sandbox.page.switches import Panel

STATIC = Path(__file__).parent / "static"
CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
LONGEST_WAIT, MOST_DAYS, MOST_CALLS = 25, 31, 300
GATHER, REST = 0.05, 4.0
"""Seconds from the first sign of traffic to the answer: what happens together is told together. If looking takes long,
because much is booked, it is this many times as long, so that the services keep most of the time for themselves."""

type Command = Callable[[], Awaitable[object]]
"""Something that can be asked of the app, as its administrator would."""


class ForbiddenError(Exception):
    """A call that did not come from the page itself."""


class Page:
    """Answers what the page asks. `commands` are what whoever runs the app adds, by the words on their buttons.

    The `desk` is there once the services can be reached.
    """

    desk: Desk

    def __init__(self, cloud: Cloud, directory: Directory, board: Board, panel: Panel) -> None:
        """Show `board`, the log of `cloud` and the switches of `panel`."""
        self._cloud = cloud
        self._directory = directory
        self._board = board
        self._panel = panel
        self.commands: dict[str, Command] = {}
        self._router = Router(
            [
                Route("GET", "/", self._index),
                Route("GET", "/static/{name}", self._file),
                Route("GET", "/api/live", self._live),
                Route("POST", "/api/bookings", self._book),
                Route("PATCH", "/api/bookings/{booking}", self._change_booking),
                Route("DELETE", "/api/bookings/{booking}", self._delete_booking),
                Route("POST", "/api/week", self._fill),
                Route("POST", "/api/events/{mailbox}", self._make_event),
                Route("PATCH", "/api/events/{mailbox}/{event}", self._change_event),
                Route("DELETE", "/api/events/{mailbox}/{event}", self._delete_event),
                Route("POST", "/api/switches/{name}", self._turn),
                Route("POST", "/api/clock", self._advance),
                Route("POST", "/api/commands/{name}", self._command),
            ]
        )

    async def handle(self, request: Request) -> Response:
        """Answer one call; wrong input gets a 400 with `{"error": ...}`, what a service refuses a 502."""
        try:
            check_origin(request)
            found = self._router.find(request)
            if found is None:
                return _wrong(HTTPStatus.NOT_FOUND, f"there is nothing at {request.method} {request.path}")
            answer = await found.route.handler(request, **found.values)
        except ForbiddenError as error:
            return _wrong(HTTPStatus.FORBIDDEN, str(error))
        except ValueError as error:
            return _wrong(HTTPStatus.BAD_REQUEST, str(error))
        except RefusedError as error:
            return _wrong(HTTPStatus.BAD_GATEWAY, str(error))
        return Response(status=answer.status, headers={**HEADERS, **answer.headers}, body=answer.body)

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in the page's shape."""
        return _wrong(status, f"{code}: {message}")

    # What is shown.

    async def _index(self, request: Request) -> Response:
        return await self._file(request, "index.html")

    async def _file(self, _request: Request, name: str) -> Response:
        files = {path.name: path for path in STATIC.iterdir()}
        if name not in files:
            return _wrong(HTTPStatus.NOT_FOUND, f"there is no file '{name}'")
        kind = f"{CONTENT_TYPES[files[name].suffix]}; charset=utf-8"
        return Response(status=200, headers={"Content-Type": kind}, body=files[name].read_bytes())

    async def _live(self, request: Request) -> Response:
        """What is to be seen now: `from` and `days` name the time, `after` the last call that is known.

        Waits up to `wait` seconds for another answer than the `answers` that are known; `board` is null when it is as
        `board_version` says.
        """
        query = dict(request.query)
        begin = _day(query.get("from", ""))
        days, wait = _number(query, "days", MOST_DAYS), _number(query, "wait", LONGEST_WAIT)
        after, answers = _number(query, "after"), _number(query, "answers")
        recorder = self._cloud.recorder
        began = time.perf_counter()
        board, version = self._look(begin, days)
        gather = max(GATHER, REST * (time.perf_counter() - began))
        is_news = recorder.answers != answers or version != query.get("board_version")
        if not is_news and wait and await recorder.wait_for_traffic(wait):
            await asyncio.sleep(gather)
            board, version = self._look(begin, days)
        calls = list(recorder.after(after))[-MOST_CALLS:]
        pending = [call.number for call in calls if not call.answered]
        return Response.of_json(
            200,
            {
                "now": self._cloud.clock.now().isoformat(),
                "board": None if version == query.get("board_version") else board,
                "board_version": version,
                "calls": in_words(calls, self._directory),
                "known": min(pending) - 1 if pending else recorder.last,
                "answers": recorder.answers,
                "faults": self._panel.as_json(),
                "commands": list(self.commands),
            },
        )

    def _look(self, begin: datetime, days: int) -> tuple[Json, str]:
        """The board, and a name for just this board."""
        board = self._board.between(begin, begin + timedelta(days=days))
        return board, hashlib.sha256(json.dumps(board).encode()).hexdigest()

    # What people do in Dynamics and in Outlook.

    async def _book(self, request: Request) -> Response:
        given = _object(request)
        if missing := sorted({"title", "resource", "status", "start", "end"} - set(given)):
            raise ValueError(f"a booking needs {', '.join(missing)}")
        await self.desk.book(read_booking(given))
        return _DONE

    async def _change_booking(self, request: Request, booking: str) -> Response:
        await self.desk.change_booking(booking, read_booking(_object(request)))
        return _DONE

    async def _delete_booking(self, _request: Request, booking: str) -> Response:
        await self.desk.delete_booking(booking)
        return _DONE

    async def _fill(self, request: Request) -> Response:
        given = _object(request)
        first = _day(str(given.pop("from", "")))
        if given:
            raise ValueError(f"unknown fields: {', '.join(sorted(given))}")
        board = self._board.between(first, first)
        people = [one["id"] for one in board["resources"] if one["kind"] == "person" and one["mailbox"]]
        status = next((one["id"] for one in board["statuses"] if one["kind"] == "committed"), None)
        if not people or status is None:
            raise ValueError("nobody is here who could be booked")
        return Response.of_json(201, {"bookings": await self.desk.fill(first, people, status)})

    async def _make_event(self, request: Request, mailbox: str) -> Response:
        given = _object(request)
        if missing := sorted({"title", "start", "end"} - set(given)):
            raise ValueError(f"an event needs {', '.join(missing)}")
        await self.desk.make_event(mailbox, read_event(given))
        return _DONE

    async def _change_event(self, request: Request, mailbox: str, event: str) -> Response:
        await self.desk.change_event(mailbox, event, read_event(_object(request)))
        return _DONE

    async def _delete_event(self, _request: Request, mailbox: str, event: str) -> Response:
        await self.desk.delete_event(mailbox, event)
        return _DONE

    # What happens to the services and to the app.

    async def _turn(self, request: Request, name: str) -> Response:
        on = _object(request).get("on")
        if not isinstance(on, bool):
            raise ValueError("'on' must be true or false")
        self._panel.turn(name, on=on)
        return _DONE

    async def _advance(self, request: Request) -> Response:
        seconds = _object(request).get("seconds")
        if type(seconds) is not int:
            raise ValueError("'seconds' must be a whole number")
        self._cloud.clock.advance(timedelta(seconds=seconds))
        return _DONE

    async def _command(self, _request: Request, name: str) -> Response:
        if name not in self.commands:
            raise ValueError(f"the app knows no '{name}'")
        try:
            await self.commands[name]()
        except RuntimeError as error:
            raise RefusedError(f"The app refused: {error}") from error
        return _DONE


_DONE = Response(status=204)


def check_origin(request: Request) -> None:
    """Let only the page itself in. Raises `ForbiddenError` with the reason.

    A page of somebody else's can send requests here, but not with this `Origin`, and none with a JSON body without
    asking first, which nobody answers (Fetch Standard, "CORS protocol").
    """
    if urlsplit(request.base).hostname not in ("localhost", "127.0.0.1"):
        raise ForbiddenError("the page is called localhost")
    if request.method in ("GET", "HEAD"):
        return
    if request.header("origin", request.base) != request.base:
        raise ForbiddenError("this came from another page")
    if request.header("content-type").partition(";")[0].strip().lower() != "application/json":
        raise ForbiddenError("what changes something must be application/json")


def _wrong(status: int, message: str) -> Response:
    return Response.of_json(status, {"error": message}, HEADERS)


def _object(request: Request) -> dict[str, Json]:
    try:
        value = request.json()
    except ValueError as error:
        raise ValueError(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("the body must be a JSON object")
    return value


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError("'from' must be a day such as 2026-03-02") from None


def _number(query: Mapping[str, str], name: str, most: float = float("inf")) -> int:
    text = query.get(name, "")
    if not text.isascii() or not text.isdecimal() or int(text) > most:
        raise ValueError(f"'{name}' must be a whole number{'' if most == float('inf') else f' of at most {most:g}'}")
    return int(text)
