"""`python -m tests.sandbox.coverage`: write docs/sandbox-coverage.md, what the Graph simulator knows and refuses.

Nothing on the page is claimed: every operation is called with every option, and what comes back decides.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlencode

from sandbox.cloud import Cloud
from sandbox.directory import Account, Application, Directory, known_id
from sandbox.entra.routes import Entra
from sandbox.graph.routes import Graph
from sandbox.graph.writing import _READERS, _SAYS_NOTHING, READ_ONLY
from sandbox.http import Response, Route
from tests.sandbox.apps import ROOM, App
from tests.sandbox.specimens import ALL, Specimen, operations, path_of

PAGE = Path(__file__).parents[2] / "docs" / "sandbox-coverage.md"
OPTIONS = {
    "$select": "id",
    "$expand": "nothing",
    "$filter": "nothing eq 1",
    "$orderby": "nothing",
    "$top": "1",
    "$skip": "1",
    "$count": "true",
    "$search": '"nothing"',
}
HEADERS = {
    "If-Match": ("If-Match", 'W/"another"'),
    "If-None-Match": ("If-None-Match", 'W/"another"'),
    "odata.maxpagesize": ("Prefer", "odata.maxpagesize=1"),
}
GROUPS = {
    "Change tracking": r".*/delta$",
    "Calendars and events": r"/users/\{user\}/(events|calendar)",
    "Mailboxes": r"/users/\{user\}/(mailboxSettings|outlook|translate)",
    "Mail": r"/users/\{user\}/(messages|mailFolders|sendMail)",
    "People": r"/users(/\{user\})?$",
    "Places": r"/places",
    "Microsoft Bookings": r"/solutions",
}
TWICE = re.compile(
    r"/(calendar|calendars/\{calendar\})/(events|calendarView)|/mailFolders/\{folder\}/messages/\{|\(\)$|/graph\.|'Windows'"
)
"""Other ways to the same operation."""
HEAD = """\
# What the Graph simulator knows

`python -m tests.sandbox.coverage` writes this page by calling every operation with every option; a test keeps it so.
An operation that is not here is refused with 501 `NotImplemented`, and so is every query option, condition in a header
and preference that is not in the row of its operation. `$batch` takes all of them; `/subscriptions` is described in
[The sandbox's laws](sandbox.md). Below a mailbox, events and views are also found in `/calendar` and in
`/calendars/{calendar}`, messages in `/mailFolders/{folder}`; functions may be called with empty parentheses, types of
places by `graph.`, and a key may stand in parentheses, as in `users('id')`.

`Prefer: outlook.timezone`, `outlook.body-content-type` and `IdType="ImmutableId"` are honoured wherever times, bodies
and ids are shown. One of the permissions is enough.
"""


async def page() -> str:
    """The page as it must be now."""
    directory = Directory()
    directory.add(Account(id=known_id("user", ROOM), name="Room 1", address=ROOM, is_room=True))
    cloud = Cloud(seed=1)
    entra = Entra(cloud, directory)
    graph = Graph(cloud, directory, entra.tokens)
    cloud.add(entra)
    cloud.add(graph)
    all_of_them = Application(client_id="all", object_id="all", name="All", secrets=(), graph_roles=tuple(sorted(ALL)))
    app = App(cloud, entra.tokens, directory.register(all_of_them))
    rows: dict[str, list[str]] = {group: [] for group in GROUPS}
    for route, specimen in sorted(operations(graph), key=lambda pair: (pair[0].template, pair[0].method)):
        if TWICE.search(route.template) is None:
            group = next(group for group, pattern in GROUPS.items() if re.match(pattern, route.template))
            known = [name async for name in _known(route, specimen, graph, app, directory)]
            rows[group].append(_row(route, specimen, known))
    return "\n".join([HEAD, *_tables(rows), *_properties()]) + "\n"


async def _known(route: Route, specimen: Specimen, graph: Graph, app: App, directory: Directory) -> AsyncIterator[str]:
    """The options and headers of an operation that are obeyed, by what happens with each of them."""
    for name in specimen.query:
        yield name
    for name, value in OPTIONS.items():
        path = await path_of(route, graph, app, directory)
        query = urlencode({**specimen.query, name: value})
        if not _is_refused(await app.call(route.method, f"{path}?{query}", specimen.body), f"query option '{name}'"):
            yield name
    for shown, (name, value) in HEADERS.items():
        path = await path_of(route, graph, app, directory)
        query = f"?{urlencode(specimen.query)}" if specimen.query else ""
        answer = await app.call(route.method, path + query, specimen.body, headers={name: value})
        if not _is_refused(answer, f"Prefer: {shown}", f"the header {name.lower()}"):
            yield shown


def _is_refused(answer: Response, *words: str) -> bool:
    if answer.status < 400:
        return False
    error = answer.json()["error"]
    return error["code"] == "ErrorInvalidUrlQuery" or any(word in error["message"] for word in words)


def _row(route: Route, specimen: Specimen, known: list[str]) -> str:
    options = ", ".join(f"`{name}`" for name in known)
    return f"| {route.method} | `{route.template}` | {options} | {', '.join(sorted(specimen.roles))} |"


def _tables(rows: dict[str, list[str]]) -> Iterator[str]:
    for group, found in rows.items():
        yield f"## {group}\n\n| | operation | honoured | permissions |\n| --- | --- | --- | --- |"
        yield "\n".join(found) + "\n"


def _properties() -> Iterator[str]:
    yield "## Properties of an event in a body\n\n| | properties |\n| --- | --- |"
    for what, names in (
        ("taken", {*_READERS, "extensions"}),
        ("taken as long as they say nothing, else 501", set(_SAYS_NOTHING) - {"extensions"}),
        ("read-only, 501", READ_ONLY),
    ):
        yield f"| {what} | {', '.join(f'`{name}`' for name in sorted(names))} |"
    yield "\nAny other is refused with 400 `RequestBodyRead`, as by the service."


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(page()), encoding="utf-8")
