"""Business logic as Field Service ships it, for environments that should have some: `dataverse.business_logic`.

Microsoft docs, "bookableresourcebooking table/entity reference" (`msdyn_CascadeCrewChanges`: changes of start, end and
status spread to the requirement's other bookings with the same times). That both bookings carry the flag, and what is
refused of a completed booking and with which words, is unverified.
"""

from __future__ import annotations

from collections.abc import Mapping

from sandbox.dataverse.operations import Operation
from sandbox.dataverse.pipeline import Pipeline, Plugin, PluginAborted
from sandbox.dataverse.schema import Reference
from sandbox.dataverse.state import Row
from sandbox.dataverse.tables import BOOKING
from sandbox.settings import Setting, Settings

TIMES = ("starttime", "endtime", "duration")
FOLLOWED = (*TIMES, "bookingstatus")
COMPLETED = 690970004


def crew_cascade(operation: Operation, pipeline: Pipeline) -> None:
    """The bookings of a crew move together: one level deeper, for the same caller, under the same tag."""
    before, after = operation.before, operation.after
    if operation.message != "Update" or before is None or after is None or before.table is not BOOKING:
        return
    changes = {name: after.get(name) for name in FOLLOWED if name in operation.submitted}
    if operation.caller.depth > 1 or not changes or not before.get("msdyn_cascadecrewchanges"):
        return
    for row in pipeline.state.rows(BOOKING.name):
        if row.id != before.id and _same_crew(row, before):
            pipeline.update(row, changes, operation.caller.nested())


def refuse_completed(operation: Operation, pipeline: Pipeline) -> None:
    """The times of a completed booking stay as they are."""
    before = operation.before
    if operation.message != "Update" or before is None or before.table is not BOOKING:
        return
    status = before.get("bookingstatus")
    row = pipeline.state.find(status) if isinstance(status, Reference) else None
    if row is not None and row.get("msdyn_fieldservicestatus") == COMPLETED and set(TIMES) & set(operation.submitted):
        raise PluginAborted("The times of a completed booking cannot be changed.")


SHIPPED: Mapping[str, Plugin] = {"crew_cascade": crew_cascade, "refuse_completed": refuse_completed}
LOGIC = "dataverse.business_logic"
SETTINGS = {
    LOGIC: Setting(
        default=[],
        accepts=lambda value: isinstance(value, list) and all(name in SHIPPED for name in value),
        values=f"a list of {', '.join(SHIPPED)}",
        meaning="the business logic that runs inside every write of a booking",
    )
}


def switched_on(settings: Settings) -> Plugin:
    """The business logic that the settings name at the time of a write."""

    def run(operation: Operation, pipeline: Pipeline) -> None:
        for name in settings[LOGIC]:
            SHIPPED[name](operation, pipeline)

    return run


def _same_crew(row: Row, other: Row) -> bool:
    same = ("msdyn_resourcerequirement", "starttime", "endtime")
    return (
        bool(row.get("msdyn_cascadecrewchanges"))
        and other.get("msdyn_resourcerequirement") is not None
        and all(row.get(name) == other.get(name) for name in same)
    )
