"""A headless Chromium, driven by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def browser() -> str:
    """Where Chromium is; without one the test is skipped."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no browser here: `apt-get install chromium` brings one")
    return found


class Tab:
    """One page in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)

    async def call(self, method: str, **values: Any) -> dict[str, Any]:
        """A command of the protocol, and what it answers; events are passed over."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": values})
        while (answer := await self._socket.receive_json(timeout=30)).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    async def value(self, script: str) -> Any:
        """What a script gives."""
        return (await self.call("Runtime.evaluate", expression=script, returnByValue=True))["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until a script is true."""
        async with asyncio.timeout(30):
            while not await self.value(script):
                await asyncio.sleep(0.05)

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href == {url!r} && document.readyState == 'complete'")

    async def choose(self, selector: str, path: Path) -> None:
        """Put a file on a field of a form."""
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = (await self.call("DOM.querySelector", nodeId=root, selector=selector))["nodeId"]
        await self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    async def submit(self) -> None:
        """Press the button of the form, and wait for the next page."""
        await self.value("window.before = true; document.querySelector('button').click()")
        await self.until("!window.before && document.readyState == 'complete'")

    async def resize(self, width: int) -> None:
        """Give the window a width."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        await self.call("Emulation.setDeviceMetricsOverride", **size)

    async def screenshot(self, width: int, path: Path) -> None:
        """The whole page at a width, as a PNG."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False
        )
        answer = await self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


@asynccontextmanager
async def tabs(folder: Path, count: int = 1) -> AsyncIterator[list[Tab]]:
    """A browser with a profile in a new folder, and pages of it."""
    port = folder / "DevToolsActivePort"
    running = subprocess.Popen(
        [browser(), *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={folder}"], stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while not (port.exists() and port.read_text().count("\n")):
                await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{port.read_text().splitlines()[0]}/json/new"
        async with aiohttp.ClientSession() as session:
            opened = []
            for _ in range(count):
                async with session.put(f"{base}?about:blank") as answer:
                    url = (await answer.json())["webSocketDebuggerUrl"]
                opened.append(Tab(await session.ws_connect(url, max_msg_size=2**28)))
            yield opened
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(20)
