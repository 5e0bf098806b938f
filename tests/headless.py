"""A page in headless Chromium, driven through the WebDriver protocol."""

import base64
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
]  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PATIENCE = 300


class Browser:
    """One page."""

    def __init__(self, address: str, profile: Path, size: str = "1280,900") -> None:
        self.address = address
        options = {"args": [*ARGUMENTS, f"--window-size={size}", f"--user-data-dir={profile}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": PATIENCE * 1000, "pageLoad": PATIENCE * 1000},
        }
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{session['sessionId']}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=2 * PATIENCE) as answer:
            return json.load(answer)["value"]

    def open(self, address: str) -> None:
        self.call("POST", f"{self.session}/url", {"url": address})

    def run(self, script: str) -> Any:
        return self.call("POST", f"{self.session}/execute/sync", {"script": script, "args": []})

    def until(self, script: str) -> Any:
        """Return what a script gives once that counts as true; one that fails meanwhile has met a page in change."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if found := self.run(script):
                    return found
                why = f"stays {found!r}"
            except HTTPError as error:
                why = f"fails: {error.read().decode()[:500]}"
            assert time.monotonic() < deadline, f"{script} {why}"
            time.sleep(0.05)

    def type(self, selector: str, text: str) -> None:
        element = self._find(selector)
        self.call("POST", f"{self.session}/element/{element}/clear", {})
        self.call("POST", f"{self.session}/element/{element}/value", {"text": text})

    def click(self, selector: str) -> None:
        self.call("POST", f"{self.session}/element/{self._find(selector)}/click", {})

    def messages(self) -> list[str]:
        return [entry["message"] for entry in self.call("POST", f"{self.session}/se/log", {"type": "browser"})]

    def screenshot(self, file: Path) -> None:
        """Write the whole page as a picture, for a person to look at."""
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        """Give the window this size in CSS pixels, or show the page as a phone of this size does."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Carry out a command of Chromium's DevTools protocol."""
        return self.call("POST", f"{self.session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def close(self) -> None:
        self.call("DELETE", self.session)

    def _find(self, selector: str) -> str:
        found = self.call("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        return str(found[ELEMENT])


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Lend a page in a fresh browser; the test is skipped where there is none."""
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("no headless Chromium: install the packages chromium and chromium-driver")
    process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        port = next(
            found[1] for line in process.stdout if (found := re.search(r"started successfully on port (\d+)", line))
        )
        page = Browser(f"http://127.0.0.1:{port}", profile)
        try:
            yield page
        finally:
            page.close()
    finally:
        process.terminate()
        process.wait()
