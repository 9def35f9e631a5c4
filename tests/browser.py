"""A headless Chromium driven through its debugging pipe (Chrome DevTools Protocol): no package, no open port."""

from __future__ import annotations

import base64
import fcntl
import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--mute-audio", "--force-color-profile=srgb", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
)  # fmt: skip


def find_chromium() -> str:
    """Its path, or the test is skipped."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("no Chromium here: install it, or name it in the environment variable CHROMIUM")
    return found


class Tab:
    """One page. `events` keeps what the browser reported: console messages, exceptions, requests."""

    def __init__(self, down: int, up: int) -> None:
        self.down, self.up = down, up
        self.buffer, self.count, self.session = b"", 0, ""
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, seconds: float = 60.0, **params: Any) -> dict[str, Any]:
        """The answer to a command; what comes in between is kept as events."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.down, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + seconds
        while True:
            answer = self._receive(until)
            if answer.get("id") == self.count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.up], [], [], max(0.0, until - time.monotonic()))
            assert ready, "Chromium does not answer"
            piece = os.read(self.up, 1 << 20)
            assert piece, "Chromium has ended"
            self.buffer += piece
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def evaluate(self, script: str) -> Any:
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 60.0) -> None:
        """Wait for a condition of the page."""
        end = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < end, f"never came true: {script}"
            time.sleep(0.05)

    def size(self, width: int, height: int, touch: bool = False, ratio: float = 1.0) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=touch
        )
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)

    def open(self, url: str) -> None:
        """A viewer page, until its stage is drawn."""
        self.send("Page.navigate", url=url)
        self.until(f"location.href === {json.dumps(url)} && document.documentElement?.dataset.viewer")
        state = self.evaluate("document.documentElement.dataset.viewer")
        assert state == "ready", self.evaluate("document.querySelector('.status').textContent")

    def screenshot(self) -> np.ndarray:
        """(H, W, 3) uint8."""
        data = self.send("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def key(self, name: str) -> None:
        text = {"text": name} if len(name) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=name, **(text if kind == "keyDown" else {}))

    def frame(self) -> None:
        """Let the page draw."""
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def complaints(self) -> list[str]:
        """Exceptions, errors in the console and refused requests."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
            if event.get("method") == "Runtime.consoleAPICalled" and params["type"] == "error":
                found.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
            if event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(params["entry"]["text"])
        return found

    def requests(self) -> set[str]:
        """Addresses that the page asked for, whole but for data: and blob:."""
        asked = (e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent")
        return {url.partition(",")[0] if url.startswith(("data:", "blob:")) else url for url in asked}


@contextmanager
def chromium() -> Iterator[Tab]:
    """A fresh browser with one tab, gone with its profile when the block ends."""
    program = find_chromium()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        (read_down, down), (up, write_up) = os.pipe(), os.pipe()
        flags = [*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else []), "about:blank"]

        def plug() -> None:  # the browser reads commands from 3 and answers on 4
            ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (read_down, write_up)]
            for end, number in zip(ends, (3, 4), strict=True):
                os.dup2(end, number)

        process = subprocess.Popen(
            [program, *flags], preexec_fn=plug, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(read_down), os.close(write_up)
        try:
            tab = Tab(down, up)
            target = next(t for t in tab.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
            tab.session = tab.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                tab.send(f"{domain}.enable")
            yield tab
        finally:
            tab.session = ""
            with suppress(AssertionError, OSError):
                tab.send("Browser.close", seconds=5.0)
            process.kill()
            process.wait()
            os.close(down), os.close(up)
