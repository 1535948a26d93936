"""The `Prefer` header: how the caller wants ids, times and bodies written."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.graph.errors import not_modelled, zone_unknown
from sandbox.graph.times import zone_of
from sandbox.http import Request


@dataclass(frozen=True, slots=True)
class Preferences:
    """The wishes that are obeyed; `applied` is what `Preference-Applied` says of them."""

    zone: str = "UTC"
    immutable_ids: bool = False
    text_bodies: bool = False
    applied: str = ""


def read_preferences(request: Request) -> Preferences:
    """The wishes of `request`. Raises `GraphError` for one that is not known: none is passed over."""
    zone, immutable_ids, text_bodies, applied = "UTC", False, False, list[str]()
    for name, value in request.prefer().items():
        match name, value.lower():
            case "outlook.timezone", _:
                if not value:
                    raise zone_unknown("")
                zone_of(value)
                zone = value
                applied.append(f'outlook.timezone="{value}"')
            case "idtype", "immutableid":
                immutable_ids = True
            case "outlook.body-content-type", "text" | "html" as wanted:
                text_bodies = wanted == "text"
                applied.append(f'outlook.body-content-type="{wanted}"')
            case _:
                raise not_modelled(f"Prefer: {name}" + (f'="{value}"' if value else ""))
    return Preferences(zone, immutable_ids, text_bodies, ", ".join(applied))
