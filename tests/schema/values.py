"""Whether a value is one of Microsoft's types. Every type is compiled once, when it is first seen.

Stricter than a client, which skips what it does not know. Unknown properties, wrong types, values that an enumeration
does not have and missing required parts are problems. So are unknown properties of open types: Microsoft declares
almost all entities open, and yet a property that it does not name is a mistake. Only extensions are really open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from tests.schema.metadata import Kind, Metadata, Type

type Problems = list[tuple[str, str]]
"""Paths of properties, and what is wrong with them."""

type Check = Callable[[Any, str, Problems], None]

OPEN = frozenset({"extension", "openTypeExtension"})
OF_AN_ENTITY = frozenset({"@odata.etag", "@odata.type", "@odata.id", "@odata.editLink"})
OF_A_PROPERTY = re.compile(r"(\w+)@odata\.(?:context|count|nextLink|type|navigationLink|associationLink)")
"""Annotations (OData JSON Format 4.01, section 4.6)."""

WHOLE: Mapping[str, frozenset[str]] = {
    # Everything comes when nothing is selected, but: an identifier of the client only if it was given, the occurrences
    # of a series only if they were cancelled and asked for, the original start only of an occurrence, the body not to
    # who may read the basics only.
    "event": frozenset({"transactionId", "cancelledOccurrences", "originalStart", "body", "bodyPreview"}),
    "calendar": frozenset(),
}
"""Entities of which all properties come when nothing is selected, and their exceptions (Graph docs, "event", ...)."""

BY_DEFAULT: Mapping[str, frozenset[str]] = {
    "user": frozenset(
        (
            *("id", "businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation"),
            *("preferredLanguage", "surname", "userPrincipalName"),
        )
    )
}
"""Entities of which exactly these properties come when nothing is selected (Graph docs, "Get a user")."""

_DAY = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,12})?)?"
_TEXTS = {
    "Edm.String": r"(?s).*",
    "Edm.DateTimeOffset": rf"{_DAY}T{_TIME}(Z|[+-]\d\d:\d\d)",
    "Edm.Date": _DAY,
    "Edm.TimeOfDay": _TIME,
    "Edm.Duration": r"-?P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?",
    "Edm.Guid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "Edm.Binary": r"[A-Za-z0-9+/_=-]*",
}
_NUMBERS = {"Edm.Int16": 15, "Edm.Int32": 31, "Edm.Int64": 63, "Edm.Byte": 8}
_FRACTIONS = {"Edm.Double", "Edm.Single", "Edm.Decimal"}


class Checks:
    """The compiled types; `Checks()[kind, whole]` is the check of a value of `kind`.

    `whole` tells an entity that nobody cut down by `$select` from another one.
    """

    def __init__(self, metadata: Metadata) -> None:
        """Compile types of `metadata`."""
        self.metadata = metadata
        self._known: dict[tuple[Kind, bool], Check] = {}

    def __getitem__(self, wanted: tuple[Kind, bool]) -> Check:
        if wanted not in self._known:
            self._known[wanted] = self._compile(*wanted)
        return self._known[wanted]

    def _compile(self, kind: Kind, whole: bool) -> Check:  # noqa: FBT001 - the two parts of a key
        if kind.many:
            return self._collection(self[Kind(kind.name, nullable=kind.nullable), whole])
        plain = self._plain(kind.name, whole=whole)

        def single(value: Any, path: str, problems: Problems) -> None:
            if value is not None:
                plain(value, path, problems)
            elif not kind.nullable:
                problems.append((path, "must not be null"))

        return single

    def _plain(self, name: str, *, whole: bool) -> Check:
        if name in self.metadata.types:
            return Shape(self, self.metadata.types[name], whole=whole)
        if name in self.metadata.enums:
            return _one_of(self.metadata.enums[name], name)
        return _primitive(name)

    @staticmethod
    def _collection(one: Check) -> Check:
        def many(value: Any, path: str, problems: Problems) -> None:
            if not isinstance(value, list):
                problems.append((path, "is no collection"))
                return
            for number, item in enumerate(value):
                one(item, f"{path}[{number}]", problems)

        return many


class Shape:
    """The check of an entity or a complex value."""

    def __init__(self, checks: Checks, of: Type, *, whole: bool) -> None:
        """Check values of the type `of` by means of `checks`."""
        self._checks = checks
        self._of = of
        self._whole = whole
        self._required = _required(of, whole=whole)
        self._only = BY_DEFAULT.get(of.name) if whole else None
        self._annotations = OF_AN_ENTITY if of.key else frozenset({"@odata.type"})

    @cached_property
    def _members(self) -> Mapping[str, Check]:
        """Found when they are needed, because types contain themselves."""
        own = {name: self._checks[kind, True] for name, kind in self._of.properties.items()}
        return own | {name: self._checks[kind, False] for name, kind in self._of.relations.items()}

    def __call__(self, value: Any, path: str, problems: Problems) -> None:
        """Add what is wrong with `value` to `problems`."""
        if not isinstance(value, dict):
            problems.append((path, "is no object"))
            return
        named = value.get("@odata.type")
        if named is not None and named != f"#microsoft.graph.{self._of.name}":
            self._as_derived(named, value, path, problems)
            return
        below = f"{path}." if path else ""
        if self._of.is_abstract:
            problems.append((f"{below}@odata.type", f"is missing, and {self._of.name} is abstract"))
        for missing in self._required - value.keys():
            problems.append((below + missing, "is missing"))
        for name, inner in value.items():
            if name in self._members:
                if self._only is None or name in self._only:
                    self._members[name](inner, below + name, problems)
                else:
                    problems.append((below + name, "comes only when it is selected"))
            elif "@" in name:
                self._annotation(name, inner, below, problems)
            elif self._of.name not in OPEN:
                problems.append((below + name, f"is no property of {self._of.name}"))

    def _annotation(self, name: str, value: Any, below: str, problems: Problems) -> None:
        annotated = OF_A_PROPERTY.fullmatch(name)
        if name not in self._annotations and not (annotated and annotated[1] in self._members):
            problems.append((below + name, "is an unknown annotation"))
        elif not isinstance(value, (str, int)):
            problems.append((below + name, "is neither text nor number"))

    def _as_derived(self, named: Any, value: Any, path: str, problems: Problems) -> None:
        derived = self._checks.metadata.types.get(str(named).removeprefix("#microsoft.graph."))
        if derived is not None and self._of.name in derived.lineage:
            self._checks[Kind(derived.name), self._whole](value, path, problems)
        else:
            where = f"{path}.@odata.type" if path else "@odata.type"
            problems.append((where, f"'{named}' is no kind of {self._of.name}"))


def _required(of: Type, *, whole: bool) -> frozenset[str]:
    """What must be there: keys always; all of a complex value, and of a whole entity, that cannot be null.

    Of users and other objects of the directory even the key comes only when it is selected.
    """
    if of.key and not whole:
        return frozenset() if "directoryObject" in of.lineage else of.key
    if of.name in BY_DEFAULT:
        return BY_DEFAULT[of.name]
    if of.name in WHOLE:
        return frozenset(of.properties) - WHOLE[of.name]
    return of.key | {name for name, kind in of.properties.items() if not kind.nullable and not kind.many}


def _one_of(members: frozenset[str], name: str) -> Check:
    def check(value: Any, path: str, problems: Problems) -> None:
        if not isinstance(value, str) or value not in members:
            problems.append((path, f"'{value}' is no {name}"))

    return check


def _primitive(name: str) -> Check:
    pattern = re.compile(_TEXTS[name]) if name in _TEXTS else None

    def fits(value: Any) -> bool:
        if pattern is not None:
            return isinstance(value, str) and pattern.fullmatch(value) is not None
        if name == "Edm.Boolean":
            return isinstance(value, bool)
        if name in _NUMBERS:
            return type(value) is int and -(2 ** _NUMBERS[name]) <= value < 2 ** _NUMBERS[name]
        if name in _FRACTIONS:
            return type(value) in (int, float) or value in ("NaN", "INF", "-INF")
        if name == "Edm.Stream":
            return False  # streams are never in an answer's JSON
        raise ValueError(f"no such primitive type: {name}")

    fits("")  # an unknown type shall be noticed now

    def check(value: Any, path: str, problems: Problems) -> None:
        if not fits(value):
            problems.append((path, f"is no {name}"))

    return check
