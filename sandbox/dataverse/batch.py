"""`$batch`: many operations in one envelope, some of them in change sets.

Microsoft docs, "Execute batch operations using the Web API": parts are executed one after another; processing stops at
the first error, whose status becomes the envelope's, unless `Prefer: odata.continue-on-error`; a change set stands or
falls as a whole. That a failed change set is answered by one part alone, and that LF without CR is accepted, is
unverified.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from sandbox.dataverse import errors
from sandbox.dataverse.state import State
from sandbox.dataverse.visits import Visit
from sandbox.faults import DROPPED
from sandbox.http import HttpError, Request, Response

LARGEST_BATCH = 1000
INHERITED = ("authorization", "user-agent", "callerobjectid", "mscrmcallerid", "x-ms-correlation-request-id")
_BOUNDARY = re.compile(r'multipart/mixed\s*;.*boundary="?([^";,\s]+)"?', re.IGNORECASE)
_REQUEST_LINE = re.compile(r"(\S+)\s+(\S.*?)\s+HTTP/1\.1", re.IGNORECASE)
_REFERENCE_IN_PATH = re.compile(r"\$(\w+)")
_REFERENCE_IN_BODY = re.compile(r'(?<=@odata\.bind)("\s*:\s*")/?\$(\w+)(?=")')

type Serve = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One operation of the envelope."""

    content_id: str
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One piece of the answer: an operation's response, or a finished change set."""

    status: int
    text: bytes


class _ChangeSetFailedError(Exception):
    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Batch:
    """Takes envelopes apart, has their parts served, and packs the answers."""

    def __init__(self, state: State, new_id: Callable[[], str]) -> None:
        """Change sets are transactions on `state`."""
        self._state = state
        self._new_id = new_id

    async def answer(self, visit: Visit, serve: Serve) -> Response:
        """The answer to the whole envelope; `serve` answers one part."""
        items = [self._item(visit, head, body) for head, body in _split(visit.request.header("content-type"), visit)]
        if sum(len(item) if isinstance(item, list) else 1 for item in items) > LARGEST_BATCH:
            raise errors.refuse(400, "", f"The number of requests in a batch must not exceed {LARGEST_BATCH}.")
        boundary, status, pieces = f"batchresponse_{self._new_id()}", 200, []
        for item in items:
            if isinstance(item, list):
                answered = await self._change_set(visit, item, serve)
            else:
                answered = await self._single(item, serve)
            if answered is None:
                return DROPPED
            pieces.append(answered.text)
            if answered.status >= HTTPStatus.BAD_REQUEST and not visit.preferences.continue_on_error:
                status = answered.status
                break
        return Response(
            status=status,
            headers={"Content-Type": f"multipart/mixed; boundary={boundary}", "OData-Version": "4.0"},
            body=_join(boundary, pieces),
        )

    def _item(self, visit: Visit, head: Mapping[str, str], body: bytes) -> Part | list[Part]:
        kind = head.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/mixed":
            inner = replace(visit, request=replace(visit.request, body=body))
            return [self._part(visit, *one) for one in _split(head["content-type"], inner)]
        return self._part(visit, head, body)

    def _part(self, visit: Visit, head: Mapping[str, str], body: bytes) -> Part:
        if head.get("content-type", "").partition(";")[0].strip().lower() != "application/http":
            raise _malformed("every part is of the type application/http")
        head_text, _, payload = body.partition(b"\n\n")
        line, *headers = head_text.decode().strip().split("\n")
        match = _REQUEST_LINE.fullmatch(line.strip())
        if match is None:
            raise _malformed(f"'{line}' is no request line")
        inherited = {name: value for name in INHERITED if (value := visit.request.header(name))}
        request = Request.of(
            match[1],
            _absolute(visit, match[2]),
            headers={**inherited, **_headers(headers)},
            body=payload.strip(),
            base=visit.request.base,
        )
        if request.path.rstrip("/").endswith("/$batch"):
            raise _malformed("a batch must not hold another one")
        return Part(content_id=head.get("content-id", ""), request=request)

    async def _single(self, part: Part, serve: Serve) -> Answered | None:
        answer = await serve(part.request)
        return None if answer.dropped else Answered(status=answer.status, text=self._written(part, answer))

    async def _change_set(self, visit: Visit, parts: list[Part], serve: Serve) -> Answered | None:
        try:
            with self._state.transaction():
                texts = await self._all_or_nothing(visit, parts, serve)
        except _ChangeSetFailedError as failed:
            if failed.answer.dropped:
                return None
            single = Part(content_id="", request=visit.request)
            return Answered(status=failed.answer.status, text=self._written(single, failed.answer))
        boundary = f"changesetresponse_{self._new_id()}"
        head = f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode()
        return Answered(status=200, text=head + _join(boundary, texts))

    async def _all_or_nothing(self, visit: Visit, parts: list[Part], serve: Serve) -> list[bytes]:
        ids = [part.content_id for part in parts]
        if len(set(ids)) != len(ids) or not all(ids):
            raise _malformed("the parts of a change set need Content-ID values of their own")
        addresses: dict[str, str] = {}
        texts: list[bytes] = []
        for part in parts:
            if part.request.method == "GET":
                raise _malformed("a change set must not hold GET requests")
            answer = await serve(_resolved(visit, part.request, addresses))
            if answer.dropped or answer.status >= HTTPStatus.BAD_REQUEST:
                raise _ChangeSetFailedError(answer)
            addresses[part.content_id] = answer.headers.get("OData-EntityId", "")
            texts.append(self._written(part, answer))
        return texts

    def _written(self, part: Part, answer: Response) -> bytes:
        """A response as the text of a part."""
        lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
        if part.content_id:
            lines.append(f"Content-ID: {part.content_id}")
        lines += ["", f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        if answer.status >= HTTPStatus.BAD_REQUEST:
            lines.append(f"REQ_ID: {self._new_id()}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + answer.body


def _split(content_type: str, visit: Visit) -> list[tuple[dict[str, str], bytes]]:
    """The parts of the body as their headers and contents, line ends unified."""
    match = _BOUNDARY.match(content_type.strip())
    if match is None:
        raise _malformed("the content type is multipart/mixed with a boundary")
    text = b"\n" + visit.request.body.replace(b"\r\n", b"\n")
    _, *pieces = text.split(f"\n--{match[1]}".encode())
    if not pieces or not pieces[-1].startswith(b"--"):
        raise _malformed(f"the end '--{match[1]}--' is missing")
    parts = []
    for piece in pieces[:-1]:
        head, _, body = piece.lstrip(b"\n").partition(b"\n\n")
        parts.append((_headers(head.decode().split("\n")), body.lstrip(b"\n")))
    return parts


def _join(boundary: str, pieces: list[bytes]) -> bytes:
    return b"".join(f"--{boundary}\r\n".encode() + piece + b"\r\n" for piece in pieces) + f"--{boundary}--\r\n".encode()


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines if line.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _absolute(visit: Visit, url: str) -> str:
    """A part's address: absolute, from the root of the host, relative to the Web API, or a reference."""
    return url if url.startswith(("/", "http://", "https://")) else f"{visit.root}/{url}"


def _resolved(visit: Visit, request: Request, addresses: Mapping[str, str]) -> Request:
    """The request with its references to earlier parts of the change set replaced by what they made."""

    def made(content_id: str) -> str:
        if content_id not in addresses:
            message = f"Content-ID Reference: '${content_id}' does not exist in the batch context."
            raise errors.refuse(400, "", message)
        return addresses[content_id]

    path, root = request.path, visit.root.removeprefix(visit.request.base)
    below = path.removeprefix(root).lstrip("/")
    if (match := _REFERENCE_IN_PATH.match(below)) is not None:
        path = made(match[1]).removeprefix(visit.request.base) + below[match.end() :]
    body = _REFERENCE_IN_BODY.sub(lambda match: match[1] + made(match[2]), request.body.decode())
    return replace(request, path=path, body=body.encode())


def _malformed(message: str) -> HttpError:
    return errors.refuse(400, errors.PAYLOAD, f"The batch is malformed: {message}.")
