"""Webhooks: a committed operation becomes system jobs, and each job one post.

Facts: Microsoft docs, "Use Webhooks" (headers, 60 s, one more attempt after 502, 503 and 504, 256 KB), "Register a
WebHook" (authentication), "Asynchronous service" (job states, order is not guaranteed). That a time-out or a lost
connection is final is unverified.

Their service is called `webhook`: `sandbox.outbox` has its faults (the job of a lost post succeeds), the settings
`webhook.*` say how posts travel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl, urlsplit

from sandbox.cloud import Cloud
from sandbox.dataverse.context import Occasion, execution_context, trimmed
from sandbox.dataverse.operations import Operation
from sandbox.dataverse.registration import (
    ENDPOINT,
    FILTER,
    FILTERED,
    HTTP_HEADER,
    IMAGE,
    JOB,
    MESSAGE,
    STEP,
    WEBHOOK_KEY,
    auth_pairs,
)
from sandbox.dataverse.schema import Reference, Value
from sandbox.dataverse.state import Row, State
from sandbox.dataverse.tables import ORGANIZATION
from sandbox.delivery import Delivery
from sandbox.faults import Rule
from sandbox.http import Request
from sandbox.outbox import Outbox, Parcel

SERVICE = "webhook"
ANSWER_WITHIN = 60.0
LARGEST_PAYLOAD = 256 * 1024
WORTH_ANOTHER_ATTEMPT = frozenset({502, 503, 504})
WAITING: Mapping[str, Value] = {"statecode": 0, "statuscode": 0}
IN_PROGRESS: Mapping[str, Value] = {"statecode": 2, "statuscode": 20}
SUCCEEDED: Mapping[str, Value] = {"statecode": 3, "statuscode": 30}
FAILED: Mapping[str, Value] = {"statecode": 3, "statuscode": 31}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One job's request."""

    job: Reference
    parcel: Parcel
    auto_delete: bool


class Webhooks(Outbox[Post]):
    """The asynchronous service, as far as webhooks go."""

    def __init__(self, cloud: Cloud, state: State, organization_id: str) -> None:
        """Read the registered steps from `state`."""
        waits = "a system job waits before its post goes"
        super().__init__(cloud, SERVICE, Delivery(cloud.settings, SERVICE, waits=waits, in_flight=1))
        self._state = state
        self._organization_id = organization_id

    def tell(self, operation: Operation) -> None:
        """Make a job for every step that `operation` fires."""
        for post in [self._post(operation, step) for step in self._steps(operation)]:
            self.put(post, operation.at + self.delivery.delay if self.delivery.delay else None)

    def _steps(self, operation: Operation) -> list[Row]:
        return [step for step in self._state.rows(STEP.name) if self._fires(step, operation)]

    def _fires(self, step: Row, operation: Operation) -> bool:
        """Filtering attributes count when they were submitted, whether or not their value is another one."""
        about = self._linked(step, "sdkmessagefilterid", FILTER.name)
        wanted = {name.strip() for name in str(step.get("filteringattributes") or "").split(",") if name.strip()}
        return (
            step.get("statecode") == 0
            and self._linked(step, "sdkmessageid", MESSAGE.name).get("name") == operation.message
            and about.get("primaryobjecttypecode") == operation.table.name
            and (operation.message not in FILTERED or not wanted or bool(wanted & set(operation.submitted)))
        )

    def _post(self, operation: Operation, step: Row) -> Post:
        job_id = self._cloud.new_id()
        values: dict[str, Value] = {
            **WAITING,
            "name": step.name,
            "operationtype": 1,
            "messagename": operation.message,
            "primaryentitytype": operation.table.name,
            "owningextensionid": step.reference,
            "correlationid": operation.caller.correlation_id,
            "requestid": operation.caller.request_id,
            "depth": operation.caller.depth,
            "retrycount": 0,
            "ownerid": operation.caller.user.reference,
            "createdon": operation.at,
        }
        self._state.put(JOB, job_id, values)
        images = [one for one in self._state.rows(IMAGE.name) if one.get(f"{STEP.name}id") == step.reference]
        organization = self._state.must_find(Reference(ORGANIZATION.name, self._organization_id))
        occasion = Occasion(
            operation=operation,
            step=step,
            images=tuple(images),
            job_id=job_id,
            organization_id=self._organization_id,
            organization_name=organization.name or "",
        )
        return Post(
            job=Reference(JOB.name, job_id),
            parcel=Parcel(
                request=self._request(occasion, self._linked(step, "eventhandler", ENDPOINT.name)),
                seconds=ANSWER_WITHIN,
                tags={"message": operation.message, "table": operation.table.name, "id": operation.id},
            ),
            auto_delete=bool(step.get("asyncautodelete")),
        )

    def _request(self, occasion: Occasion, endpoint: Row) -> Request:
        operation = occasion.operation
        body = execution_context(occasion, self._state)
        payload = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        headers = {
            "content-type": "application/json; charset=utf-8",
            "x-ms-dynamics-organization": operation.caller.host,
            "x-ms-dynamics-entity-name": operation.table.name,
            "x-ms-dynamics-request-name": operation.message,
            "x-ms-correlation-request-id": operation.caller.correlation_id,
        }
        if len(payload) > LARGEST_PAYLOAD:
            payload = json.dumps(trimmed(body), ensure_ascii=False, separators=(",", ":")).encode()
            headers["x-ms-dynamics-msg-size-exceeded"] = "true"
        url = urlsplit(str(endpoint.get("url")))
        more_headers, more_query = _authentication(endpoint)
        return Request(
            method="POST",
            path=url.path or "/",
            query=(*parse_qsl(url.query, keep_blank_values=True), *more_query),
            headers={**headers, **more_headers},
            body=payload,
            base=f"{url.scheme}://{url.netloc}",
        )

    def _linked(self, row: Row, column: str, table: str) -> Row:
        reference = row.get(column)
        assert isinstance(reference, Reference)  # noqa: S101 - the rules of the step table require it
        assert reference.table == table  # noqa: S101
        return self._state.must_find(reference)

    def address(self, post: Post) -> tuple[str, str]:
        """The path of the endpoint; no application is behind a job."""
        return post.parcel.request.path, ""

    async def deliver(self, post: Post, rule: Rule | None) -> None:
        """Carry out one system job."""
        self._note(post, {**IN_PROGRESS, "startedon": self._now()})
        status = await self.attempt(post, post.parcel, rule)
        if status in WORTH_ANOTHER_ATTEMPT:
            self._note(post, {"retrycount": 1})
            status = await self.attempt(post, post.parcel, None)
        self._finish(post, status)

    def _finish(self, post: Post, status: int) -> None:
        """Note how the job ended; a successful one may be deleted at once."""
        if 200 <= status < 300:  # noqa: PLR2004 - any 2xx
            self._note(post, {**SUCCEEDED, "completedon": self._now()})
            if post.auto_delete and (job := self._state.find(post.job)) is not None:
                self._state.remove(job)
            return
        what = f"answered {status}" if status else "did not answer"
        failure: dict[str, Value] = {
            **FAILED,
            "completedon": self._now(),
            "errorcode": -2147220891,
            "friendlymessage": f"The webhook call failed because the receiver {what}.",
            "message": f"The webhook call failed because the receiver {what}.",
        }
        self._note(post, failure)

    def _note(self, post: Post, values: Mapping[str, Value]) -> None:
        job = self._state.find(post.job)
        if job is not None:  # somebody may have deleted it
            self._state.put(JOB, job.id, {**job.values, **values})

    def _now(self) -> datetime:
        return self._cloud.clock.now().replace(microsecond=0)


def _authentication(endpoint: Row) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The headers and query parameters that the endpoint's `authtype` asks for."""
    value = str(endpoint.get("authvalue") or "")
    if not value:
        return {}, []
    if endpoint.get("authtype") == WEBHOOK_KEY:
        return {}, [("code", value)]
    pairs = auth_pairs(value)
    if endpoint.get("authtype") == HTTP_HEADER:
        return {name.lower(): text for name, text in pairs}, []
    return {}, pairs
