"""`kfunc events`: what is shown, what is missing, what is sent again and how the answers compare."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kfunc.logger_sidecar.record import Payload
from tests.cli.conftest import Command
from tests.event_log.logs import call, write, write_spool


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "events.jsonl", call(0), call(1, status=503), call(2))


def test_tail_shows_what_came_and_what_came_of_it(kfunc: Command, log: Path) -> None:
    lines = kfunc("events", "tail", log, "-n", "2").out.splitlines()
    assert lines == [
        '09:00:02.000 request  iris/1           /v1/models/iris:predict  19 B  call-2  {"instances":[[2]]}',
        '09:00:02.001 response iris/1           200 in 1.5 ms  19 B  call-2  {"predictions":[2]}',
    ]


def test_tail_gives_programs_the_events_as_they_are(kfunc: Command, log: Path) -> None:
    out = kfunc("events", "tail", log, "--status", "5xx", "--output", "json").out
    assert out.encode().splitlines() == [log.read_bytes().splitlines()[3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tail", "nowhere"], "there is no nowhere; name a file of events, a spool"),
        (["tail", "--status", "bad", "x"], "write 404, 5xx or 400-499"),
        (["verify", "--since", "soon", "x"], "write 2026-11-25T09:30:00Z"),
        (["replay", "x"], "Missing option '--to'"),
        (["replay", ".", "--to", "http://"], "--to: "),
        (["replay", ".", "--to", "nats://host"], "has no subject after its host"),
        (["rplay"], "Did you mean 'replay'?"),
    ],
)
def test_what_is_wrong_is_told_and_the_status_is_2(kfunc: Command, arguments: list[str], message: str) -> None:
    result = kfunc("events", *arguments)
    assert result.status == 2
    assert message in result.err


def test_a_complete_log_is_verified(kfunc: Command, log: Path) -> None:
    result = kfunc("events", "verify", log)
    assert result.status == 0
    assert result.out.splitlines() == [
        f"{log}: 6 events of 3 calls",
        "  from 2026-11-25T09:00:00.000000Z to 2026-11-25T09:00:02.001500Z",
        "  kinds: request 3, response 3",
        "  statuses: 200 2, 503 1",
        "  models: iris 6",
        "ok: nothing is missing",
    ]


def test_a_log_with_a_gap_a_lost_half_and_a_broken_line_is_not_complete(kfunc: Command, tmp_path: Path) -> None:
    log = write(tmp_path / "events.jsonl", call(0), call(3), call(4))
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:-1]) + b"broken\n")
    result = kfunc("events", "verify", log)
    assert result.status == 1
    assert result.out.splitlines()[-6:] == [
        "  gaps: 1",
        "  events without their other half: 1",
        "  lines or parts that are no events: 1",
        "    missing: run-2 and what follows it before run-6",
        "    alone: run-8",
        "not complete",
    ]
    assert "no event: " in result.err


def test_a_spool_is_verified_for_programs(kfunc: Command, tmp_path: Path) -> None:
    spool = write_spool(tmp_path / "spool", *map(call, range(5)))
    report = json.loads(kfunc("events", "verify", spool, "--output", "json").out)
    assert (report["ok"], report["events"], report["calls"], report["gaps"]) == (True, 10, 5, 0)


class Function:
    """A function that answers V1 with what `predict` makes of the instances; keeps what came."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.shift = 0.0
        self.status = 200
        function = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                function.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                rows = json.loads(body)["instances"]
                content = json.dumps({"predictions": [row[0] + function.shift for row in rows]}).encode()
                self.send_response(function.status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def function() -> Iterator[Function]:
    running = Function()
    yield running
    running.close()


def test_logged_requests_are_sent_to_their_paths_with_their_ids(kfunc: Command, log: Path, function: Function) -> None:
    result = kfunc("events", "replay", log, "--to", function.url, "--connections", "1")
    assert (result.status, result.out.splitlines()[0]) == (0, "3 answered")
    assert [(path, fields["x-request-id"], body) for path, fields, body in function.requests] == [
        ("/v1/models/iris:predict", f"call-{number}", b'{"instances":[[%d]]}' % number) for number in range(3)
    ]


@pytest.mark.parametrize(
    "filters",
    [("--status", "5xx"), ("--id", "run-3"), ("--since", "2026-11-25T09:00:01.001Z", "--until", "2026-11-25T09:00:02Z")],
)
def test_a_request_is_sent_again_where_it_or_its_answer_is_meant(
    kfunc: Command, log: Path, function: Function, filters: tuple[str, ...]
) -> None:
    result = kfunc("events", "replay", log, "--to", function.url, "--compare", *filters)
    assert [fields["x-request-id"] for _, fields, _ in function.requests] == ["call-1"]
    assert "its answer was not logged" not in result.out


def test_answers_that_differ_are_told_and_can_fail_the_command(kfunc: Command, log: Path, function: Function) -> None:
    function.shift = 0.5
    arguments = ["events", "replay", log, "--to", function.url, "--compare", "--connections", "1"]
    result = kfunc(*arguments)
    assert result.status == 0
    assert result.out.splitlines()[:4] == [
        "different call-0 /v1/models/iris:predict",
        "    predictions[0]: 0 became 0.5",
        "different call-1 /v1/models/iris:predict",
        "    status: 503 became 200",
    ]
    assert "3 different" in result.out
    assert "  differs in predictions (2)" in result.out
    assert kfunc(*arguments, "--fail").status == 1
    assert "2 same, 1 different" in kfunc(*arguments, "--tolerance", "0.5").out


def test_programs_get_outcomes_and_a_summary(kfunc: Command, log: Path, function: Function) -> None:
    result = kfunc("events", "replay", log, "--to", function.url, "--compare", "--output", "json")
    outcome, last = (json.loads(line) for line in result.out.splitlines())
    assert (outcome["verdict"], outcome["differences"]) == (
        "different",
        [{"path": "status", "recorded": "503", "answered": "200"}],
    )
    assert {name: last["summary"][name] for name in ("same", "different", "failed")} == {"same": 2, "different": 1, "failed": 0}


def test_a_function_that_is_not_there_fails_each_request(kfunc: Command, log: Path) -> None:
    result = kfunc("events", "replay", log, "--to", "http://127.0.0.1:1")
    assert result.status == 1
    assert "3 failed" in result.out


def test_requests_that_were_not_logged_whole_are_skipped_with_the_reason(
    kfunc: Command, tmp_path: Path, function: Function
) -> None:
    log = write(tmp_path / "log.jsonl", call(0), call(1, request=Payload(b'{"inst', 99)))
    result = kfunc("events", "replay", log, "--to", function.url)
    assert result.out.splitlines()[:2] == ["1 skipped, 1 answered", "  skipped: not all of its body was logged (1)"]


def test_only_chosen_requests_are_sent_no_faster_than_asked(kfunc: Command, tmp_path: Path, function: Function) -> None:
    log = write(tmp_path / "log.jsonl", *map(call, range(10)))
    began = time.monotonic()
    result = kfunc("events", "replay", log, "--to", function.url, "--rate", "20", "--until", "2026-11-25T09:00:05Z")
    assert (result.out.splitlines()[0], len(function.requests)) == ("5 answered", 5)
    assert time.monotonic() - began >= 0.2


def test_events_go_to_a_sink_as_they_are(kfunc: Command, log: Path, tmp_path: Path) -> None:
    target = tmp_path / "again.jsonl"
    result = kfunc("events", "replay", log, "--to", f"file:{target}")
    assert (result.status, result.out) == (0, f"6 events delivered to file:{target}\n")
    assert target.read_bytes() == log.read_bytes()


@pytest.mark.parametrize(("options", "status"), [([], 0), (["--fail"], 1)])
def test_a_log_that_cannot_be_read_whole_is_told_by_the_status_where_that_is_asked_for(
    kfunc: Command, log: Path, tmp_path: Path, options: list[str], status: int
) -> None:
    log.write_bytes(log.read_bytes() + b"damage\n")
    result = kfunc("events", "replay", log, "--to", f"file:{tmp_path / 'again.jsonl'}", *options)
    assert (result.status, result.out.partition(" ")[0]) == (status, "6")
    assert f"no event: {log}:7: " in result.err


def test_events_can_be_posted_as_events(kfunc: Command, log: Path) -> None:
    taken: list[Any] = []

    class Taking(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}/"
        result = kfunc("events", "replay", log, "--events", "--to", f"http://ann:hush@{place}?key=hush")
        server.shutdown()
    assert (result.status, result.out) == (0, f"6 events delivered to http://…@{place}?…\n")
    assert taken == [json.loads(line) for line in log.read_bytes().splitlines()]


def test_a_damaged_spool_is_not_complete(kfunc: Command, tmp_path: Path) -> None:
    (segment,) = write_spool(tmp_path / "spool", *map(call, range(5))).rglob("*.seg")
    segment.write_bytes(segment.read_bytes()[:-20])
    result = kfunc("events", "verify", tmp_path / "spool")
    assert result.status == 1
    assert f"no event: {segment}, byte " in result.err
    assert result.out.splitlines()[-1] == "not complete"


def test_of_no_event_nothing_is_verified(kfunc: Command, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    result = kfunc("events", "verify", tmp_path / "events.jsonl")
    assert (result.status, result.out.splitlines()[-1]) == (1, "nothing to verify: no event is there")


@pytest.mark.parametrize("options", [["--compare"], ["--endpoint", "/x"], ["--tolerance", "0.1"], ["--connections", "4"]])
def test_what_is_for_functions_is_refused_for_a_sink(kfunc: Command, log: Path, tmp_path: Path, options: list[str]) -> None:
    result = kfunc("events", "replay", log, "--to", f"file:{tmp_path / 'again.jsonl'}", *options)
    assert result.status == 2
    assert f"{options[0]} is for requests to a function" in result.err
    assert not (tmp_path / "again.jsonl").exists()


def test_a_sink_that_takes_nothing_is_told_at_once_and_ends_the_command_after_the_timeout(kfunc: Command, log: Path) -> None:
    began = time.monotonic()
    result = kfunc("events", "replay", log, "--to", "http://ann:secret@127.0.0.1:1/x", "--events", "--timeout", "1")
    assert time.monotonic() - began < 10
    assert result.status == 1
    assert result.err.splitlines()[0].startswith("http://127.0.0.1:1/x takes no events: ")
    assert result.err.splitlines()[0].endswith("; trying on for 1 s (--timeout)")


def test_tail_says_where_no_event_is_meant(kfunc: Command, log: Path, tmp_path: Path) -> None:
    result = kfunc("events", "tail", log, "--model", "zzz")
    assert (result.status, result.out, result.err) == (0, "", f"none of the 6 events in {log} is meant\n")
    (tmp_path / "empty.jsonl").touch()
    assert kfunc("events", "tail", tmp_path / "empty.jsonl").err == f"there is no event in {tmp_path / 'empty.jsonl'}\n"
