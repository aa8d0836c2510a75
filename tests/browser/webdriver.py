"""A real Chromium, driven by Debian's chromedriver over the WebDriver protocol."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import httpx

from support.waiting import eventually

ARGUMENTS: Final = (
    "--headless=new",
    "--no-sandbox",  # of no use to root, who runs CI
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--force-prefers-reduced-motion",
)


def missing() -> str:
    """Return what is not installed; empty when all is there."""
    return ", ".join(name for name in ("chromium", "chromedriver") if shutil.which(name) is None)


class Browser:
    """One window; use it as a context manager."""

    def __init__(self, port: int) -> None:
        """Make it; ``port`` is for the driver."""
        self._port = port
        self._folder = tempfile.TemporaryDirectory(prefix="toolset-chromium-")
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        self._session = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        driver = shutil.which("chromedriver") or ""
        environment = {**os.environ, "HOME": self._folder.name}
        self._process = subprocess.Popen([driver, f"--port={self._port}"], stdout=subprocess.DEVNULL, env=environment)
        eventually(self._is_ready, within_s=20)
        options = {
            "binary": shutil.which("chromium"),
            "args": [*ARGUMENTS, f"--user-data-dir={self._folder.name}/profile"],
        }
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        answer = self._send("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{answer['sessionId']}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._session:
            self._send("DELETE", self._session)
        self._http.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
        self._folder.cleanup()

    def _is_ready(self) -> bool:
        try:
            return bool(self._send("GET", "/status")["ready"])
        except httpx.TransportError:
            return False

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        content = json.dumps(body or {}) if method == "POST" else None
        answer = self._http.request(method, path, content=content, headers={"Content-Type": "application/json"})
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        """Load a page."""
        self._send("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Return what ``script`` returns in the page."""
        body = {"script": script, "args": [*arguments]}
        return self._send("POST", f"{self._session}/execute/sync", body)

    def run_async(self, script: str) -> Any:
        """Return what ``script`` gives to its last argument, a function."""
        return self._send("POST", f"{self._session}/execute/async", {"script": script, "args": []})

    def command(self, name: str, **parameters: object) -> Any:
        """Send a command of the DevTools protocol."""
        return self._send("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def show(self, width: int, scheme: str = "light") -> None:
        """Make the window ``width`` pixels wide, in the colour scheme."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", features=features)

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._send("POST", f"{self._session}/actions", {"actions": [source]})

    def screenshot(self, file: Path) -> None:
        """Write a picture of the window."""
        file.write_bytes(base64.b64decode(self._send("GET", f"{self._session}/screenshot")))

    def console(self) -> list[str]:
        """Return what the console has shown since the last call: warnings and errors."""
        found = self._send("POST", f"{self._session}/se/log", {"type": "browser"})
        return [each["message"] for each in found if each["level"] in {"WARNING", "SEVERE"}]

    def requested(self) -> Iterator[str]:
        """Yield the URLs that were requested since the last call."""
        for each in self._send("POST", f"{self._session}/se/log", {"type": "performance"}):
            message = json.loads(each["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                yield str(message["params"]["request"]["url"])
