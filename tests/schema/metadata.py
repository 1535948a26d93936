"""Microsoft's metadata document, read: types, and what an address of the service stands for.

The format is OASIS' "OData Common Schema Definition Language (CSDL) XML Representation", version 4.01.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

_EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
_KEYED = re.compile(r"^(\w+)\('([^']*)'\)$")
_SENTINEL = "unknownFutureValue"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value is: the name of a type (without `microsoft.graph.`), one of them or a collection."""

    name: str
    many: bool = False
    nullable: bool = True

    @classmethod
    def of(cls, text: str, *, nullable: bool = True) -> Kind:
        """Read `Collection(graph.event)`."""
        found = re.fullmatch(r"(Collection\()?(?:microsoft\.graph\.|graph\.)?([\w.]+)\)?", text)
        if found is None:
            raise ValueError(f"no type: {text}")
        return cls(found[2], bool(found[1]), nullable)


@dataclass(frozen=True, slots=True)
class Type:
    """An entity or a complex type with all that it inherits; `key` is empty for complex types."""

    name: str
    lineage: tuple[str, ...]
    key: frozenset[str]
    properties: dict[str, Kind]
    relations: dict[str, Kind]
    is_open: bool
    is_abstract: bool


@dataclass(frozen=True, slots=True)
class Target:
    """What an address stands for. `operation` names the action or function at its end, whose result is `kind`.

    `kind` is `None` for an action that gives nothing.
    """

    kind: Kind | None
    operation: str = ""


class Metadata:
    """The types, and the way from an address to a type."""

    def __init__(self, file: Path) -> None:
        """Read `file`."""
        schema = next(
            element
            for element in ET.parse(file).iter(f"{_EDM}Schema")  # noqa: S314 - our own copy
            if element.get("Namespace") == "microsoft.graph"
        )
        self._elements = {
            element.get("Name", ""): element
            for element in schema
            if element.tag in (f"{_EDM}EntityType", f"{_EDM}ComplexType")
        }
        self.enums = {
            element.get("Name", ""): frozenset(_members(element)) for element in schema.iter(f"{_EDM}EnumType")
        }
        self.types: dict[str, Type] = {}
        for name in self._elements:
            self._type(name)
        self._roots = {
            element.get("Name", "").lower(): Kind.of(kind)
            for element in (*schema.iter(f"{_EDM}EntitySet"), *schema.iter(f"{_EDM}Singleton"))
            for kind in [element.get("Type") or f"Collection({element.get('EntityType')})"]
        }
        self._operations = {
            (element.get("Name", "").lower(), bound.name, bound.many): (
                Kind.of(given.get("Type", "")) if (given := element.find(f"{_EDM}ReturnType")) is not None else None
            )
            for element in schema
            if element.tag in (f"{_EDM}Action", f"{_EDM}Function")
            for bound in [Kind.of(next(element.iter(f"{_EDM}Parameter")).get("Type", ""))]
        }

    def _type(self, name: str) -> Type:
        if name in self.types:
            return self.types[name]
        element = self._elements[name]
        base = self._type(Kind.of(element.get("BaseType", "")).name) if element.get("BaseType") else None
        properties = dict(_properties(element, "Property"))
        relations = dict(_properties(element, "NavigationProperty"))
        key = frozenset(part.get("Name", "") for part in element.iter(f"{_EDM}PropertyRef"))
        self.types[name] = Type(
            name,
            ((*base.lineage, name) if base else (name,)),
            key or (base.key if base else frozenset()),
            {**base.properties, **properties} if base else properties,
            {**base.relations, **relations} if base else relations,
            element.get("OpenType") == "true" or (base is not None and base.is_open),
            element.get("Abstract") == "true",
        )
        return self.types[name]

    def find(self, segments: Sequence[str]) -> Target | None:
        """What stands behind an address below the version root; `None` when the service knows none such."""
        if not segments:
            return None
        # `users('id')` is `users/id`
        segments = [part for one in segments for part in _KEYED.sub(r"\1\n\2", one).split("\n")]
        target: Target | None = Target(self._roots[segments[0].lower()]) if segments[0].lower() in self._roots else None
        for segment in segments[1:]:
            if target is None or target.kind is None:
                return None
            target = self._next(target.kind, segment)
        return target

    def _next(self, kind: Kind, segment: str) -> Target | None:
        of = self.types.get(kind.name)
        if of is None:
            return None
        if cast := re.fullmatch(r"(?:microsoft\.)?graph\.(\w+)", segment):
            # the docs write `microsoft.graph.roomlist`, the metadata `roomList`
            narrower = next((one for name, one in self.types.items() if name.lower() == cast[1].lower()), None)
            if narrower is not None and kind.name in narrower.lineage:
                return Target(replace(kind, name=narrower.name))
        name = re.sub(r"^(microsoft\.graph\.)|\(.*\)$", "", segment).lower()
        for ancestor in reversed(of.lineage):
            if (name, ancestor, kind.many) in self._operations:
                return Target(self._operations[name, ancestor, kind.many], name)
        if kind.many:
            return Target(replace(kind, many=False)) if of.key else None
        members = {member.lower(): found for member, found in (of.properties | of.relations).items()}
        return Target(members[name]) if name in members else None


def _properties(element: ET.Element, tag: str) -> Iterator[tuple[str, Kind]]:
    for inner in element.findall(f"{_EDM}{tag}"):
        yield inner.get("Name", ""), Kind.of(inner.get("Type", ""), nullable=inner.get("Nullable") != "false")


def _members(element: ET.Element) -> Iterator[str]:
    """The values that are sent without being asked for: those before the sentinel, which itself never is.

    Microsoft Graph docs, "Best practices for working with Microsoft Graph", "Handling future members in evolvable
    enumerations".
    """
    for member in element.iter(f"{_EDM}Member"):
        if member.get("Name") == _SENTINEL:
            return
        yield member.get("Name", "")
