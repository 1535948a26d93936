"""The fault grammar: which call, how often, what happens to it.

A rule is one JSON object, posted to `/faults` of the control plane, alone or in a list:

    {"service": "graph", "method": "POST", "path": "/v1.0/users/*/events", "app": "", "after": 0, "times": 1,
     "do": "refuse", "status": 429, "retry_after": 2, "code": "ApplicationThrottled"}

`service`, `method`, `path` and `app` select calls (shell patterns, missing = any); `inner` true or false restricts the
rule to parts of a batch or to requests of their own. The first `after` matching calls pass, the next `times` are hit
(`null` = all of them). `parts` is for a batch that fails after the commit: only its first so many requests are carried
out, the others never reach the service. What `do` can be:

| `do` | effect |
| --- | --- |
| `refuse` | answer `status` (default 503) with `code`, `retry_after`; the service does nothing |
| `fail_after_commit` | the service does its work, then the caller gets `status` (default 503) with `code` |
| `drop` | the connection breaks before the service does anything |
| `drop_after_commit` | the service does its work, then the connection breaks |
| `delay` | the answer takes `seconds` longer |
| `html` | answer `status` (default 500) with an HTML page instead of the service's JSON |

Services may know more names of their own (`Faults.take` gives the rule to whoever asks for it by name).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

from sandbox.clock import Clock
from sandbox.http import Json, Request, Response
from sandbox.recorder import Call

DONE_TO_CALLS = frozenset({"refuse", "fail_after_commit", "drop", "drop_after_commit", "delay", "html"})
AFTER_COMMIT = frozenset({"fail_after_commit", "drop_after_commit"})
DROPPED = Response(status=0, dropped=True)
NOT_REACHED = "not_reached"
"""What the log calls the fault of a batch's request that was not carried out because the batch failed before."""


@dataclass(slots=True, kw_only=True)
class Rule:
    """One fault rule; the module's docstring gives the meaning of each field."""

    do: str
    service: str = "*"
    method: str = "*"
    path: str = "*"
    app: str = "*"
    inner: bool | None = None
    after: int = 0
    times: int | None = 1
    parts: int | None = None
    status: int | None = None
    code: str = "ServiceNotAvailable"
    message: str = "The sandbox was told to fail this call."
    retry_after: float | None = None
    seconds: float = 0.0
    hits: int = 0

    @classmethod
    def of_json(cls, value: Json, known: frozenset[str]) -> Rule:
        """Read a rule. Raises `ValueError` naming what is wrong; `known` are the effects that exist."""
        if not isinstance(value, Mapping):
            raise ValueError("a fault rule is a JSON object")
        if unknown := sorted(set(value) - {f.name for f in fields(cls)} | ({"hits"} & set(value))):
            raise ValueError(f"unknown fields in the fault rule: {', '.join(unknown)}")
        if value.get("do") not in sorted(known):
            raise ValueError(f"'do' must be one of: {', '.join(sorted(known))}")
        for name, item in value.items():
            kinds, words = _TYPES[name]
            if type(item) not in kinds:
                raise ValueError(f"'{name}' must be {words}")
        if value.get("parts") is not None and value["do"] not in AFTER_COMMIT:
            raise ValueError(f"'parts' goes with {' and '.join(sorted(AFTER_COMMIT))} only")
        return cls(**value)

    def selects(self, call: Call) -> bool:
        """Whether the rule is about `call`."""
        return (
            fnmatchcase(call.service, self.service)
            and fnmatchcase(call.method, self.method)
            and fnmatchcase(call.path, self.path)
            and fnmatchcase(call.app, self.app)
            and (self.inner is None or self.inner == call.inner)
        )


_TEXT = ((str,), "a string")
_COUNT = ((int,), "a whole number")
_SECONDS = ((int, float), "a number of seconds")
_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("do", "service", "method", "path", "app", "code", "message"), _TEXT),
    "inner": ((bool, type(None)), "true, false or null"),
    "after": _COUNT,
    "times": ((int, type(None)), "a whole number, or null for all calls"),
    "parts": ((int, type(None)), "a whole number, or null for all of them"),
    "status": ((int, type(None)), "an HTTP status"),
    "retry_after": ((int, float, type(None)), "a number of seconds"),
    "seconds": _SECONDS,
}


class Faults:
    """The rules in force and the number of calls that each has seen."""

    def __init__(self, clock: Clock) -> None:
        """Start without any rule."""
        self._clock = clock
        self._known = set(DONE_TO_CALLS)
        self._rules: list[Rule] = []
        self._seen: dict[int, int] = {}
        self._parts_left: dict[int, int] = {}

    def declare(self, *names: str) -> None:
        """A service makes effects of its own known."""
        self._known.update(names)

    def add(self, value: Json) -> list[Rule]:
        """Put one rule or a list of rules in force. Raises `ValueError` and adds none when any is wrong."""
        rules = [Rule.of_json(item, frozenset(self._known)) for item in (value if isinstance(value, list) else [value])]
        self._rules += rules
        return rules

    def remove(self, rule: Rule) -> None:
        """Take one rule out of force; others that say the same stay."""
        self._rules = [one for one in self._rules if one is not rule]
        self._seen.pop(id(rule), None)

    def clear(self) -> None:
        """Take all rules out of force."""
        self._rules.clear()
        self._seen.clear()

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules in force."""
        return tuple(self._rules)

    def take(self, call: Call, *names: str) -> Rule | None:
        """The first rule with one of these effects that hits `call` now; counts the hit."""
        for rule in self._rules:
            if rule.do not in names or not rule.selects(call):
                continue
            seen = self._seen[id(rule)] = self._seen.get(id(rule), 0) + 1
            if seen > rule.after and (rule.times is None or seen <= rule.after + rule.times):
                rule.hits += 1
                return rule
        return None

    def _is_reached(self, call: Call) -> bool:
        """Whether a batch that is going to fail gets as far as its part `call`."""
        if call.batch not in self._parts_left:
            return True
        self._parts_left[call.batch] -= 1
        return self._parts_left[call.batch] >= 0

    async def around(
        self,
        call: Call,
        request: Request,
        serve: Callable[[Request], Awaitable[Response]],
        error: Callable[[int, str, str], Response],
    ) -> Response:
        """Serve `request` with the faults in force; `error` words a refusal in the service's own shape."""
        if not self._is_reached(call):
            call.fault = NOT_REACHED
            return DROPPED
        rule = self.take(call, *DONE_TO_CALLS)
        if rule is None:
            return await serve(request)
        call.fault = rule.do
        if rule.do == "delay":
            await self._clock.sleep(rule.seconds)
            return await serve(request)
        if rule.do == "drop":
            return DROPPED
        if rule.do in AFTER_COMMIT:
            if rule.parts is not None:
                self._parts_left[call.number] = rule.parts
            await serve(request)
            self._parts_left.pop(call.number, None)
        if rule.do == "drop_after_commit":
            return DROPPED
        if rule.do == "html":
            body = b"<html><body><h1>Service unavailable</h1></body></html>"
            return Response(status=rule.status or 500, headers={"Content-Type": "text/html"}, body=body)
        answer = error(rule.status or 503, rule.code, rule.message)
        if rule.retry_after is not None:
            answer = Response(
                status=answer.status,
                headers={**answer.headers, "Retry-After": f"{rule.retry_after:g}"},
                body=answer.body,
            )
        return answer
