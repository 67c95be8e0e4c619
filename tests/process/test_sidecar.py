"""A sidecar in front of somebody else's V2 server: it needs two addresses, and no KFUNC_CONFIG."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATH = "/v2/models/theirs/infer"
METADATA = {
    **{"name": "theirs", "versions": ["3"], "platform": "other"},
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
}


class Theirs(BaseHTTPRequestHandler):
    """A V2 server that answers each row with itself, slowly, and keeps how many rows came in each call."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rows: list[int]

    def do_GET(self) -> None:
        self.answer(200 if self.path.startswith(("/v2/models/theirs", "/v2/health/")) else 404, METADATA)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        (tensor,) = body["inputs"]
        self.rows.append(tensor["shape"][0])
        time.sleep(0.05)
        self.answer(200, {"model_name": "theirs", "outputs": [{**tensor, "name": "y"}]})

    def answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def theirs() -> Iterator[tuple[int, list[int]]]:
    """The port of the other server, and the rows of its calls."""
    rows: list[int] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), type("One", (Theirs,), {"rows": rows})) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1], rows
        server.shutdown()
        thread.join()


def start(name: str, listener: socket.socket, port: int, *, manage: str = "none", **variables: str) -> "subprocess.Popen[str]":
    number = listener.fileno()
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("KFUNC_", "K_"))}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", f"kfunc.{name}_sidecar", "--listen", f"fd:{number}"),
            *("--upstream", f"127.0.0.1:{port}", "--manage", manage),
        ],
        env={**clean, "PYTHONPATH": str(ROOT), **variables},
        pass_fds=(number,),
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def sidecar(name: str, port: int, **variables: str) -> Iterator[int]:
    """The port of a running sidecar; at the end it stops with exit status 0."""
    listener = socket.create_server(("127.0.0.1", 0))
    process = start(name, listener, port, **variables)
    with listener:
        own = listener.getsockname()[1]
    try:
        yield own
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def infer(port: int, row: list[float]) -> list[float]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    body = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": row}]}
    connection.request("POST", PATH, json.dumps(body), {"content-type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status == 200, answer
    (output,) = answer["outputs"]
    data: list[float] = output["data"]
    return data


def test_a_batcher_without_configuration_merges_for_another_server(theirs: tuple[int, list[int]]) -> None:
    port, rows = theirs
    with sidecar("batcher", port) as own, ThreadPoolExecutor(16) as pool:
        infer(own, [0.0, 0.0])  # the model's metadata are asked for now
        time.sleep(0.2)
        wanted = [[float(number), 0.5] for number in range(16)]
        assert list(pool.map(lambda row: infer(own, row), wanted)) == wanted
    assert sum(rows) == 17
    assert len(rows) < 17


def test_a_variable_sets_a_single_value(theirs: tuple[int, list[int]]) -> None:
    port, rows = theirs
    with sidecar("batcher", port, KFUNC_BATCHER_MAX_BATCH_SIZE="1") as own, ThreadPoolExecutor(8) as pool:
        infer(own, [0.0, 0.0])
        time.sleep(0.2)
        list(pool.map(lambda number: infer(own, [number, 0.5]), range(8)))
    assert rows == [1] * 9


def test_a_logger_needs_a_sink_and_nothing_else(theirs: tuple[int, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with sidecar("logger", theirs[0], KFUNC_LOGGER_SINK=f"file:{path}", KFUNC_FUNCTION="theirs") as own:
        assert infer(own, [1.0, 2.0]) == [1.0, 2.0]
    request, response = map(json.loads, path.read_text().splitlines())
    assert [event["subject"] for event in (request, response)] == ["theirs", "theirs"]
    assert request["source"] == "/namespaces/default/functions/theirs"


def test_a_logger_without_its_watcher_ends_with_its_requests_not_with_its_grace(
    theirs: tuple[int, list[int]], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        manage = one.getsockname()[1]
    sink = {"KFUNC_LOGGER_SINK": "http://127.0.0.1:9", "KFUNC_LOGGER_SPOOL": str(tmp_path / "spool")}
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            process = start("logger", listener, theirs[0], manage=f"127.0.0.1:{manage}", **sink)
            own = listener.getsockname()[1]
        infer(own, [1.0, 2.0])
        process.kill()  # only the watcher: its child holds both ports and stderr
        _, said = process.communicate(timeout=10)  # the grace would be 30 s
        assert "2 events" in said or "4 events" in said, said


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "the logger has no sink: set inference.logger.sink, KFUNC_LOGGER_SINK, or K_SINK by a SinkBinding"),
        ({"KFUNC_LOGGER_SNIK": "x"}, "KFUNC_LOGGER_SNIK names no setting"),
        ({"KFUNC_CONFIG": '{"logger": {"sink": "ftp://a"}}'}, "expected"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_status_2(variables: dict[str, str], message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start("logger", listener, 1, **variables)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert len(said.splitlines()) == 1
    assert message.lower() in said.lower()
