"""A real browser without a window, driven over the Chrome DevTools Protocol as far as the tests of the page need it."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import shutil
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    *("--force-color-profile=srgb", "--remote-debugging-port=0"),
)
PATIENCE = 15.0
KEYS = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Delete": 46}
ALT, SHIFT = 1, 8


def find_browser() -> str | None:
    """The Chromium of this machine, or the one that `BROWSER_FOR_TESTS` names."""
    named = os.environ.get("BROWSER_FOR_TESTS")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


class Tab:
    """One tab. What goes wrong in the page is kept in `errors`."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.errors: list[str] = []

    async def listen(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            heard = message.json()
            if (waiting := self._waiting.pop(heard.get("id"), None)) is not None:
                if not waiting.done():  # nobody waits any longer
                    waiting.set_result(heard)
            elif heard.get("method") == "Runtime.exceptionThrown":
                details = heard["params"]["exceptionDetails"]
                self.errors.append(str(details.get("exception", details).get("description", details)))
            elif heard.get("method") == "Log.entryAdded" and heard["params"]["entry"]["level"] == "error":
                entry = heard["params"]["entry"]
                self.errors.append(f"{entry['text']} {entry.get('url', '')}")

    async def send(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        heard = await asyncio.wait_for(self._waiting[number], PATIENCE)
        assert "error" not in heard, heard["error"]
        return heard["result"]

    async def open(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        for domain in ("Page", "Runtime", "Log"):
            await self.send(f"{domain}.enable")
        await self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        await self.send("Page.navigate", url=url)

    async def resize(self, width: int, height: int) -> None:
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        said = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The value of the expression once it is true; the page itself looks again and again."""
        look = (
            f"const look = () => {{ const found = {expression}; found ? done(found) : setTimeout(look, 20) }}; look()"
        )
        try:
            return await self.evaluate(f"new Promise((done) => {{ {look} }})")
        except TimeoutError:
            raise AssertionError(f"never true: {expression}; errors of the page: {self.errors}") from None

    async def box(self, selector: str) -> dict[str, float]:
        """Where an element is on the screen, once it is there and has come to rest."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"!!{found}")
        gliding = f"{found}.getAnimations().filter((one) => one instanceof CSSTransition)"
        await self.evaluate(f"Promise.all({gliding}.map((one) => one.finished)).then(() => true)")
        box: dict[str, float] = await self.evaluate(f"{found}.getBoundingClientRect().toJSON()")
        return box

    async def mouse(self, kind: str, x: float, y: float, *, held: bool = False) -> None:
        await self.send(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="none" if kind == "mouseMoved" and not held else "left",
            buttons=1 if held or kind == "mousePressed" else 0,
            clickCount=1,
        )

    async def click(self, selector: str) -> None:
        box = await self.box(selector)
        await self.click_at(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    async def click_at(self, x: float, y: float) -> None:
        await self.mouse("mouseMoved", x, y)
        await self.mouse("mousePressed", x, y)
        await self.mouse("mouseReleased", x, y)

    async def drag(self, start: tuple[float, float], end: tuple[float, float], *, release: bool = True) -> None:
        await self.mouse("mouseMoved", *start)
        await self.mouse("mousePressed", *start)
        for part in (0.3, 0.7, 1.0):
            x, y = (a + (b - a) * part for a, b in zip(start, end, strict=True))
            await self.mouse("mouseMoved", x, y, held=True)
        if release:
            await self.mouse("mouseReleased", *end)

    async def key(self, name: str, modifiers: int = 0) -> None:
        text = {"text": name} if len(name) == 1 else {"text": "\r"} if name == "Enter" else {}
        code = KEYS.get(name, ord(name.upper()) if len(name) == 1 else 0)
        common = {"key": name, "modifiers": modifiers, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    async def type(self, text: str) -> None:
        await self.send("Input.insertText", text=text)

    async def screenshot(self) -> bytes:
        """What is to be seen, as PNG."""
        shot = await self.send("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def open_browser(executable: str) -> AsyncIterator[Tab]:
    """A fresh browser with one empty tab."""
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        command = [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL, stderr=PIPE)
        assert process.stderr
        try:
            async with asyncio.timeout(PATIENCE):
                while b"DevTools listening on" not in (line := await process.stderr.readline()):
                    assert line, "the browser did not start"
            port = urlsplit(line.split()[-1].decode()).port
            unread = asyncio.create_task(process.stderr.read())
            async with ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    [target] = [one for one in await answer.json() if one["type"] == "page"]
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    listening = asyncio.create_task(tab.listen())
                    yield tab
                    listening.cancel()
            unread.cancel()
        finally:
            process.terminate()
            await process.wait()
