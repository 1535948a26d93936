"""What a planner does in Dynamics, in a test's words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.simulation.world import START, Scene

TOMORROW = START + timedelta(days=1)


class Planner:
    """Somebody at the schedule board."""

    def __init__(self, world: Scene) -> None:
        """Plan in `world`."""
        self._world = world

    async def book(
        self,
        person: str,
        *,
        name: str = "Boiler service",
        start: datetime = TOMORROW,
        minutes: int = 90,
        status: str = "Committed",
        work_order: str | None = None,
    ) -> str:
        """Save a new booking; gives its id."""
        contoso = self._world.contoso
        body: dict[str, Any] = {
            "name": name,
            **times(start, minutes),
            "bookingtype": 1,
            "Resource@odata.bind": f"/bookableresources({contoso.resource(person)})",
            "BookingStatus@odata.bind": f"/bookingstatuses({contoso.statuses[status]})",
        }
        if work_order is not None:
            body["msdyn_workorder@odata.bind"] = f"/msdyn_workorders({contoso.work_orders[work_order]})"
        return await self.create(body)

    async def create(self, body: dict[str, Any]) -> str:
        """Save a new booking of these columns; gives its id."""
        status, answer, headers = await self._world.call_dataverse("POST", "bookableresourcebookings", body)
        assert status == 204, answer
        entity = {name.lower(): value for name, value in headers.items()}["odata-entityid"]
        return entity.rpartition("(")[2].rstrip(")")

    async def change(self, booking: str, **columns: Any) -> None:
        """Save columns of a booking."""
        path = f"bookableresourcebookings({booking})"
        status, body, _ = await self._world.call_dataverse("PATCH", path, columns, {"If-Match": "*"})
        assert status == 204, body

    async def move(self, booking: str, start: datetime, minutes: int = 90) -> None:
        """Drag a booking on the board."""
        await self.change(booking, **times(start, minutes))

    async def set_status(self, booking: str, status: str) -> None:
        """Choose another booking status."""
        bind = f"/bookingstatuses({self._world.contoso.statuses[status]})"
        await self.change(booking, **{"BookingStatus@odata.bind": bind})

    async def assign(self, booking: str, person: str) -> None:
        """Give a booking to somebody else."""
        await self.assign_resource(booking, self._world.contoso.resource(person))

    async def assign_resource(self, booking: str, resource: str) -> None:
        """Give a booking to a resource by its id."""
        await self.change(booking, **{"Resource@odata.bind": f"/bookableresources({resource})"})

    async def delete(self, booking: str) -> None:
        """Delete a booking for good."""
        status, body, _ = await self._world.call_dataverse("DELETE", f"bookableresourcebookings({booking})")
        assert status == 204, body


def times(start: datetime, minutes: int) -> dict[str, Any]:
    """The three columns that belong together."""
    end = start + timedelta(minutes=minutes)
    return {
        "starttime": f"{start:%Y-%m-%dT%H:%M:%SZ}",
        "endtime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
        "duration": minutes,
    }
