"""`python -m tests.schema.trim FILE`: cut Microsoft's metadata document down to what the sandbox speaks.

FILE is `schemas/v1.0-Prod.csdl` of https://github.com/microsoftgraph/msgraph-metadata; the copy beside this module says
which state of it was taken. Kept are the entities named here, unchanged, and whatever their values are made of.
Left out are relations to other entities, annotations, and functions and actions on or about other types.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
COPY = Path(__file__).with_name("graph-v1.0.csdl")
ENTITIES = (
    *("entity", "directoryObject", "user", "outlookUser", "outlookCategory", "outlookItem", "extension"),
    *("openTypeExtension", "multiValueLegacyExtendedProperty", "singleValueLegacyExtendedProperty", "subscription"),
    *("event", "calendar", "calendarGroup", "calendarPermission", "place", "room", "roomList", "solutionsRoot"),
    *("attachment", "fileAttachment", "itemAttachment", "referenceAttachment", "mailFolder", "message"),
    *("eventMessage", "eventMessageRequest", "eventMessageResponse", "bookingBusiness", "bookingAppointment"),
    *("bookingCustomer", "bookingCustomerBase", "bookingCustomQuestion", "bookingService", "bookingStaffMember"),
    *("bookingStaffMemberBase", "bookingCurrency", "workspace"),
)
COMPLEX = ("bookingCustomerInformation", "customTimeZone", "standardTimeZoneOffset", "daylightTimeZoneOffset")
"""Values that no kept property names: derived types."""
SETS = ("users", "subscriptions", "places", "solutions")
"""What stands at the root."""


def main(file: str) -> None:
    """Write the copy."""
    tree = ET.parse(file)  # noqa: S314 - a document of Microsoft's
    for schema in tree.iter(f"{EDM}Schema"):
        _trim(schema) if schema.get("Namespace") == "microsoft.graph" else schema.clear()
    ET.register_namespace("", EDM[1:-1])
    ET.register_namespace("edmx", "http://docs.oasis-open.org/odata/ns/edmx")
    text = ET.tostring(tree.getroot(), encoding="unicode")
    text = re.sub(r"\s*<Schema />|\n\s*(?=\n)", "", text)
    head = re.match(r"<!--.*?-->\n", COPY.read_text(encoding="utf-8"), re.DOTALL) if COPY.exists() else None
    COPY.write_text((head[0] if head else "") + text + "\n", encoding="utf-8")


def _trim(schema: ET.Element) -> None:
    named = {element.get("Name", ""): element for element in schema if element.tag in _TYPES}
    operations = list(_operations(schema))
    waiting = [*ENTITIES, *COMPLEX]
    for operation in operations:
        waiting += [name for name in _names(operation) if name in named and named[name].tag not in _ENTITY]
    kept = _closure(waiting, named)
    for element in list(schema):
        if element.tag == f"{EDM}EntityContainer":
            for child in [child for child in element if child.get("Name") not in SETS]:
                element.remove(child)
        elif element not in operations and not (element.tag in _TYPES and element.get("Name") in kept):
            schema.remove(element)
    for element in schema.iter():
        for noise in [child for child in element if child.tag in _NOISE]:
            element.remove(noise)


def _closure(waiting: list[str], named: Mapping[str, ET.Element]) -> set[str]:
    """These types and all that their values are made of; their relations to other entities are cut."""
    kept: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept.add(name)
            for relation in named[name].findall(f"{EDM}NavigationProperty"):
                if not set(_names(relation)) <= set(ENTITIES):
                    named[name].remove(relation)
            waiting += [used for used in _names(named[name]) if used in named]
    return kept


_ENTITY = (f"{EDM}EntityType",)
_TYPES = (*_ENTITY, f"{EDM}ComplexType", f"{EDM}EnumType")
_NOISE = (f"{EDM}Annotation", f"{EDM}NavigationPropertyBinding", f"{EDM}ReferentialConstraint")


def _operations(schema: ET.Element) -> Iterator[ET.Element]:
    """Functions and actions that are bound to what is kept, and that give nothing else."""
    for element in schema:
        if element.tag in (f"{EDM}Action", f"{EDM}Function"):
            bound = next(_names(element), "")
            given = element.find(f"{EDM}ReturnType")
            names = list(_names(given)) if given is not None else []
            entities = [name for name in names if name[:1].islower()]
            if bound in ENTITIES and _is_ours(schema, entities):
                yield element


def _is_ours(schema: ET.Element, names: list[str]) -> bool:
    others = {element.get("Name") for element in schema if element.tag in _ENTITY} - set(ENTITIES)
    return not others & set(names)


def _names(element: ET.Element) -> Iterator[str]:
    """The types of Graph that an element names, inside it too."""
    for inner in element.iter():
        for value in (inner.get("Type", ""), inner.get("BaseType", "")):
            if found := re.search(r"\bgraph\.(\w+)\)?$", value):
                yield found[1]


if __name__ == "__main__":
    main(sys.argv[1])
