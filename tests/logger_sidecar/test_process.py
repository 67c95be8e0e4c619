"""The logger as the pod runs it: `python -m kfunc.logger_sidecar`, ended with SIGTERM."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kfunc.config.inference import Limits
from kfunc.config.logger import Logger
from kfunc.config.pod import VARIABLE, PodConfig, PodModel, encode

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATH = "/v2/models/m/infer"


class Echo(BaseHTTPRequestHandler):
    """Answers a POST with its body."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def upstream() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@contextmanager
def logger(sink: str, upstream: int, grace_s: float = 5.0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running logger, and the port that it listens on."""
    config = PodConfig(
        function="f",
        namespace="n",
        model=PodModel(name="m", version="1", uri="model.onnx", runtime="onnx"),
        protocols=["v1", "v2"],
        accelerator="cpu",
        workers=1,
        timeout_s=10.0,
        hang_timeout_s=30.0,
        grace_s=grace_s,
        limits=Limits(),
        logger=Logger(sink=sink),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    number = listener.fileno()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kfunc.logger_sidecar", "--listen", f"fd:{number}"),
            *("--upstream", f"127.0.0.1:{upstream}", "--manage", "none"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: encode(config)},
        pass_fds=(number,),
        stderr=subprocess.PIPE,
        text=True,
    )
    port = listener.getsockname()[1]
    listener.close()
    try:
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def post(connection: HTTPConnection, number: int) -> None:
    connection.request("POST", PATH, json.dumps({"n": number}), {"content-type": "application/json"})
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())) == (200, {"n": number})


def end(process: subprocess.Popen[str]) -> str:
    """End it with SIGTERM; it exits 0. What it said."""
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return errors


def test_at_sigterm_the_events_of_every_answered_request_are_in_the_file(tmp_path: Path, upstream: int) -> None:
    path = tmp_path / "events.jsonl"
    with logger(f"file:{path}", upstream) as (process, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        for number in range(500):
            post(connection, number)
        errors = end(process)
        connection.close()
    assert errors == ""
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [event["data"]["n"] for event in events] == [number for number in range(500) for _ in range(2)]
    assert len({event["id"] for event in events}) == 1000


def test_a_sink_that_is_down_at_sigterm_ends_with_the_grace_and_the_lost_are_said(upstream: int) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with logger(f"http://127.0.0.1:{closed.getsockname()[1]}/", upstream, grace_s=1.0) as (process, port):
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            for number in range(3):
                post(connection, number)
            started = time.monotonic()
            errors = end(process)
            connection.close()
    assert time.monotonic() - started < 10
    assert "6 events could not be delivered before the end" in errors


def test_a_sink_that_cannot_be_opened_ends_the_start_with_one_line_and_status_2(upstream: int) -> None:
    with logger("file:/proc/nowhere/events", upstream) as (process, _):
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "give another --sink" in errors
