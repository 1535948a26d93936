"""Whether an answer of Graph is one by Microsoft's own schema."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from tests.schema.metadata import Kind, Metadata, Target
from tests.schema.values import Checks, Problems


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one answer: which operation, which property, why."""

    operation: str
    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.path or 'the body'} {self.problem}"


class Validator:
    """Checks answers."""

    def __init__(self, metadata: Metadata) -> None:
        """Judge by `metadata`."""
        self._find = cache(metadata.find)
        self._checks = Checks(metadata)

    def check(
        self, method: str, segments: Iterable[str], select: Iterable[str], status: int, body: bytes
    ) -> list[Violation]:
        """What is wrong with an answer to the operation at `segments`, the decoded path below the version root."""
        path = tuple(segments)
        problems: Problems = []
        if status >= HTTPStatus.BAD_REQUEST:
            _error(_parsed(body, problems), problems)
        elif path == ("$batch",):
            _batch(_parsed(body, problems), problems)
        elif (target := self._find(path)) is None:
            problems.append(("", "answers an operation that Microsoft's schema does not have"))
        else:
            self._success(method, target, status, body, frozenset(select), problems)
        shown = f"{method} /{'/'.join(path)} {status}"
        return [Violation(shown, where, problem) for where, problem in problems]

    def _success(
        self, method: str, target: Target, status: int, body: bytes, select: frozenset[str], problems: Problems
    ) -> None:
        kind = target.kind
        if not body:
            if method == "GET" or (kind is not None and status not in (HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED)):
                problems.append(("", "is missing"))
            return
        if kind is None or method == "DELETE" or status in (HTTPStatus.NO_CONTENT, HTTPStatus.ACCEPTED):
            problems.append(("", "must be empty"))
            return
        value = _parsed(body, problems)
        if not isinstance(value, dict):
            problems.append(("", "is no object"))
            return
        rest = dict(value)
        if not isinstance(rest.pop("@odata.context", None), str):
            problems.append(("@odata.context", "is missing or no text"))
        is_delta = target.operation == "delta"
        if kind.many and (method != "POST" or target.operation):
            self._page(kind, rest, problems, whole=not select and not is_delta, is_delta=is_delta)
        elif kind.name in self._checks.metadata.types:
            self._checks[Kind(kind.name, nullable=False), not select](rest, "", problems)
        else:
            _unknown(rest, {"value"}, "", problems)
            self._checks[kind, True](rest.get("value"), "value", problems)

    def _page(self, kind: Kind, page: dict[str, Any], problems: Problems, *, whole: bool, is_delta: bool) -> None:
        links = {"@odata.nextLink", *(("@odata.deltaLink",) if is_delta else ())}
        _unknown(page, {"value", "@odata.count", *links}, "", problems)
        if is_delta and len(links & set(page)) != 1:
            problems.append(("", "must have one of @odata.nextLink and @odata.deltaLink"))
        for name in links & set(page):
            _text(page[name], name, problems)
        items = page.get("value")
        if not isinstance(items, list):
            problems.append(("value", "is missing or no collection"))
            return
        check = self._checks[Kind(kind.name, nullable=False), whole]
        for number, item in enumerate(items):
            if is_delta and isinstance(item, dict) and "@removed" in item:
                _removed(item, f"value[{number}]", problems)
            else:
                check(item, f"value[{number}]", problems)


def _parsed(body: bytes, problems: Problems) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        problems.append(("", "is no JSON"))
        return None


def _unknown(value: Mapping[str, Any], known: set[str], path: str, problems: Problems) -> None:
    for name in value.keys() - known:
        problems.append((f"{path}{name}", "is unknown here"))


def _text(value: Any, path: str, problems: Problems) -> None:
    if not isinstance(value, str):
        problems.append((path, "is no text"))


def _removed(item: dict[str, Any], path: str, problems: Problems) -> None:
    """Graph docs, "Use delta query to track changes in Microsoft Graph data"."""
    _unknown(item, {"id", "@removed", "@odata.type", "@odata.id"}, f"{path}.", problems)
    _text(item.get("id"), f"{path}.id", problems)
    removed = item["@removed"]
    if not isinstance(removed, dict) or removed.get("reason") not in ("changed", "deleted") or len(removed) > 1:
        problems.append((f"{path}.@removed", "must be a reason, 'changed' or 'deleted'"))


def _error(value: Any, problems: Problems) -> None:
    """Microsoft Graph docs, "Microsoft Graph error responses and resource types"; it is not in the metadata."""
    error = value.get("error") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(error, dict):
        problems.append(("error", "is missing, or not alone"))
        return
    for name in ("code", "message"):
        _text(error.get(name), f"error.{name}", problems)
    known = {"code", "message", "target", "details", "innerError"}
    _unknown({name: 0 for name in error if "@" not in name}, known, "error.", problems)
    if not isinstance(error.get("innerError", {}), dict):
        problems.append(("error.innerError", "is no object"))


def _batch(value: Any, problems: Problems) -> None:
    """Microsoft Graph docs, "Combine multiple HTTP requests using JSON batching"; bodies are checked one by one."""
    responses = value.get("responses") if isinstance(value, dict) else None
    if not isinstance(responses, list):
        problems.append(("responses", "is missing or no collection"))
        return
    _unknown(value, {"responses", "@odata.nextLink"}, "", problems)
    for number, part in enumerate(responses):
        path = f"responses[{number}]."
        if not isinstance(part, dict):
            problems.append((path[:-1], "is no object"))
            continue
        _unknown(part, {"id", "status", "headers", "body"}, path, problems)
        _text(part.get("id"), f"{path}id", problems)
        if type(part.get("status")) is not int:
            problems.append((f"{path}status", "is no number"))
        headers = part.get("headers", {})
        if not isinstance(headers, dict) or not all(isinstance(text, str) for text in headers.values()):
            problems.append((f"{path}headers", "are no texts by name"))
