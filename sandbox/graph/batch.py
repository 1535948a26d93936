"""JSON batching: up to twenty calls in one envelope (Microsoft Graph docs, "Combine multiple HTTP requests").

Every part is a call of its own for the log, the faults and the limits. At most four run at a time, since Graph sends
no more than that to Outlook at once; with `dependsOn` they run one after another.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

from sandbox.graph.errors import bad_request, not_modelled
from sandbox.graph.operations import VERSION
from sandbox.graph.writing import read_object
from sandbox.http import Json, Request, Response

MOST_PARTS = 20
AT_ONCE = 4
METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE"})
_SLIP_OF_THE_SDK: tuple[str, Json] = ("depends_on", [])
"""Python's msgraph-core misspells `dependsOn`. Empty it changes nothing; otherwise its order would be lost silently."""

type Serve = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Part:
    """One call of a batch."""

    id: str
    request: Request
    depends_on: tuple[str, ...]


async def serve_batch(envelope: Request, serve: Serve, chance: random.Random) -> dict[str, Json]:
    """Serve all parts of `envelope`; their answers come in any order. Raises `GraphError` when it is malformed."""
    parts = _read(envelope)
    if any(part.depends_on for part in parts):
        answers = await _one_after_another(parts, serve)
    else:
        gate = asyncio.Semaphore(AT_ONCE)

        async def gated(part: Part) -> Json:
            async with gate:
                return _written(part, await serve(part.request))

        answers = list(await asyncio.gather(*map(gated, parts)))
    chance.shuffle(answers)
    return {"responses": answers}


async def _one_after_another(parts: list[Part], serve: Serve) -> list[Json]:
    answers: list[Json] = []
    failed: set[str] = set()
    for part in _in_order(parts):
        if failed.isdisjoint(part.depends_on):
            answer = _written(part, await serve(part.request))
        else:
            error = {"code": "FailedDependency", "message": "A request that this one depends on has failed."}
            answer = {"id": part.id, "status": int(HTTPStatus.FAILED_DEPENDENCY), "body": {"error": error}}
        if answer["status"] >= HTTPStatus.BAD_REQUEST:
            failed.add(part.id)
        answers.append(answer)
    return answers


def _in_order(parts: list[Part]) -> list[Part]:
    """The parts, each after those that it depends on. Raises `GraphError` for a circle."""
    ordered: list[Part] = []
    done: set[str] = set()
    while len(ordered) < len(parts):
        ready = [part for part in parts if part.id not in done and done.issuperset(part.depends_on)]
        if not ready:
            raise bad_request("The dependsOn properties of the batch requests form a circle.")
        ordered += ready
        done.update(part.id for part in ready)
    return ordered


def _read(envelope: Request) -> list[Part]:
    body = read_object(envelope)
    items = body.get("requests")
    if unknown := sorted(set(body) - {"requests"}):
        raise not_modelled(f"the batch property '{unknown[0]}'")
    if not isinstance(items, list) or not items:
        raise bad_request("The batch request must have a non-empty array 'requests'.")
    if len(items) > MOST_PARTS:
        raise bad_request(f"Number of batch request steps exceeds the maximum value of {MOST_PARTS}.")
    parts = [_part(item, envelope) for item in items]
    ids = [part.id for part in parts]
    if len(set(ids)) < len(ids):
        raise bad_request("The batch request has two requests with the same id.")
    _check_dependencies(parts)
    return parts


def _part(item: Json, envelope: Request) -> Part:
    if not isinstance(item, dict):
        raise bad_request("A request of a batch must be a JSON object.")
    known = {"id", "method", "url", "headers", "body", "dependsOn"}
    if unknown := sorted(name for name in set(item) - known if (name, item[name]) != _SLIP_OF_THE_SDK):
        raise not_modelled(f"the property '{unknown[0]}' of a request in a batch")
    part_id, method, url = item.get("id"), item.get("method"), item.get("url")
    if not isinstance(part_id, str) or not part_id:
        raise bad_request("Every request of a batch needs an id, which is a string.")
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise bad_request(f"Request '{part_id}' of the batch has an invalid method.")
    # an absolute URL below the own version root is what the Python SDK sends
    url = "/" + url.removeprefix(envelope.base + VERSION).removeprefix("/") if isinstance(url, str) else ""
    if url in ("", "/") or "://" in url.partition("?")[0]:
        raise bad_request(f"Request '{part_id}' of the batch needs a url relative to the version root.")
    if url.lower().startswith("/$batch"):
        raise bad_request("A batch request cannot contain a batch request.")
    headers = _headers(part_id, item.get("headers") or {})
    content = b"" if item.get("body") is None else json.dumps(item["body"]).encode()
    if content and "content-type" not in headers:
        raise bad_request(f"Request '{part_id}' of the batch has a body but no Content-Type header.")
    depends_on = item.get("dependsOn") or []
    if not isinstance(depends_on, list) or not all(isinstance(other, str) for other in depends_on):
        raise bad_request(f"The property 'dependsOn' of request '{part_id}' must be an array of ids.")
    inherited = {"authorization": envelope.header("authorization")}
    request = Request.of(method, VERSION + url, headers={**headers, **inherited}, body=content, base=envelope.base)
    return Part(part_id, request, tuple(depends_on))


def _headers(part_id: str, headers: Json) -> dict[str, str]:
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise bad_request(f"The headers of request '{part_id}' must be an object of strings.")
    named = {name.lower(): value for name, value in headers.items()}
    if "authorization" in named:
        raise not_modelled("an Authorization header of its own for a request in a batch")
    return named


def _check_dependencies(parts: list[Part]) -> None:
    """Only chains and stars exist: each on its predecessor, or all on the same one. Raises `GraphError`."""
    ids = {part.id for part in parts}
    for part in parts:
        if unknown := [other for other in part.depends_on if other not in ids]:
            raise bad_request(f"Request '{part.id}' depends on '{unknown[0]}', which is not in the batch.")
    targets = [part.depends_on for part in parts if part.depends_on]
    one_root = len(targets) == len(parts) - 1 and all(len(target) == 1 for target in targets)
    if targets and not (one_root and len(set(targets)) in (1, len(targets))):
        raise bad_request("Requests in a batch may depend in series on the one before, or all on the same one.")


def _written(part: Part, answer: Response) -> Json:
    if answer.dropped:
        error = {"code": "GatewayTimeout", "message": "The service did not answer in time."}
        return {"id": part.id, "status": int(HTTPStatus.GATEWAY_TIMEOUT), "body": {"error": error}}
    written: dict[str, Json] = {"id": part.id, "status": int(answer.status), "headers": dict(answer.headers)}
    if not answer.body:
        written["body"] = None
    elif "json" in answer.headers.get("Content-Type", ""):
        written["body"] = answer.json()
    else:
        written["body"] = answer.body.decode(errors="replace")
    return written
