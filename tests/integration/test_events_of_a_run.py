"""What `kfunc run` logs, as `kfunc events` shows, checks and replays it: into a run of the same model, and into a broker."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.test_run import ROOT, Run, Start, environ, start
from tests.logger_sidecar import test_nats_sink
from tests.parts.servers import Nats

pytestmark = pytest.mark.integration
__all__ = ["start"]


def events(folder: Path, *arguments: str) -> tuple[int, str]:
    """`kfunc events` in the function's folder: exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "kfunc", "events", *arguments],
        cwd=folder,
        env=environ(folder) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def call_some(run: Run) -> None:
    for _ in range(3):
        assert run.infer()[0] == 200
    assert run.request("POST", "/v1/models/iris:predict", {"instances": [["x"]]})[0] == 400
    assert run.request("POST", "/v1/models/iris:predict", {"instances": [[5.1, 3.5, 1.4, 0.2]]})[0] == 200
    run.wait_for(lambda: len(run.events()) == 10)


def test_a_log_is_shown_complete_and_its_requests_get_the_same_answers_again(start: Start) -> None:
    run = start()
    call_some(run)
    status, shown = events(run.folder, "tail", "--type", "response", "--status", "400")
    assert (status, shown.count("\n")) == (0, 1)
    assert "400 in " in shown
    assert events(run.folder, "verify")[1].endswith("ok: nothing is missing\n")
    target = f"http://127.0.0.1:{run.port}"
    status, said = events(run.folder, "replay", ".kfunc/events.jsonl", "--to", target, "--compare", "--fail")
    assert (status, said.splitlines()[0]) == (0, "5 same")
    run.wait_for(lambda: len(run.events()) == 20)  # what was sent again is logged again


def test_a_run_sends_its_events_to_a_broker_and_a_log_is_sent_there_again(start: Start, tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as server:
        sink = f"{server.url}/events?stream=events"
        run = start("--sink", sink)
        for _ in range(20):
            assert run.infer()[0] == 200
        assert run.end() == 0
        first = [json.loads(each.data) for each in asyncio.run(test_nats_sink.read(server, "events"))]
        log = tmp_path / "log.jsonl"
        log.write_text("".join([json.dumps(event) + "\n" for event in first]))
        status, said = events(tmp_path, "replay", str(log), "--to", sink)
        again = asyncio.run(test_nats_sink.read(server, "events"))
    assert len(first) == 40
    assert (status, said) == (0, f"40 events delivered to {server.url}/events?…\n")
    assert len(again) == 40  # the stream knows them
