"""Chromium without a window, driven through its pipe (Chrome DevTools Protocol): no library, no port."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any

from tests.parts import environment, folder, program

PATIENCE_S = 60.0
PHONE, DESKTOP = (390, 844), (1280, 900)


class Browser:
    """One browser with one page. Messages end in a NUL byte, both ways (--remote-debugging-pipe)."""

    def __init__(self, profile: Path) -> None:
        binary = program("chromium")
        commands_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        flags = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        flags += [
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            f"--user-data-dir={profile}",
        ]
        fonts = profile / "fonts.conf"
        fonts.parent.mkdir(parents=True, exist_ok=True)
        fonts.write_text(
            f"<fontconfig><dir>{folder('chromium')}/usr/share/fonts</dir><cachedir>{profile}/fonts</cachedir></fontconfig>"
        )
        # The shell puts the pipe's ends where the browser looks for them, at 3 and 4.
        script = f'exec 3<&{commands_out} 4>&{answers_in}; exec "$0" "$@"'
        with (profile / "browser.log").open("wb") as complaints:
            self._process = subprocess.Popen(
                ["bash", "-c", script, str(binary), *flags, "about:blank"],
                pass_fds=(commands_out, answers_in),
                env=environment("chromium") | {"FONTCONFIG_FILE": str(fonts), "HOME": str(profile)},
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                start_new_session=True,
            )
        os.close(commands_out)
        os.close(answers_in)
        self._session = ""
        target = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.killpg(self._process.pid, 9)
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command's result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select([self._answers], [], [], PATIENCE_S)
            chunk = os.read(self._answers, 1 << 20) if ready else b""
            assert chunk, "the browser has ended, or is silent"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; promises are awaited. AssertionError for what it throws."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 20.0) -> None:
        """Wait until the expression is true."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, (
                f"not within {seconds} s: {expression}; {self.evaluate('document.body.innerText')}"
            )
            time.sleep(0.05)

    def open(self, url: str, size: tuple[int, int] = DESKTOP, scheme: str = "light") -> None:
        """Load a page in a window of that size, for a reader with that colour scheme."""
        width, height = size
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for("document.readyState === 'complete'")

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, down and up."""
        typed = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **typed)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def choose_file(self, selector: str, file: Path) -> None:
        """What a reader does who picks a file."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def screenshot(self, file: Path) -> None:
        """The whole page as a PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        file.write_bytes(base64.b64decode(data))

    def complaints(self) -> list[str]:
        """Errors and warnings of the console: scripts that fail, what the policy refuses."""
        found = []
        for event in self.events:
            entry = event.get("params", {}).get("entry", {})
            if event.get("method") == "Log.entryAdded" and entry.get("level") in ("error", "warning"):
                found.append(f"{entry.get('text')} {entry.get('url', '')}")
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(event["params"]["exceptionDetails"]))
        return found

    def requested(self) -> list[str]:
        """The URLs that the page has asked for."""
        return [
            event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"
        ]
