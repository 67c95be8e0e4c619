"""`kfunc bench` against functions and servers that run: what it counts is what happened."""

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.pages.serving import ROOT, running

pytestmark = pytest.mark.integration

METADATA = b'{"name":"m","versions":["1"],"platform":"p","inputs":[{"name":"x","datatype":"FP32","shape":[1]}],"outputs":[]}'


def bench(*arguments: str, status: int = 0) -> dict[str, Any]:
    """The result as JSON."""
    command = [sys.executable, "-m", "kfunc", "bench", *arguments, "--output", "json", "--warmup", "0.2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=ROOT, check=False)
    assert done.returncode == status, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = tmp_path_factory.mktemp("iris")
    (state / "func.yaml").write_text(
        (ROOT / "func.yaml").read_text().replace("./examples/iris/", str(ROOT / "examples/iris") + "/")
    )
    with running(state, state) as base:
        yield base


@contextmanager
def server(answer: "Answers", seen: list[bytes] | None = None) -> Iterator[str]:
    """A server of one model, which says its metadata and answers each POST as `answer` says."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := _request(connection):
                body = METADATA if data.startswith(b"GET /v2/models/m ") else b'{"models":["m"]}'
                if data.startswith(b"POST"):
                    if seen is not None:
                        seen.append(data)
                    body = b"{}"
                    answer.before()
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _request(connection: socket.socket) -> bytes:
    """A whole request, short as they are here."""
    try:
        data = connection.recv(65536)
        while data.startswith(b"POST") and data.partition(b"\r\n\r\n")[2] == b"":
            more = connection.recv(65536)
            if not more:
                return b""
            data += more
    except OSError:
        return b""
    return data


class Answers:
    """Answers at once; `begins_s` after the first request one answer holds up all others for `stall_s`; `then` follows."""

    def __init__(self, stall_s: float = 0.0, begins_s: float = 0.0, then: Callable[[], None] | None = None) -> None:
        self._then = then
        self._lock = threading.Lock()
        self._stall_s = stall_s
        self._begins_s, self._first_at = begins_s, 0.0

    def before(self) -> None:
        with self._lock:
            self._first_at = self._first_at or time.monotonic()
            if self._stall_s and time.monotonic() >= self._first_at + self._begins_s:
                stall_s, self._stall_s = self._stall_s, 0.0
                time.sleep(stall_s)
                if self._then is not None:
                    self._then()


@pytest.mark.parametrize("protocol", ["v2", "v1", "binary", "grpc"])
def test_every_protocol_is_asked_without_an_error(iris: str, protocol: str) -> None:
    result = bench(iris, "--protocol", protocol, "--duration", "0.5", "--connections", "4")
    assert result["errors"] == {}
    assert result["requests"] > 50
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p99"] <= result["latency_ms"]["max"]


def test_in_an_open_loop_as_many_arrive_as_were_asked_for(iris: str) -> None:
    result = bench(iris, "--rate", "100", "--duration", "1")
    assert result["requests"] + sum(result["errors"].values()) + result["unsent"] == 100


def test_a_standstill_shows_in_an_open_loop_and_hides_in_a_closed_one() -> None:
    with server(Answers(stall_s=0.8, begins_s=0.6)) as url:
        opened = bench(url, "--rate", "200", "--duration", "2", "--connections", "4")
    with server(Answers(stall_s=0.8, begins_s=0.6)) as url:
        closed = bench(url, "--duration", "2", "--connections", "4")
    assert opened["latency_ms"]["p95"] > 200
    assert closed["latency_ms"]["p95"] < 100


def test_errors_are_counted_by_their_reason(iris: str) -> None:
    result = bench(iris, "--data", '{"inputs": []}', "--duration", "0.3", status=1)
    assert list(result["errors"]) == ["status 400"]
    assert result["said"]["status 400"].startswith('{"error":')


def test_what_the_server_says_of_an_error_is_told_over_grpc_too(iris: str) -> None:
    result = bench(iris, "--data", '{"inputs": []}', "--protocol", "grpc", "--duration", "0.3", status=1)
    ((reason, words),) = result["said"].items()
    assert reason.startswith("grpc-status ")
    assert words


def test_a_folder_is_served_meanwhile_and_the_report_is_written(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    result = bench("examples/python-handler", "--duration", "0.3", "--connections", "2", "--html", str(report))
    assert result["requests"] > 0
    assert report.read_text().startswith("<!doctype html>")


def test_a_folder_whose_log_is_json_is_served_too(tmp_path: Path) -> None:
    function = tmp_path / "function"
    shutil.copytree(ROOT / "examples/python-handler", function, ignore=shutil.ignore_patterns(".kfunc"))
    text = (function / "func.yaml").read_text()
    (function / "func.yaml").write_text(text.replace("inference:\n", "inference:\n  log_format: json\n"))
    assert bench(str(function), "--duration", "0.3", "--connections", "2")["requests"] > 0


def test_arrays_of_a_file_are_sent_by_their_names(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    np.savez(tmp_path / "a.npz", x=np.zeros(1, np.float32))
    seen: list[bytes] = []
    with server(Answers(), seen) as url:
        bench(url, "--data", f"@{tmp_path / 'a.npz'}", "--duration", "0.1", "--connections", "1")
    assert json.loads(seen[0].partition(b"\r\n\r\n")[2])["inputs"][0]["name"] == "x"


def test_rows_beside_data_are_refused() -> None:
    command = [sys.executable, "-m", "kfunc", "bench", "http://127.0.0.1:1", "--rows", "8", "--data", "[[1]]"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert (done.returncode, "leave it out" in done.stderr) == (2, True)


def test_a_report_that_cannot_be_written_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kfunc", "bench", "http://127.0.0.1:1", "--html", str(tmp_path / "missing" / "x.html")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode != 0
    assert "cannot write" in done.stderr
    assert "nothing listens" not in done.stderr


def test_figures_are_printed_though_the_report_can_no_longer_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    with server(Answers(stall_s=0.1, begins_s=0.1, then=folder.rmdir)) as url:
        result = bench(url, "--duration", "1", "--html", str(folder / "x.html"), status=2)
    assert result["requests"] > 0


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere", "neither a URL"),
        ("https://127.0.0.1:1", "http:// is expected"),
        ("http://127.0.0.1:1", "nothing listens"),
    ],
)
def test_what_cannot_be_asked_is_said(target: str, words: str) -> None:
    command = [sys.executable, "-m", "kfunc", "bench", target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode in (1, 2)
    assert words in done.stderr
