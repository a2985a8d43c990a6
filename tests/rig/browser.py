"""A real browser without a screen: Debian's Chromium, driven over the DevTools protocol on a pair of pipes."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from tests.rig.until import until

_ANSWER = 60.0
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # everything here runs as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--remote-debugging-pipe",
    "--hide-scrollbars",
)
_KEYS = {"Tab": 9, "Enter": 13, "Space": 32}


class Browser(ExitStack):
    """One page. What it logs as an error, and where it sends requests, is noted."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._asked = 0
        self._session = ""
        self.errors: list[str] = []
        self.requested: list[str] = []

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        program = shutil.which("chromium")
        if program is None:
            pytest.skip("no chromium here")
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        for descriptor in (self._to, self._from):
            self.callback(os.close, descriptor)
        environment = os.environ | {"HOME": str(self._directory), "TZ": "UTC"}
        command = ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{to_write}', "bash", program, *_OPTIONS]
        command.append(f"--user-data-dir={self._directory}/profile")
        log = self.enter_context((self._directory / "chromium.log").open("wb"))
        self._process = subprocess.Popen(
            command, pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
        self.callback(self._end)
        os.close(to_read)
        os.close(to_write)
        self._rest = b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Accessibility"):
            self._call(f"{domain}.enable")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self._call("Page.navigate", url=url)
        until(lambda: self.run("document.readyState") == "complete", f"{url} is there")

    def run(self, expression: str) -> Any:  # noqa: ANN401 - whatever the script gives
        """What an expression of the page comes to."""
        found = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """What a part of the page shows."""
        shown: str = self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return shown

    def press(self, key: str) -> None:
        """Press a key of the keyboard."""
        names = {"key": " " if key == "Space" else key, "code": key, "windowsVirtualKeyCode": _KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self._call("Input.dispatchKeyEvent", type="keyDown", **names, **text)
        self._call("Input.dispatchKeyEvent", type="keyUp", **names)

    def look(self, scheme: str, width: int = 1100, height: int = 900) -> None:
        """Prefer `light` or `dark`, in a window of this size."""
        preferred = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self._call("Emulation.setEmulatedMedia", features=features)
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self) -> bytes:
        """What is to be seen, as a PNG."""
        return base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"])

    def accessible(self) -> list[Mapping[str, Any]]:
        """What a screen reader is told: role and name of each thing."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            {"role": node.get("role", {}).get("value"), "name": node.get("name", {}).get("value", "")}
            for node in nodes
            if not node["ignored"]
        ]

    def _call(self, method: str, **parameters: object) -> Any:  # noqa: ANN401 - whatever the browser answers
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._from, 1 << 16)
            assert data, (self._directory / "chromium.log").read_text()
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: Mapping[str, Any]) -> None:
        told = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(told["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(told["exceptionDetails"]))
            case "Log.entryAdded" if told["entry"]["level"] == "error":
                self.errors.append(told["entry"]["text"])
