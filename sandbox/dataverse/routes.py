"""The Web API of one environment: who may call, and what answers which address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from sandbox.cloud import Cloud
from sandbox.dataverse import errors
from sandbox.dataverse.batch import Batch
from sandbox.dataverse.bulk import Bulk, rows_in
from sandbox.dataverse.cascades import SETTINGS as BUSINESS_LOGIC
from sandbox.dataverse.cascades import switched_on
from sandbox.dataverse.changes import Changes, Tracking, wants_changes
from sandbox.dataverse.keys import Keys
from sandbox.dataverse.metadata import Metadata
from sandbox.dataverse.operations import Caller
from sandbox.dataverse.pipeline import SYSTEM_USER, Pipeline, Plugin
from sandbox.dataverse.privileges import IMPERSONATE, NO_ROLE, Role
from sandbox.dataverse.protection import Protection
from sandbox.dataverse.reads import Reads
from sandbox.dataverse.registration import SCHEMA, messages
from sandbox.dataverse.schema import Reference, Value
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.tables import BUSINESS_UNIT, ORGANIZATION, USER
from sandbox.dataverse.values import parse_guid
from sandbox.dataverse.visits import Place, Preferences, Visit, check_headers, find_place, read_options, root_of
from sandbox.dataverse.webhooks import Webhooks
from sandbox.dataverse.writes import Writes
from sandbox.directory import Directory, known_id
from sandbox.entra.tokens import TokenRejected, Tokens
from sandbox.http import Request, Response
from sandbox.limits import ServiceTime
from sandbox.recorder import Call

ORGANIZATION_ID = known_id("organization")
BUSINESS_UNIT_ID = known_id("businessunit")
REALISTIC = {"read": 0.05, "write": 0.2}
"""Seconds of one operation, Field Service's business logic included: an assumption, Microsoft publishes no figures."""


class Dataverse:
    """One environment, an implementation of `sandbox.cloud.Service`.

    `plugins` is the business logic on its tables, `webhooks` its way to tell the outside, `load` puts rows there,
    `roles` are the security roles of users by their ids.
    """

    name = "dataverse"

    def __init__(self, cloud: Cloud, directory: Directory, tokens: Tokens) -> None:
        """Make an environment without users: nobody can call it until rows are loaded."""
        self.cloud = cloud
        self._directory = directory
        self._tokens = tokens
        self.state = State(SCHEMA)
        self.webhooks = Webhooks(cloud, self.state, ORGANIZATION_ID)
        self.keys = Keys(cloud, self.state)
        self.pipeline = Pipeline(cloud, self.state, self.webhooks.tell)
        cloud.settings.declare(BUSINESS_LOGIC)
        self._reads = Reads(self.state)
        self._writes = Writes(self.state, self.pipeline)
        self._bulk = Bulk(self.state, self.pipeline, self.keys)
        self._tracking = Tracking(cloud, SCHEMA)
        self._changes = Changes(cloud, self.state, self._tracking, ORGANIZATION_ID)
        self._metadata = Metadata(SCHEMA, self._tracking, self.keys)
        self._batch = Batch(self.state, cloud.new_id)
        self._protection = Protection(cloud)
        self.roles: dict[str, Role] = {}
        self._time = ServiceTime(cloud, self.name, realistic=REALISTIC)
        self.reset()

    @property
    def plugins(self) -> list[Plugin]:
        """Business logic that runs inside every write."""
        return self.pipeline.plugins

    def load(self, table: str, row_id: str, values: Mapping[str, Value]) -> Row:
        """Put a row there as if it had always been there. Raises `ValueError` for columns that do not exist."""
        return self.pipeline.load(SCHEMA.tables[table], row_id, values)

    async def close(self) -> None:
        """Stop telling the outside."""
        await self.webhooks.close()

    def reset(self) -> None:
        """Forget all rows, posts, plug-ins and counts; what every environment is born with comes back."""
        self._protection.reset()
        self.roles.clear()
        self.webhooks.reset()
        self.plugins[:] = [switched_on(self.cloud.settings)]
        self._tracking.reset()
        self.keys.clear()
        self.state.clear()
        self.load(ORGANIZATION.name, ORGANIZATION_ID, {"name": f"unq{ORGANIZATION_ID.replace('-', '')[:28]}"})
        unit: dict[str, Value] = {"name": "contoso", "organizationid": ORGANIZATION_ID}
        self.load(BUSINESS_UNIT.name, BUSINESS_UNIT_ID, unit)
        system: dict[str, Value] = {
            "fullname": "SYSTEM",
            "domainname": "",
            "accessmode": 3,
            "businessunitid": Reference(BUSINESS_UNIT.name, BUSINESS_UNIT_ID),
        }
        self.load(USER.name, SYSTEM_USER, system)
        for table, row_id, values in messages():
            self.load(table, row_id, values)

    def error(self, status: int, code: str, message: str) -> Response:
        """An error in Dataverse's shape."""
        return errors.answer(status, code, message)

    def is_envelope(self, request: Request) -> bool:
        """Whether the call is a batch."""
        return request.path.rstrip("/").endswith("/$batch")

    async def handle(self, request: Request, call: Call) -> Response:
        """Answer one call. What protects the service is about whole batches, not about their parts."""
        caller = self._caller(request)
        visiting = partial(self._visit, request, call, caller)
        if call.inner:
            answer = await visiting()
        else:
            answer = await self._protection.around(call, request, caller.initiating.id, visiting)
        return replace(answer, headers={"x-ms-service-request-id": caller.request_id, **answer.headers})

    async def _visit(self, request: Request, call: Call, caller: Caller) -> Response:
        check_headers(request)
        prefix = root_of(request.path)
        options = read_options(request)
        visit = Visit(
            request=request,
            root=f"{request.base}{prefix}",
            preferences=Preferences.of(request),
            caller=replace(caller, tag=options.pop("tag", None)),
            options=options,
        )
        segments = request.without_prefix(prefix).segments
        if segments == ("$batch",) and request.method == "POST":
            if request.query:
                raise errors.not_modelled("query options of a batch: they go with its parts")
            return await self._batch.answer(visit, partial(self.cloud.serve, self.name, within=call))
        async with self._time.spent(self._time.of(request.method) * rows_in(request)):
            return self._answer(visit, segments, call)

    def _answer(self, visit: Visit, segments: tuple[str, ...], call: Call) -> Response:
        method = visit.request.method
        if visit.preferences.continue_on_error:
            raise errors.not_modelled("the preference 'odata.continue-on-error' outside of a batch")
        if visit.preferences.track_changes and not (method == "GET" and segments and segments[0] in SCHEMA.sets):
            raise errors.not_modelled("the preference 'odata.track-changes' on anything but reading a table")
        if len(segments) == 1 and segments[0] in ("WhoAmI", "WhoAmI()") and method == "GET":
            return self._who_am_i(visit)
        if not segments:
            raise errors.not_modelled("the service document")
        if self._metadata.knows(segments):
            return self._metadata.answer(visit, segments)
        place = self._place(visit, segments)
        call.tags["table"] = place.table.name
        if method == "GET" and wants_changes(visit):
            call.tags["delta"] = "changes"
            return self._changes.answer(visit, place, call)
        if method == "GET":
            return self._reads.answer(visit, place)
        if method == "POST" and self._bulk.knows(place):
            return self._bulk.answer(visit, place)
        return self._writes.answer(visit, place)

    def _place(self, visit: Visit, segments: tuple[str, ...]) -> Place:
        """Where the path points; a row that an alternate key names has to exist, unless it is about to be made."""
        place = find_place(SCHEMA, segments)
        if not place.key:
            return place
        place = self.keys.resolve(place)
        makes_it = visit.request.method == "PATCH" and not place.rest and not visit.condition("if-match")
        if place.row_id is None and not makes_it:
            raise errors.no_such_key(place.table.name)
        return place

    def _caller(self, request: Request) -> Caller:
        """The application user behind the token, or whom it impersonates. Refuses others with 401 and 403."""
        try:
            claims = self._tokens.check(request, {request.base})
        except TokenRejected as rejected:
            raise errors.unauthorized(request.base, self._directory.tenant_id) from rejected
        initiating = self._user("applicationid", claims.client_id)
        if initiating is None:
            raise errors.refuse(403, errors.NOT_A_MEMBER, "The user is not a member of the organization.")
        user = self._impersonated(request) or initiating
        for one in (initiating, user):
            if one.get("isdisabled"):
                raise errors.refuse(403, errors.DISABLED_USER, "The specified user is either disabled or not found.")
        roles = tuple(self.roles.get(one.id, NO_ROLE) for one in (user, initiating))
        if user is not initiating and not roles[1].allows(IMPERSONATE):
            raise errors.privilege_missing(initiating.id, initiating.get("accessmode"), IMPERSONATE, USER.name)
        return Caller(
            user=user,
            initiating=initiating,
            roles=roles,
            agent=request.header("user-agent"),
            host=urlsplit(request.base).netloc,
            correlation_id=parse_guid(request.header("x-ms-correlation-request-id")) or self.cloud.new_id(),
            request_id=self.cloud.new_id(),
        )

    def _impersonated(self, request: Request) -> Row | None:
        """The user that the call wants to act for."""
        for header, column in (("callerobjectid", "azureactivedirectoryobjectid"), ("mscrmcallerid", USER.key)):
            if wanted := request.header(header):
                user = self._user(column, wanted.lower())
                if user is None:
                    raise errors.refuse(403, errors.DISABLED_USER, f"No user has the {column} '{wanted}'.")
                return user
        return None

    def _user(self, column: str, value: str) -> Row | None:
        return next((user for user in self.state.rows(USER.name) if user.get(column) == value), None)

    def _who_am_i(self, visit: Visit) -> Response:
        visit.query(self.state, USER)
        unit = visit.caller.user.get("businessunitid")
        body = {
            "@odata.context": visit.context("Microsoft.Dynamics.CRM.WhoAmIResponse"),
            "BusinessUnitId": unit.id if isinstance(unit, Reference) else None,
            "UserId": visit.caller.user.id,
            "OrganizationId": ORGANIZATION_ID,
        }
        return Response.of_json(200, body, errors.HEADERS)
