"""Places: rooms and lists of rooms.

Microsoft Graph docs, "List places", "Get place": a room list is called by its address; the id of a place is not that of
the account with the same address; 100 on a page. Unverified: that one place is found by its address, too, the wording
of refusals, and that workspaces, buildings, floors, sections and desks are missing where nobody has made any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sandbox.directory import Account, Directory, RoomList, known_id
from sandbox.graph.errors import calendar_access_denied, resource_not_found
from sandbox.graph.filters import Field, Fields, Kind
from sandbox.graph.odata import next_link, pick, read_options
from sandbox.graph.operations import PLACE_READ, Context, needs
from sandbox.http import Json, Response, Route

PAGE = 100
ROOM, ROOM_LIST = "microsoft.graph.room", "microsoft.graph.roomList"
_OF_MANY = frozenset({"$select", "$filter", "$top", "$skip", "$count"})
type _Place = Account | RoomList
_COMMON = {
    "displayname": Field(Kind.TEXT, lambda place: place.name),
    "emailaddress": Field(Kind.TEXT, lambda place: place.address),
}
_FIELDS = {
    ROOM: Fields(
        ROOM,
        {
            **_COMMON,
            "capacity": Field(Kind.NUMBER, lambda room: room.capacity),
            "building": Field(Kind.TEXT, lambda room: room.building),
            "floornumber": Field(Kind.NUMBER, lambda room: room.floor),
        },
    ),
    ROOM_LIST: Fields(ROOM_LIST, _COMMON),
}


class Places:
    """The operations on places."""

    def __init__(self, directory: Directory) -> None:
        """Show the rooms of `directory`."""
        self._directory = directory

    def routes(self) -> list[Route]:
        """The operations with the permissions that they need; types may be called by their alias, too."""
        reads = partial(needs, PLACE_READ, calendar_access_denied())
        return [
            Route("GET", "/places/{place}", reads(self._get)),
            *(
                route
                for namespace in ("microsoft.graph", "graph")
                for route in (
                    Route("GET", f"/places/{namespace}.room", reads(self._rooms)),
                    Route("GET", f"/places/{namespace}.roomlist", reads(self._room_lists)),
                    Route("GET", f"/places/{{place}}/{namespace}.roomlist/rooms", reads(self._rooms_of_list)),
                )
            ),
        ]

    async def _rooms(self, context: Context) -> Response:
        return _page(context, ROOM, self._all_rooms(), f"places/{ROOM}", _room_json)

    async def _room_lists(self, context: Context) -> Response:
        return _page(context, ROOM_LIST, list(self._directory.room_lists.values()), f"places/{ROOM_LIST}", _list_json)

    async def _rooms_of_list(self, context: Context, place: str) -> Response:
        found = self._room_list(place)
        if found is None:
            raise resource_not_found(f"place '{place}'")
        rooms = [room for room in self._all_rooms() if room.address in found.rooms]
        return _page(context, ROOM, rooms, f"places('{place}')/{ROOM_LIST}/rooms", _room_json)

    async def _get(self, context: Context, place: str) -> Response:
        options = read_options(context.request, frozenset({"$select"}))
        wanted = place.lower()
        found = [one for one in self._all_rooms() if wanted in (one.address.lower(), place_id(one))]
        a_list = self._room_list(place)
        if found:
            kind, written = ROOM, _room_json(found[0])
        elif a_list is not None:
            kind, written = ROOM_LIST, _list_json(a_list)
        else:
            raise resource_not_found(f"place '{place}'")
        metadata = context.metadata("places", select=options.select, entity=True)
        return context.answer(
            200, {"@odata.context": metadata, "@odata.type": f"#{kind}", **pick(written, options.select, kind)}
        )

    def _all_rooms(self) -> list[Account]:
        return [account for account in self._directory.accounts.values() if account.is_room]

    def _room_list(self, address: str) -> RoomList | None:
        found = self._directory.room_lists.values()
        return next((one for one in found if address.lower() in (one.address.lower(), one.id)), None)


def _page[P: _Place](
    context: Context, kind: str, places: Sequence[P], path: str, written: Callable[[P], dict[str, Json]]
) -> Response:
    options = read_options(context.request, _OF_MANY, fields=_FIELDS[kind], page=PAGE)
    page, more = options.page_of(places)
    body: dict[str, Json] = {"@odata.context": context.metadata(path, select=options.select)}
    if options.count:
        body["@odata.count"] = sum(1 for place in places if options.matches(place))
    body["value"] = [pick(written(place), options.select, kind) for place in page]
    if more:
        body["@odata.nextLink"] = next_link(context.request, skip=str(options.skip + options.top))
    return context.answer(200, body)


def place_id(room: Account) -> str:
    """The id of a room as a place."""
    return known_id("place", room.id)


def _room_json(room: Account) -> dict[str, Json]:
    return {
        "id": place_id(room),
        "emailAddress": room.address,
        "displayName": room.name,
        "address": None,
        "geoCoordinates": None,
        "phone": None,
        "nickname": room.name,
        "label": None,
        "capacity": room.capacity,
        "building": room.building,
        "floorNumber": room.floor,
        "floorLabel": None,
        "isWheelChairAccessible": None,
        "bookingType": "standard",
        "tags": [],
        "audioDeviceName": None,
        "videoDeviceName": None,
        "displayDeviceName": None,
        "teamsEnabledState": "unknown",
    }


def _list_json(found: RoomList) -> dict[str, Json]:
    return {
        "id": found.id,
        "emailAddress": found.address,
        "displayName": found.name,
        "address": None,
        "geoCoordinates": None,
        "phone": None,
    }
