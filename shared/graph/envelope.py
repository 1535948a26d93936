"""Graph's envelopes: `$batch` in JSON. Pure; implements `shared.dispatch.Form`.

Microsoft Graph docs, "Combine multiple HTTP requests using JSON batching": at most twenty requests, addresses relative
to the version, a body needs its Content-Type; the answers come in any order and name their requests' ids.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus

from shared.http import HttpRequest, HttpResponse, Json

VERSION = "/v1.0"
_OF_THE_ENVELOPE = frozenset({"Authorization", "Accept"})
"""Headers that the envelope has for all of its requests."""


class JsonBatch:
    """Envelopes of JSON."""

    def __init__(self, base: str) -> None:
        """`base` is the address of Graph without the version."""
        self._root = base.rstrip("/") + VERSION

    def pack(self, requests: Sequence[HttpRequest]) -> HttpRequest:
        """One POST; requests are numbered by their place."""
        parts = b",".join(self._part(number, request) for number, request in enumerate(requests))
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        body = b'{"requests":[' + parts + b"]}"
        return HttpRequest(method="POST", url=f"{self._root}/$batch", headers=headers, body=body)

    def _part(self, number: int, request: HttpRequest) -> bytes:
        head = {
            "id": str(number),
            "method": request.method,
            "url": request.url.removeprefix(self._root),
            "headers": {name: value for name, value in request.headers.items() if name not in _OF_THE_ENVELOPE},
        }
        text = json.dumps(head, separators=(",", ":")).encode()
        # The body is JSON already, and goes in as it is.
        return text if request.body is None else text[:-1] + b',"body":' + request.body + b"}"

    def unpack(self, response: HttpResponse, requests: Sequence[HttpRequest]) -> Sequence[HttpResponse | None]:
        """The answer to each. One that is missing, comes twice or cannot be read is `None`."""
        body = response.json()
        answers = body.get("responses") if isinstance(body, dict) else None
        parts = [part for part in answers if isinstance(part, dict)] if isinstance(answers, list) else []
        times = Counter(str(part.get("id")) for part in parts)
        by_id = {str(part.get("id")): part for part in parts}
        return [_answer(by_id[str(number)]) if times[str(number)] == 1 else None for number, _ in enumerate(requests)]


def _answer(part: Json) -> HttpResponse | None:
    status, headers, body = part.get("status"), part.get("headers") or {}, part.get("body")
    if not isinstance(status, int) or status == HTTPStatus.FAILED_DEPENDENCY or not isinstance(headers, dict):
        # Nothing here depends on anything: a 424 tells only that something is wrong with the envelope.
        return None
    return HttpResponse(
        status=status,
        headers={name.lower(): str(value) for name, value in headers.items()},
        body=b"" if body is None else json.dumps(body, ensure_ascii=False).encode(),
    )
