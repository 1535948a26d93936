from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from sandbox.functions.process import HostProcess
from sandbox.server import Authority

APP = '''
@app.route("echo/{name}/{number:int?}")
async def echo(req: func.HttpRequest) -> func.HttpResponse:
    """What the function was given."""
    body = req.get_body()
    return func.HttpResponse(json.dumps({
        "method": req.method, "url": req.url, "headers": dict(req.headers), "params": dict(req.params),
        "route": dict(req.route_params), "body": list(body), "type": type(body).__name__,
    }))

@app.route("echo/fixed")
def fixed(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("fixed")

@app.route("answer", methods=["GET", "HEAD"])
def answer(req: func.HttpRequest) -> func.HttpResponse:
    response = func.HttpResponse(b"\\x00\\xff", status_code=418, mimetype="application/octet-stream")
    response.headers["X-Own"] = "yes"
    response.headers["Content-Length"] = "999"
    response.headers.add("Set-Cookie", "a=1; Path=/p; HttpOnly; SameSite=Strict; Max-Age=60; Secure")
    response.headers.add("Set-Cookie", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT")
    return response

@app.route("no_response")
def no_response(req: func.HttpRequest) -> str:
    return "plain"

@app.route("broken")
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("on purpose")

@app.route("trace")
async def trace(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    return func.HttpResponse(context.trace_context.trace_parent + " " + context.function_name)

@app.route("locked", auth_level=func.AuthLevel.FUNCTION)
async def locked(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")

@app.route("admin_only", auth_level=func.AuthLevel.ADMIN)
async def admin_only(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse("in")

@app.route("Posted", methods=["POST"])
async def posted(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(json.dumps(req.get_json()))

@app.route("posted", methods=["DELETE"])
async def deleted(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(status_code=204)
'''


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory, app_writer: Callable[..., Path]) -> AsyncIterator[HostProcess]:
    work = tmp_path_factory.mktemp("http")
    app = app_writer(work / "app", APP)
    async with HostProcess(app, settings={}, work_dir=work, options=("--function-key=locked=own-key",)) as running:
        yield running


async def seen(answer: Any) -> dict[str, Any]:
    assert answer.status == 200
    content: dict[str, Any] = json.loads(await answer.text())
    return content


async def test_header_names_are_lower_case_and_repeated_ones_joined(host: HostProcess, http: ClientSession) -> None:
    async with http.get(f"{host.url}/api/echo/x", headers=[("X-Mixed-Case", "1"), ("X-Mixed-Case", "2")]) as answer:
        headers = (await seen(answer))["headers"]
    assert headers["x-mixed-case"] == "1,2"
    assert all(name == name.lower() for name in headers)


async def test_empty_parameters_are_dropped_and_repeated_ones_joined(host: HostProcess, http: ClientSession) -> None:
    async with http.get(f"{host.url}/api/echo/x?a=1&empty=&A=2&b=%C3%A4%20b&validationToken") as answer:
        content = await seen(answer)
    assert content["params"] == {"a": "1,2", "b": "ä b"}
    assert content["url"].startswith(f"{host.url}/api/echo/x?a=1&empty=")


async def test_absent_route_parameters_are_dropped(host: HostProcess, http: ClientSession) -> None:
    async with http.get(f"{host.url}/api/echo/Some%20One") as answer:
        assert (await seen(answer))["route"] == {"name": "Some One"}
    async with http.get(f"{host.url}/api/echo/x/7") as answer:
        assert (await seen(answer))["route"] == {"name": "x", "number": "7"}


async def test_the_body_is_always_bytes(host: HostProcess, http: ClientSession) -> None:
    async with http.post(f"{host.url}/api/echo/x", data=b"\x00\xff{", headers={"Content-Type": "text/plain"}) as answer:
        content = await seen(answer)
    assert (content["body"], content["type"]) == ([0, 255, 123], "bytes")
    async with http.get(f"{host.url}/api/echo/x") as answer:
        assert (await seen(answer))["body"] == []


async def test_json_reaches_the_function(host: HostProcess, http: ClientSession) -> None:
    async with http.post(f"{host.url}/api/posted", json={"a": "ü"}) as answer:
        assert await seen(answer) == {"a": "ü"}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "OPTIONS", "HEAD", "DELETE"])
async def test_a_function_without_methods_takes_them_all(host: HostProcess, http: ClientSession, method: str) -> None:
    async with http.request(method, f"{host.url}/API/Echo/x") as answer:
        assert answer.status == 200
        if method != "HEAD":
            assert json.loads(await answer.text())["method"] == method


async def test_literals_win_and_methods_share_a_path(host: HostProcess, http: ClientSession) -> None:
    async with http.get(f"{host.url}/api/echo/fixed") as answer:
        assert await answer.text() == "fixed"
    async with http.delete(f"{host.url}/api/posted") as answer:
        assert answer.status == 204


@pytest.mark.parametrize("path", ["/api/posted", "/api/none", "/none", "/", "/api/echo/x/seven"])
async def test_no_route_or_a_wrong_method_is_404(host: HostProcess, http: ClientSession, path: str) -> None:
    async with http.get(f"{host.url}{path}") as answer:
        assert answer.status == 404


async def test_status_headers_bytes_and_cookies_come_back(host: HostProcess, http: ClientSession) -> None:
    async with http.get(f"{host.url}/api/answer") as answer:
        assert answer.status == 418
        assert await answer.read() == b"\x00\xff"
        assert answer.headers["X-Own"] == "yes"
        assert answer.headers["Content-Type"] == "application/octet-stream"
        first, second = answer.headers.getall("Set-Cookie")
    attributes = {part.strip().lower() for part in first.split(";")}
    assert attributes == {"a=1", "path=/p", "httponly", "samesite=strict", "max-age=60", "secure"}
    assert "b=2" in second
    assert "expires=Wed, 21 Oct 2026 07:28:00 GMT" in second
    async with http.head(f"{host.url}/api/answer") as answer:
        assert (answer.status, await answer.read()) == (418, b"")


async def test_a_returned_string_is_a_text(host: HostProcess, http: ClientSession) -> None:
    async with http.get(f"{host.url}/api/no_response") as answer:
        assert (answer.status, await answer.text(), answer.content_type) == (200, "plain", "text/plain")


async def test_a_failing_function_is_an_empty_500_and_its_reason_is_logged(
    host: HostProcess, http: ClientSession
) -> None:
    async with http.get(f"{host.url}/api/broken") as answer:
        assert (answer.status, await answer.text()) == (500, "")
    assert "ValueError: on purpose" in host.log.read_text()


async def test_the_trace_goes_on(host: HostProcess, http: ClientSession) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with http.get(f"{host.url}/api/trace", headers={"traceparent": parent}) as answer:
        assert await answer.text() == f"{parent} trace"
    async with http.get(f"{host.url}/api/trace") as answer:
        assert len((await answer.text()).split()[0]) == len(parent)


OWN, HOST, MASTER, WRONG = "own-key", "{host}", "{master}", "wrong"


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("locked", None, 401),
        ("locked", WRONG, 401),
        ("locked", OWN, 200),
        ("locked", HOST, 200),
        ("locked", MASTER, 200),
        ("admin_only", OWN, 401),
        ("admin_only", HOST, 401),
        ("admin_only", MASTER, 200),
        ("no_response", None, 200),
        ("no_response", WRONG, 200),
    ],
)
@pytest.mark.parametrize("place", ["header", "query"])
async def test_keys(
    host: HostProcess, http: ClientSession, path: str, key: str | None, status: int, place: str
) -> None:
    value = key.format(host=host.host_key, master=host.master_key) if key else None
    headers = {"x-functions-key": value} if value and place == "header" else {}
    query = {"code": value} if value and place == "query" else {}
    async with http.get(f"{host.url}/api/{path}", headers=headers, params=query) as answer:
        assert answer.status == status


async def test_the_header_goes_before_the_query(host: HostProcess, http: ClientSession) -> None:
    url = f"{host.url}/api/locked"
    async with http.get(f"{url}?code={host.host_key}", headers={"x-functions-key": WRONG}) as answer:
        assert answer.status == 401
    async with http.get(f"{url}?code=wrong", headers={"x-functions-key": host.host_key}) as answer:
        assert answer.status == 200


async def test_administration_takes_the_master_key_only(host: HostProcess, http: ClientSession) -> None:
    master = {"x-functions-key": host.master_key}
    async with http.get(f"{host.url}/admin/host/status", headers=master) as answer:
        assert (answer.status, (await answer.json())["state"]) == (200, "Running")
    async with http.get(f"{host.url}/admin/host/status?code={host.host_key}") as answer:
        assert answer.status == 401
    async with http.post(f"{host.url}/admin/functions/echo", json={}) as answer:
        assert answer.status == 401
    for name, status in {"nobody": 404, "echo": 501}.items():
        async with http.post(f"{host.url}/admin/functions/{name}", headers=master, json={}) as answer:
            assert answer.status == status
    async with http.post(f"{host.url}/admin/functions/echo", headers=master, data=b"{") as answer:
        assert answer.status == 400


LIMITED = """
running = 0

@app.route("endless")
async def endless(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.Event().wait()

@app.route("together")
async def together(req: func.HttpRequest) -> func.HttpResponse:
    global running
    running += 1
    for _ in range(100):
        await asyncio.sleep(0)
    most, running = running, running - 1
    return func.HttpResponse(str(most))
"""


async def status_of(http: ClientSession, url: str) -> int:
    async with http.get(url) as answer:
        return answer.status


async def test_calls_above_the_outstanding_limit_are_shed(serve: Any, http: ClientSession) -> None:
    host = await serve(
        LIMITED,
        host_json={
            "functionTimeout": "00:00:01",
            "extensions": {"http": {"routePrefix": "", "maxOutstandingRequests": 1}},
        },
    )
    statuses = await asyncio.gather(*(status_of(http, f"{host.url}/endless") for _ in range(3)))
    assert sorted(statuses) == [429, 429, 500]


async def test_calls_above_the_concurrency_limit_wait(serve: Any, http: ClientSession) -> None:
    host = await serve(LIMITED, host_json={"extensions": {"http": {"maxConcurrentRequests": 1}}})

    async def most() -> str:
        async with http.get(f"{host.url}/api/together") as answer:
            return await answer.text()

    assert await asyncio.gather(*(most() for _ in range(5))) == ["1"] * 5


async def test_https_with_a_certificate(tmp_path: Path, app_writer: Callable[..., Path], http: ClientSession) -> None:
    authority = Authority(tmp_path)
    app = app_writer(tmp_path / "app", "")
    tls = authority.write_certificate()
    async with HostProcess(app, settings={}, work_dir=tmp_path, tls=tls) as host:
        assert host.url.startswith("https://localhost:")
        async with http.get(f"{host.url}/api/seen/0", ssl=authority.client_context()) as answer:
            assert answer.status == 200
