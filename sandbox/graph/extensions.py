"""Open extensions of events: named bundles of data that an app adds to an item.

Microsoft Graph docs, "openTypeExtension resource type", "Get open extension". An extension is called by its name or by
its id, which is the name with the type before it. Listings can be filtered by the id, never by what is in an extension.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sandbox.graph.errors import not_modelled, unreadable_body
from sandbox.graph.filters import Field, Kind
from sandbox.http import Json

TYPE = "microsoft.graph.openTypeExtension"
ID_PREFIX = "Microsoft.OutlookServices.OpenTypeExtension."
_PREFIXES = (ID_PREFIX, f"{TYPE}.")

type Extension = tuple[str, Mapping[str, Json]]
"""The name, and the data beside it."""


def name_of(text: str) -> str:
    """The name of the extension that is called by its name or by its id."""
    for prefix in _PREFIXES:
        if text.lower().startswith(prefix.lower()):
            return text[len(prefix) :]
    return text


EXTENSION_FIELDS = {"id": Field(Kind.EXACT, lambda extension: extension[0], name_of)}


def read_extensions(value: Json) -> Mapping[str, Mapping[str, Json]]:
    """The extensions in the body of a create. Raises `GraphError`."""
    if not isinstance(value, list):
        raise unreadable_body("The property 'extensions' must be a collection.")
    return MappingProxyType(dict(read_extension(item) for item in value))


def read_extension(value: Json) -> Extension:
    """One extension. Raises `GraphError`; to a nameless one the service answers 500, in words that nobody documents."""
    if not isinstance(value, dict):
        raise unreadable_body("An extension must be a JSON object.")
    data = {name: item for name, item in value.items() if not name.startswith("@odata.") and name != "id"}
    name = data.pop("extensionName", None)
    if not isinstance(name, str) or not name or name.lower().startswith(("com.microsoft", "com.onmicrosoft")):
        raise not_modelled(f"the extensionName {name!r}")
    for item in data.values():
        if isinstance(item, dict) or (isinstance(item, list) and any(isinstance(one, (dict, list)) for one in item)):
            raise not_modelled("data in an extension that is neither primitive nor an array of primitives")
    return name, MappingProxyType(data)


def extension_json(extension: Extension) -> dict[str, Json]:
    """An extension as an answer shows it."""
    name, data = extension
    return {"@odata.type": f"#{TYPE}", "id": f"{ID_PREFIX}{name}", "extensionName": name, **data}
