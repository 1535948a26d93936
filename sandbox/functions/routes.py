"""Which function answers a path: ASP.NET Core's route templates as the functions host uses them.

A template's segments are literals, `{name}`, `{name:constraint}` and, at the end, `{name?}` and `{*rest}`. Literals
ignore case; where several templates fit, literals win over constrained names, those over free names, those over the
rest (documentation: "Customize the HTTP endpoint", "Routing in ASP.NET Core: URL matching"). A route that exists for
other methods only is not found.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import unquote

from sandbox.functions.settings import SettingsError

_CONSTRAINTS: dict[str, Callable[[str], object]] = {
    "int": re.compile(r"[+-]?\d{1,10}").fullmatch,
    "long": re.compile(r"[+-]?\d{1,19}").fullmatch,
    "guid": re.compile(r"\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.IGNORECASE).fullmatch,
    "bool": re.compile(r"true|false", re.IGNORECASE).fullmatch,
    "alpha": re.compile(r"[a-z]*", re.IGNORECASE).fullmatch,
}
_RESERVED = ("admin", "runtime")
ANY_METHOD = frozenset({"*"})


class Kind(IntEnum):
    """What a segment is; the smaller wins."""

    LITERAL = 0
    CONSTRAINED = 1
    FREE = 2
    REST = 3


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a template: a literal's text in lower case, or a name with its constraint."""

    kind: Kind
    text: str
    constraint: str = ""
    optional: bool = False

    def fits(self, value: str) -> bool:
        """Whether `value` may stand here."""
        if self.kind is Kind.LITERAL:
            return value.lower() == self.text
        return self.kind is not Kind.CONSTRAINED or bool(_CONSTRAINTS[self.constraint](value))


class Template:
    """One route template."""

    def __init__(self, text: str) -> None:
        """Read a template. Raises `SettingsError` for what the sandbox does not know."""
        self.text = text.strip("/")
        parts = self.text.split("/") if self.text else []
        self.segments = tuple(_segment(part, text) for part in parts)
        if any(segment.optional or segment.kind is Kind.REST for segment in self.segments[:-1]):
            raise SettingsError(f"route '{text}': only the last segment may be optional or take the rest")
        if parts and parts[0].lower() in _RESERVED:
            raise SettingsError(f"route '{text}' conflicts with the host's own routes below /{parts[0]}")

    @property
    def rank(self) -> tuple[Kind, ...]:
        """Templates are tried in this order."""
        return tuple(segment.kind for segment in self.segments)

    @property
    def shape(self) -> tuple[tuple[Kind, str], ...]:
        """What it matches, whatever its names are called."""
        return tuple(
            (segment.kind, segment.text if segment.kind is Kind.LITERAL else segment.constraint)
            for segment in self.segments
        )

    def match(self, parts: list[str]) -> dict[str, str] | None:
        """The values of the names, without those that are absent; `None` when the path is another one."""
        values: dict[str, str] = {}
        for index, segment in enumerate(self.segments):
            if segment.kind is Kind.REST:
                return values | ({segment.text: "/".join(parts[index:])} if parts[index:] else {})
            if index >= len(parts):
                return values if segment.optional else None
            if not segment.fits(parts[index]):
                return None
            if segment.kind is not Kind.LITERAL:
                values[segment.text] = parts[index]
        return values if len(parts) == len(self.segments) else None


def _segment(part: str, whole: str) -> Segment:
    name = re.fullmatch(r"\{(\*{0,2})(\w+)(?::(\w+))?(\?)?\}", part)
    if name is None:
        if "{" in part or "}" in part or not part:
            raise SettingsError(f"route '{whole}': the sandbox does not know the segment '{part}'")
        return Segment(Kind.LITERAL, part.lower())
    rest, text, constraint, optional = name.groups()
    if constraint and constraint not in _CONSTRAINTS:
        raise SettingsError(f"route '{whole}': the sandbox does not know the constraint '{constraint}'")
    if rest:
        if constraint or optional:
            raise SettingsError(f"route '{whole}': the rest takes no constraint here")
        return Segment(Kind.REST, text)
    return Segment(Kind.CONSTRAINED if constraint else Kind.FREE, text, constraint or "", bool(optional))


class Routes[T]:
    """The templates of an app, each with what it leads to."""

    def __init__(self) -> None:
        """Start without any."""
        self._routes: list[tuple[Template, frozenset[str], T]] = []

    def add(self, template: Template, methods: frozenset[str], target: T) -> T | None:
        """Add a route, unless another one has its path and a method of it: then give that one's target."""
        for other, taken, known in self._routes:
            overlap = bool(methods & taken) or bool(ANY_METHOD & (methods | taken))
            if overlap and other.shape == template.shape:
                return known
        self._routes.append((template, methods, target))
        self._routes.sort(key=lambda route: route[0].rank)
        return None

    def find(self, method: str, raw_path: str) -> tuple[T, dict[str, str]] | None:
        """The target of a call and the values of its template's names."""
        parts = [_decoded(part) for part in raw_path.strip("/").split("/")] if raw_path.strip("/") else []
        for template, methods, target in self._routes:
            if methods & (ANY_METHOD | {method}) and (values := template.match(parts)) is not None:
                return target, values
        return None


def _decoded(part: str) -> str:
    """A path segment as ASP.NET Core decodes it: everything but an encoded slash (`HttpRequest.Path`)."""
    return "".join(piece if piece.lower() == "%2f" else unquote(piece) for piece in re.split(r"(%2[fF])", part))
