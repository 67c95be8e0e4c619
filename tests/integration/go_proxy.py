"""A proxy on Go's net/http, as Knative puts it in front of each function (go_proxy/main.go)."""

import subprocess
from pathlib import Path
from types import TracebackType

from tests.parts import program


class GoProxy:
    """A running one in front of `upstreams`, over HTTP/2; `port` is where it listens."""

    def __init__(self, folder: Path, upstreams: list[int]) -> None:
        folder.mkdir()
        self._log = folder / "log"
        command = [str(program("go-proxy")), *(f"127.0.0.1:{port}" for port in upstreams)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        self.port = 0

    def __enter__(self) -> "GoProxy":
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.communicate(timeout=10)

    def complaints(self) -> str:
        """What it says of connections and answers that were not as they should be."""
        return self._log.read_text()
