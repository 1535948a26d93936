"""Locations and addresses in bodies (Microsoft Graph docs, "location resource type")."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sandbox.graph.values import read_choice, read_members, read_number, read_string
from sandbox.http import Json

LOCATION = "microsoft.graph.location"
_TEXTS = frozenset({"displayName", "locationEmailAddress", "locationUri", "uniqueId"})
_CHOICES = {
    "locationType": (
        "default",
        "conferenceRoom",
        "homeAddress",
        "businessAddress",
        "geoCoordinates",
        "streetAddress",
        "hotel",
        "restaurant",
        "localBusiness",
        "postalAddress",
    ),
    "uniqueIdType": ("unknown", "locationStore", "directory", "private", "bing"),
}
_ADDRESS = frozenset({"street", "city", "state", "countryOrRegion", "postalCode"})
_COORDINATES = frozenset({"altitude", "latitude", "longitude", "accuracy", "altitudeAccuracy"})
_MEMBERS = frozenset({*_TEXTS, *_CHOICES, "address", "coordinates"})


def read_location(name: str, value: Json) -> Mapping[str, Json]:
    """A location from a body. Raises `GraphError`."""
    found: dict[str, Json] = {}
    for key, item in read_members(LOCATION, name, value, _MEMBERS).items():
        if key in _TEXTS:
            found[key] = read_string(key, item)
        elif key in _CHOICES:
            found[key] = read_choice(key, item, _CHOICES[key])
        elif key == "address":
            found[key] = read_address(key, item)
        else:
            members = read_members("microsoft.graph.outlookGeoCoordinates", key, item, _COORDINATES)
            found[key] = {part: read_number(part, number) for part, number in members.items()}
    return MappingProxyType(found)


def read_address(name: str, value: Json) -> Json:
    """A postal address from a body. Raises `GraphError`."""
    members = read_members("microsoft.graph.physicalAddress", name, value, _ADDRESS)
    return {part: read_string(part, text) for part, text in members.items()}
