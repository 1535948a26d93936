"""Many operations in one request: lists of rows and `$batch`. Pure; implements `shared.dispatch.Form`.

A row may be missing in a list for many reasons (R3): such a booking is asked for once more, alone, and only that answer
is believed.

Microsoft docs, "Execute batch operations using the Web API": parts outside of change sets stand or fall each for itself
and are all carried out with `Prefer: odata.continue-on-error`; they are answered in the order of the requests, with
nothing else to tell them apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import quote, urlsplit

from shared.dataverse.organization import HEADERS, ROOT
from shared.dataverse.wire import COLUMNS
from shared.http import HttpRequest, HttpResponse, without_host

BOUNDARY = "batch_booking_sync"
"""Cannot stand at the beginning of a line in a part: JSON has its line ends escaped."""
_OF_THE_ENVELOPE = frozenset({"Authorization", "Accept", "Content-Type", *HEADERS})
"""Headers that the envelope has for all of its parts, or that are another one's there."""
_BOUNDARY = re.compile(r'multipart/mixed\s*;.*?boundary="?([^";,\s]+)"?', re.IGNORECASE)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})\b[^\n]*\n")


class Envelopes:
    """Reads are packed as lists, writes as batches."""

    def pack(self, requests: Sequence[HttpRequest]) -> HttpRequest:
        """One request for all of them, which are of one kind."""
        return _list_of(requests) if requests[0].method == "GET" else _batch_of(requests)

    def unpack(self, response: HttpResponse, requests: Sequence[HttpRequest]) -> Sequence[HttpResponse | None]:
        """The answer to each as if it had been sent alone; `None` for one that is missing."""
        is_list = requests[0].method == "GET"
        return _rows_in(response, requests) if is_list else _answers_in(response, len(requests))


def _list_of(requests: Sequence[HttpRequest]) -> HttpRequest:
    """One GET with the same columns; the ids of the bookings are the lanes of the requests."""
    row, _, query = requests[0].url.partition("?")
    condition = " or ".join(f"{COLUMNS[0]} eq {request.lane}" for request in requests)
    url = f"{row.rpartition('(')[0]}?{query}&$filter={quote(condition)}"
    return replace(requests[0], url=url)


def _rows_in(response: HttpResponse, requests: Sequence[HttpRequest]) -> Sequence[HttpResponse | None]:
    body = response.json()
    value = body.get("value") if isinstance(body, dict) else None
    rows = value if isinstance(value, list) else []
    by_id = {str(row.get(COLUMNS[0])).lower(): row for row in rows if isinstance(row, dict)}
    return [
        replace(response, body=json.dumps(by_id[request.lane]).encode()) if request.lane in by_id else None
        for request in requests
    ]


def _batch_of(requests: Sequence[HttpRequest]) -> HttpRequest:
    parts = urlsplit(requests[0].url)
    headers = {
        **HEADERS,
        "Accept": "application/json",
        "Content-Type": f'multipart/mixed; boundary="{BOUNDARY}"',
        "Prefer": "odata.continue-on-error",
    }
    body = b"".join(b"--%s\r\n%s\r\n" % (BOUNDARY.encode(), _part(request)) for request in requests)
    return HttpRequest(
        method="POST",
        url=f"{parts.scheme}://{parts.netloc}{ROOT}/$batch",
        headers=headers,
        body=body + f"--{BOUNDARY}--\r\n".encode(),
    )


def _part(request: HttpRequest) -> bytes:
    lines = [
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "",
        f"{request.method} {without_host(request.url)} HTTP/1.1",
        *(f"{name}: {value}" for name, value in request.headers.items() if name not in _OF_THE_ENVELOPE),
        "Content-Type: application/json; type=entry",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + (request.body or b"")


def _answers_in(response: HttpResponse, number: int) -> Sequence[HttpResponse | None]:
    """The answers by their places. Of a wrong number nobody can say whose they are, so they are nobody's."""
    boundary = _BOUNDARY.match(response.headers.get("content-type", "").strip())
    if boundary is None:
        return [None] * number
    text = b"\n" + response.body.replace(b"\r\n", b"\n")
    _, *pieces = text.split(f"\n--{boundary[1]}".encode())
    if len(pieces) != number + 1 or not pieces[-1].startswith(b"--"):
        return [None] * number
    return [_answer(piece, response) for piece in pieces[:-1]]


def _answer(piece: bytes, envelope: HttpResponse) -> HttpResponse | None:
    """One part; where it says nothing itself, the headers of the envelope are its own."""
    _, _, inner = piece.lstrip(b"\n").partition(b"\n\n")
    status = _STATUS_LINE.match(inner)
    if status is None:
        return None
    head, _, body = inner[status.end() :].partition(b"\n\n")
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\n") if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return HttpResponse(status=int(status[1]), headers={**envelope.headers, **headers}, body=body.strip())
