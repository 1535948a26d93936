"""One call after its head has been understood: preferences, query options, caller; and where in the tables it points.

Microsoft docs, "Compose HTTP requests and handle errors", "Optional parameters" and "Impersonate another user using the
Web API". A header or preference that would change the outcome in a way that is not modelled is refused with 501.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sandbox.dataverse import errors
from sandbox.dataverse.operations import Caller
from sandbox.dataverse.privileges import Right, privilege
from sandbox.dataverse.query import LARGEST_PAGE, Query, Reader
from sandbox.dataverse.represent import Annotations, Representation
from sandbox.dataverse.schema import Schema, Table, Value
from sandbox.dataverse.state import State
from sandbox.dataverse.values import parse_guid
from sandbox.http import Request

TRACK_CHANGES = "odata.track-changes"
_PREFERENCES = frozenset(
    {"return", "odata.maxpagesize", "odata.include-annotations", "odata.continue-on-error", TRACK_CHANGES}
)
_HARMLESS_MSCRM = {
    "mscrm.suppressduplicatedetection": "true",  # the default; there are no duplicate rules to turn on
    "mscrm.suppresscallbackregistrationexpanderjob": "true",  # there are no flows to suppress
    "mscrm.mergelabels": "true",  # for metadata only, which is not written here
}
_ROOT = re.compile(r"/api/data/v9\.[0-2]", re.IGNORECASE)
_SEGMENT = re.compile(r"([A-Za-z_]\w*)(?:\((.*)\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What the `Prefer` header asks for."""

    representation: bool = False
    page_size: int | None = None
    annotations: Annotations = Annotations()
    continue_on_error: bool = False
    track_changes: bool = False
    applied: str = ""

    @classmethod
    def of(cls, request: Request) -> Preferences:
        """Read the header. Refuses preferences that are not known."""
        given = request.prefer()
        for name, value in given.items():
            if name not in _PREFERENCES or (name == "return" and value not in ("representation", "minimal")):
                raise errors.not_modelled(f"the preference '{name}{'=' * bool(value)}{value}'")
        size = given.get("odata.maxpagesize")
        if given.get(TRACK_CHANGES):
            raise errors.not_modelled(f"a value of the preference '{TRACK_CHANGES}'")
        if size is not None and (not size.isdecimal() or int(size) == 0):
            raise errors.query(f"Invalid value '{size}' for odata.maxpagesize.")
        applied = [TRACK_CHANGES] if TRACK_CHANGES in given else []
        if given.get("return") == "representation":
            applied.append("return=representation")
        if size is not None:
            applied.append(f"odata.maxpagesize={size}")
        if "odata.include-annotations" in given:
            applied.append(f'odata.include-annotations="{given["odata.include-annotations"]}"')
        return cls(
            representation=given.get("return") == "representation",
            page_size=None if size is None else min(int(size), LARGEST_PAGE),
            annotations=Annotations.of(given.get("odata.include-annotations", "")),
            continue_on_error="odata.continue-on-error" in given,
            track_changes=TRACK_CHANGES in given,
            applied=",".join(applied),
        )

    @property
    def headers(self) -> dict[str, str]:
        """The answer's `Preference-Applied`."""
        return {"Preference-Applied": self.applied} if self.applied else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a path points: a table, perhaps one of its rows, perhaps something of that row or a function on the set.

    `key` is the alternate key by which the path names the row, and `given` are the values in it.
    """

    table: Table
    row_id: str | None
    rest: tuple[str, ...]
    key: str = ""
    given: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One call, its head understood. `root` is the absolute address of the Web API."""

    request: Request
    root: str
    preferences: Preferences
    options: Mapping[str, str]
    caller: Caller

    def query(self, state: State, table: Table, *allowed: str) -> Query:
        """The query options, of which only the `allowed` may be there; what is expanded has to be readable."""
        query = Reader(state, self.options).read(table, allowed)
        for expanded in query.selection.tables:
            self.may_read(expanded)
        return query

    def may_read(self, table: Table) -> None:
        """Refuse with 403 a caller who may not read `table`."""
        self.caller.need(privilege(Right.READ, table.name), table.name)

    def representation(self, state: State) -> Representation:
        """Writes rows as this call wants them."""
        return Representation(state, self.preferences.annotations)

    def context(self, text: str) -> str:
        """The value of `@odata.context`."""
        return f"{self.root}/$metadata#{text}"

    def address(self, table: Table, row_id: str) -> str:
        """The absolute address of a row, by its id or by an alternate key."""
        return f"{self.root}/{table.set_name}({row_id})"

    def condition(self, name: str) -> str:
        """`If-Match` or `If-None-Match`; the literal `null`, which the docs advise to send, is none."""
        value = self.request.header(name).strip()
        return "" if value == "null" else value


def root_of(path: str) -> str:
    """The part of `path` that leads to the Web API. Refuses another address."""
    match = _ROOT.match(path)
    if match is None or path[match.end() : match.end() + 1] not in ("", "/"):
        raise errors.not_modelled(f"the address {path}")
    return match[0]


def find_place(schema: Schema, segments: Collection[str]) -> Place:
    """The place that the decoded `segments` spell. Refuses sets that are not modelled."""
    first, *rest = segments
    match = _SEGMENT.fullmatch(first)
    table = schema.sets.get(match[1]) if match else None
    if match is None or table is None:
        raise errors.not_modelled(f"the resource '{first}'")
    if match[2] is None:
        return Place(table=table, row_id=None, rest=tuple(rest))
    row_id = parse_guid(match[2].removeprefix(f"{table.key}="))
    if row_id is None:
        return Place(table=table, row_id=None, rest=tuple(rest), key=match[2])
    return Place(table=table, row_id=row_id, rest=tuple(rest))


def read_options(request: Request) -> dict[str, str]:
    """The query options by name. Refuses doubled ones."""
    options: dict[str, str] = {}
    for name, value in request.query:
        if name in options:
            raise errors.query(f"The query option '{name}' was given more than once.")
        options[name] = value
    return options


def check_headers(request: Request) -> None:
    """Refuse headers that ask for what is not modelled."""
    for name in ("odata-version", "odata-maxversion"):
        if request.header(name, "4.0") not in ("4.0", "4.01" if name == "odata-maxversion" else "4.0"):
            raise errors.not_modelled(f"{name} {request.header(name)}")
    accept = request.header("accept", "*/*").lower()
    if not any(kind in accept for kind in ("application/json", "application/*", "*/*", "multipart/mixed")):
        raise errors.refuse(415, "", f"The requested media type '{accept}' is not supported.")
    for asked in ("odata.metadata=full", "odata.metadata=none", "ieee754compatible=true"):
        if asked in accept.replace(" ", ""):
            raise errors.not_modelled(f"the format '{asked}'")
    for name, value in request.headers.items():
        if name.startswith("mscrm.") and _HARMLESS_MSCRM.get(name) != value.lower():
            raise errors.not_modelled(f"the header {name}: {value}")
