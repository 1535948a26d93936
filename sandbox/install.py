"""Registration of the app's webhook in Dataverse, through nothing but the Web API.

As Microsoft docs, "Register a WebHook" describes it: one endpoint, one asynchronous step per message, and images that
bring the columns along which a post alone would lack. What is there already is brought up to date, not doubled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from sandbox.http import Json

TABLE = "bookableresourcebooking"
ENDPOINT_NAME = "Booking Sync webhook"
FILTERING_ATTRIBUTES = "starttime,endtime,duration,resource,bookingstatus,name,msdyn_workorder,statecode"
IMAGE_ATTRIBUTES = (
    "bookableresourcebookingid,name,starttime,endtime,duration,resource,bookingstatus,msdyn_workorder,statecode"
)
PRE_IMAGE, POST_IMAGE = 0, 1
IMAGES: Mapping[str, Mapping[str, int]] = {
    "Create": {"post": POST_IMAGE},
    "Update": {"pre": PRE_IMAGE, "post": POST_IMAGE},
    "Delete": {"pre": PRE_IMAGE},
}
IMAGE_PROPERTY = {"Create": "Id", "Update": "Target", "Delete": "Target"}

type WebApi = Callable[[str, str, Json], Awaitable[tuple[int, Json, Mapping[str, str]]]]
"""A call of the Web API: method, address below its root, body (`None` = none) to status, JSON and headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What is registered: the endpoint, and the steps by message."""

    endpoint_id: str
    steps: Mapping[str, str]


class RegistrationError(Exception):
    """Dataverse refused a part of the registration."""


async def register_webhooks(call: WebApi, *, url: str, key: str) -> Registration:
    """Have creates, updates and deletes of bookings posted to `url` with the function key `key`."""
    rows = _Rows(call)
    endpoint = {"name": ENDPOINT_NAME, "url": url, "contract": 8, "authtype": 4, "authvalue": key}
    found = await rows.list_("serviceendpoints", "serviceendpointid", f"name eq '{ENDPOINT_NAME}'")
    endpoint_id = await rows.save("serviceendpoints", found[0]["serviceendpointid"] if found else None, endpoint)
    steps = {message: await _save_step(rows, endpoint_id, message) for message in IMAGES}
    for message, step_id in steps.items():
        await _save_images(rows, step_id, message)
    return Registration(endpoint_id=endpoint_id, steps=steps)


async def _save_step(rows: _Rows, endpoint_id: str, message: str) -> str:
    about = f"sdkmessageid/name eq '{message}' and primaryobjecttypecode eq '{TABLE}'"
    filters = await rows.list_("sdkmessagefilters", "sdkmessagefilterid,_sdkmessageid_value", about)
    if not filters:
        raise RegistrationError(f"{TABLE} has no message {message}")
    step: dict[str, Json] = {
        "name": f"Booking Sync: {message} of {TABLE}",
        "stage": 40,
        "mode": 1,
        "rank": 1,
        "supporteddeployment": 0,
        "asyncautodelete": True,
        "eventhandler_serviceendpoint@odata.bind": f"/serviceendpoints({endpoint_id})",
        "sdkmessageid@odata.bind": f"/sdkmessages({filters[0]['_sdkmessageid_value']})",
        "sdkmessagefilterid@odata.bind": f"/sdkmessagefilters({filters[0]['sdkmessagefilterid']})",
    }
    if message == "Update":
        step["filteringattributes"] = FILTERING_ATTRIBUTES
    own = f"_eventhandler_value eq {endpoint_id} and name eq '{step['name']}'"
    found = await rows.list_("sdkmessageprocessingsteps", "sdkmessageprocessingstepid", own)
    return await rows.save("sdkmessageprocessingsteps", found[0]["sdkmessageprocessingstepid"] if found else None, step)


async def _save_images(rows: _Rows, step_id: str, message: str) -> None:
    own = f"_sdkmessageprocessingstepid_value eq {step_id}"
    columns = "sdkmessageprocessingstepimageid,entityalias"
    found = await rows.list_("sdkmessageprocessingstepimages", columns, own)
    known = {image["entityalias"]: image["sdkmessageprocessingstepimageid"] for image in found}
    for alias, kind in IMAGES[message].items():
        image = {
            "name": alias,
            "entityalias": alias,
            "imagetype": kind,
            "messagepropertyname": IMAGE_PROPERTY[message],
            "attributes": IMAGE_ATTRIBUTES,
            "sdkmessageprocessingstepid@odata.bind": f"/sdkmessageprocessingsteps({step_id})",
        }
        await rows.save("sdkmessageprocessingstepimages", known.get(alias), image)


class _Rows:
    def __init__(self, call: WebApi) -> None:
        self._call = call

    async def list_(self, entity_set: str, columns: str, about: str) -> list[dict[str, Json]]:
        """The rows that fit the filter `about`."""
        _, body, _ = await self._checked("GET", f"{entity_set}?$select={columns}&$filter={quote(about)}", None)
        rows: list[dict[str, Json]] = body["value"]
        return rows

    async def save(self, entity_set: str, row_id: str | None, body: dict[str, Json]) -> str:
        """Update the row `row_id`, or make a new one; returns its id."""
        if row_id is not None:
            await self._checked("PATCH", f"{entity_set}({row_id})", body)
            return row_id
        _, _, headers = await self._checked("POST", entity_set, body)
        address = {name.lower(): value for name, value in headers.items()}["odata-entityid"]
        return address.rpartition("(")[2].rstrip(")")

    async def _checked(self, method: str, path: str, body: Json) -> tuple[int, Json, Mapping[str, str]]:
        status, answer, headers = await self._call(method, path, body)
        if not 200 <= status < 300:  # noqa: PLR2004 - any 2xx
            raise RegistrationError(f"{method} {path}: {status} {answer}")
        return status, answer, headers
