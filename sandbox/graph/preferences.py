"""The `Prefer` header: how the caller wants ids, times and bodies written."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.graph.errors import not_modelled, zone_unknown
from sandbox.graph.times import zone_of
from sandbox.http import Request

PAGE_SIZE = "odata.maxpagesize"


@dataclass(frozen=True, slots=True)
class Preferences:
    """The wishes that are obeyed; `applied` is what `Preference-Applied` says of them.

    `page_size` is for rounds of change tracking only: other operations refuse it when they read their query options.
    """

    zone: str = "UTC"
    immutable_ids: bool = False
    text_bodies: bool = False
    page_size: int | None = None
    applied: str = ""


def read_preferences(request: Request) -> Preferences:
    """The wishes of `request`. Raises `GraphError` for one that is not known: none is passed over."""
    zone, immutable_ids, text_bodies, applied = "UTC", False, False, list[str]()
    page_size: int | None = None
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
            case name, count if name == PAGE_SIZE and count.isascii() and count.isdigit() and int(count):
                page_size = int(count)
                applied.append(f"{PAGE_SIZE}={page_size}")
            case _:
                raise not_modelled(f"Prefer: {name}" + (f'="{value}"' if value else ""))
    return Preferences(zone, immutable_ids, text_bodies, page_size, ", ".join(applied))
