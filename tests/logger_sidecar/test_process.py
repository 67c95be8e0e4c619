"""The logger as the pod runs it: `python -m kfunc.logger_sidecar`, ended with SIGTERM."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from kfunc.config.inference import Limits
from kfunc.config.logger import Logger
from kfunc.config.pod import VARIABLE, PodConfig, PodModel, encode
from kfunc.logger_sidecar.intake import intake_path
from tests.logger_sidecar.broker import Broker, Fault

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PATH = "/v2/models/m/infer"


class Echo(BaseHTTPRequestHandler):
    """Answers a POST with its body, to one that says how long only then."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        time.sleep(float(self.headers.get("x-slow", "0")))
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
def logger(
    sink: str, upstream: int, spool: Path, grace_s: float = 5.0, listener: socket.socket | None = None, **settings: Any
) -> Iterator[tuple[subprocess.Popen[str], int]]:
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
        logger=Logger(sink=sink, spool=str(spool), **settings),
    )
    listener = listener.dup() if listener is not None else socket.create_server(("127.0.0.1", 0))
    number = listener.fileno()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "kfunc.logger_sidecar", "--listen", f"fd:{number}"),
            *("--upstream", f"127.0.0.1:{upstream}", "--manage", "none"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: encode(config)},
        pass_fds=(number,),
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    port = listener.getsockname()[1]
    listener.close()
    try:
        yield process, port
    finally:
        kill(process)
        process.communicate()


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to watcher and logger at once, as when a container is out of memory."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


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
    with logger(f"file:{path}", upstream, tmp_path / "spool") as (process, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        for number in range(500):
            post(connection, number)
        errors = end(process)
        connection.close()
    assert errors == ""
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [event["data"]["n"] for event in events] == [number for number in range(500) for _ in range(2)]
    assert len({event["id"] for event in events}) == 1000


def test_a_request_that_outlasts_the_grace_is_logged_as_cut_off_before_the_end(tmp_path: Path, upstream: int) -> None:
    path = tmp_path / "events.jsonl"
    with logger(f"file:{path}", upstream, tmp_path / "spool", 1.0) as (process, port):
        slow = HTTPConnection("127.0.0.1", port, timeout=20)
        slow.request("POST", PATH, "{}", {"content-type": "application/json", "x-slow": "2"})
        time.sleep(0.2)
        assert end(process) == ""
        slow.close()
    assert [json.loads(line).get("statuscode") for line in path.read_bytes().splitlines()] == [None, 499]


def test_a_request_that_outlasts_the_grace_keeps_no_event_from_the_overflow(tmp_path: Path, upstream: int) -> None:
    path = tmp_path / "overflow.jsonl"
    with logger("http://127.0.0.1:9/", upstream, tmp_path / "spool", 3.0, overflow=f"file:{path}") as (process, port):
        connection, slow = HTTPConnection("127.0.0.1", port, timeout=20), HTTPConnection("127.0.0.1", port, timeout=20)
        for number in range(100):
            post(connection, number)
        slow.request("POST", PATH, "{}", {"content-type": "application/json", "x-slow": "4"})
        time.sleep(0.2)
        end(process)
        connection.close()
        slow.close()
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert {event["data"]["n"] for event in events if "n" in event.get("data", {})} == set(range(100))


def test_a_sink_that_is_down_at_sigterm_ends_with_the_grace_and_what_remains_is_said_and_sent_later(
    tmp_path: Path, upstream: int
) -> None:
    path, spool = tmp_path / "events.jsonl", tmp_path / "spool"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        with logger(url, upstream, spool, grace_s=1.0) as (process, port):
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            for number in range(3):
                post(connection, number)
            started = time.monotonic()
            errors = end(process)
            connection.close()
    assert time.monotonic() - started < 10
    name = f"http-127.0.0.1-{closed_port(url)}"
    assert f"6 events for the sink {name} remain in {spool}/n.f/0, for the next logger there" in errors
    with logger(f"file:{path}", upstream, spool) as (process, _):
        wait_for_lines(path, 6)
        end(process)
    assert [json.loads(line)["data"]["n"] for line in path.read_bytes().splitlines()] == [0, 0, 1, 1, 2, 2]


def closed_port(url: str) -> str:
    return url.rpartition(":")[2].strip("/")


def wait_for_lines(path: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sink_that_cannot_be_opened_ends_the_start_with_one_line_and_status_2(tmp_path: Path, upstream: int) -> None:
    with logger("file:/proc/nowhere/events", upstream, tmp_path / "spool") as (process, _):
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert errors.count("\n") == 1
    assert "give another --sink" in errors
    assert not Path(intake_path(str(tmp_path / "spool" / "n.f" / "0"))).exists()


def test_what_waits_for_room_at_the_end_is_answered_with_503(tmp_path: Path, upstream: int) -> None:
    statuses: list[int] = []

    def send(port: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        while not statuses or statuses[-1] == 200:
            connection.request("POST", PATH, b"[%b]" % (b" " * 60_000))
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)

    bounds: dict[str, Any] = {"on_full": "block", "spool_max_bytes": 1 << 20}
    with logger("http://127.0.0.1:9/", upstream, tmp_path / "spool", grace_s=3.0, **bounds) as (process, port):
        sender = threading.Thread(target=send, args=(port,))
        sender.start()
        count = -1
        while count != len(statuses) or not count:
            count = len(statuses)
            time.sleep(0.5)
        end(process)
        sender.join()
    assert statuses == [200] * count + [503]


class Sender(threading.Thread):
    """Sends requests one after the other over whatever connection it gets, and keeps the numbers of those answered."""

    def __init__(self, port: int, first: int, stop: threading.Event) -> None:
        super().__init__()
        self.answered: list[int] = []
        self._port = port
        self._first = first
        self._stop_now = stop

    def run(self) -> None:
        number, connection = self._first, HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._stop_now.is_set():
            number += 1
            try:
                post(connection, number)
            except (OSError, HTTPException):
                connection.close()  # the logger was killed: this one was in flight
                continue
            self.answered.append(number)
        connection.close()


class BrokerThread(threading.Thread):
    """A broker with a loop of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker()
        self.started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()

    def run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with self.broker:
            self.started.set()
            await self._end.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self.join()


@pytest.mark.parametrize("content_mode", ["structured", "batched"])
def test_no_accepted_event_is_lost_when_the_logger_is_killed_again_and_again_and_the_sink_is_down(
    tmp_path: Path, upstream: int, content_mode: Literal["structured", "batched"]
) -> None:
    thread, stop = BrokerThread(), threading.Event()
    thread.start()
    thread.started.wait()
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    senders = [Sender(listener.getsockname()[1], 1_000_000 * each, stop) for each in range(1, 4)]
    for sender in senders:
        sender.start()
    url, spool = thread.broker.url, tmp_path / "spool"
    for each in range(6):
        thread.broker.fault = Fault("503") if 2 <= each <= 3 else Fault("close", every=50) if each == 4 else None
        with logger(url, upstream, spool, listener=listener, content_mode=content_mode) as (process, _):
            time.sleep(random.uniform(0.4, 0.9))
            kill(process)
    thread.broker.fault = None
    stop.set()
    with logger(url, upstream, spool, listener=listener, content_mode=content_mode) as (process, _):
        for sender in senders:
            sender.join()
        time.sleep(0.5)
        end(process)
    listener.close()
    thread.stop()
    answered = [number for sender in senders for number in sender.answered]
    arrived = Counter((event["data"]["n"], event["type"].rpartition(".")[2]) for event in thread.broker.events)
    assert len(answered) > 100
    assert [number for number in answered if arrived[number, "request"] != 1 or arrived[number, "response"] != 1] == []
