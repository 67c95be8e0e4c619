"""`kfunc run` on a terminal, and `--reload`: what a developer sees, with real processes."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from select import select
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
FUNC_YAML = """\
specVersion: 0.36.0
name: scale
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: ./handler.py}
  grace_s: 5
  batcher: {}
  logger: {}
"""
HANDLER = """\
from kfunc.handlers.contract import Handler
from kfunc.protocol.messages import TensorSpec

class Scale(Handler):
    inputs = [TensorSpec("x", "FP32", [-1])]
    outputs = [TensorSpec("y", "FP32", [-1])]

    def load(self, path):
        print("loading", flush=True)

    def predict(self, inputs):
        return {"y": inputs["x"] * 2}
"""

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "func.yaml").write_text(FUNC_YAML)
    (tmp_path / "f" / "handler.py").write_text(HANDLER)
    return tmp_path / "f"


class Run:
    """A `kfunc run` whose output, as a terminal or a file has it, grows in `text`."""

    def __init__(self, folder: Path, *arguments: str, terminal: bool) -> None:
        self.text = self.said = ""
        self._end, theirs = pty.openpty() if terminal else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kfunc", "run", str(folder), "--port", "0", *arguments],
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "TMPDIR": str(folder.parent)},
        )
        os.close(theirs)

    def read(self, seconds: float) -> None:
        if select([self._end], [], [], seconds)[0]:
            try:
                words = os.read(self._end, 65536).decode()
                self.text += words
                self.said += words  # all of it
            except OSError:  # a terminal whose other end is closed
                time.sleep(seconds)

    def wait_for(self, *words: str, seconds: float = 30.0) -> None:
        """Until the words have been said, in this order, since this was asked last."""
        deadline = time.monotonic() + seconds
        while True:
            at = 0
            for word in words:
                at = self.text.find(word, at) + 1 if at >= 0 else 0
                if not at:
                    break
            if at:
                self.text = self.text[at:]
                return
            assert time.monotonic() < deadline, f"waited in vain for {words}: {self.text}"
            assert self.process.poll() is None or at, f"it has ended: {self.text}"
            self.read(0.1)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        while self.process.poll() is None:
            self.read(0.1)
        os.close(self._end)
        return self.process.returncode


@pytest.fixture
def started(folder: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*arguments: str, terminal: bool = False) -> Run:
        runs.append(Run(folder, *arguments, terminal=terminal))
        return runs[-1]

    yield start
    for run in runs:
        run.process.kill()
        run.process.wait()


def infer(url: str) -> object:
    body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [3.0]}]}
    with urlopen(Request(f"{url}/v2/models/scale/infer", json.dumps(body).encode()), timeout=20) as answer:
        return json.load(answer)["outputs"][0]["data"]


def base(run: Run) -> str:
    """The function's URL, once it is ready."""
    run.wait_for("ready: ")
    while "\n" not in run.text:
        run.read(0.1)
    return "http://" + run.text.partition("http://")[2].split()[0]


def test_a_terminal_shows_a_live_line_and_what_the_processes_print(started: Callable[..., Run]) -> None:
    run = started(terminal=True)
    run.wait_for("[handler] loading")
    url = base(run)
    run.wait_for("idle, 0 requests so far")
    deadline = time.monotonic() + 20
    while "p99" not in run.text:
        assert infer(url) == [6.0]
        run.read(0.05)
        assert time.monotonic() < deadline, run.text
    assert "waiting" in run.text
    assert "POST /v2/models/scale/infer 200" not in run.text
    assert run.end() == 0


def test_elsewhere_each_request_is_a_line_and_nothing_is_erased(started: Callable[..., Run]) -> None:
    run = started()
    assert infer(base(run)) == [6.0]
    run.wait_for("POST /v2/models/scale/infer 200")
    assert "\x1b" not in run.text
    assert run.end() == 0


@pytest.mark.parametrize("sidecars", ["  batcher: {}\n  logger: {}\n", "  logger: {}\n", ""])
def test_who_calls_while_an_edit_is_taken_up_waits_and_is_answered(
    folder: Path, started: Callable[..., Run], sidecars: str
) -> None:
    (folder / "func.yaml").write_text(FUNC_YAML.replace("  batcher: {}\n  logger: {}\n", sidecars))
    run = started("--reload", "--quiet")
    url = base(run)
    assert infer(url) == [6.0]
    slow = HANDLER.replace("* 2", "* 5").replace("print(", "import time; time.sleep(0.7); print(")
    (folder / "handler.py").write_text(slow)
    answers: list[object] = []

    def call() -> None:
        while [15.0] not in answers:
            try:
                answers.append(infer(url))
            except (HTTPError, OSError) as error:
                answers.append(repr(error))
            time.sleep(0.01)

    callers = [Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    run.wait_for("handler.py changed, starting again", "serving again: http://127.0.0.1:")
    for caller in callers:
        caller.join()
    assert {str(each) for each in answers} == {"[6.0]", "[15.0]"}
    assert "killed" not in run.said
    assert run.end() == 0


def test_events_in_the_functions_own_folder_start_nothing_again_and_the_line_follows_a_change(
    folder: Path, started: Callable[..., Run]
) -> None:
    with_file = FUNC_YAML.replace("logger: {}", "logger: {sink: 'file:events.jsonl'}")
    (folder / "func.yaml").write_text(with_file)
    run = started("--reload", terminal=True)
    url = base(run)
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        assert infer(url) == [6.0]
        run.read(0.1)
    assert (folder / "events.jsonl").stat().st_size > 0
    run.read(1.0)
    assert "changed" not in run.text
    (folder / "func.yaml").write_text(FUNC_YAML.replace("  logger: {}\n", ""))
    run.wait_for("func.yaml changed, starting again", "serving again", "idle, ")
    run.text = ""
    run.wait_for("idle, ")
    assert "events" not in run.text
    assert run.end() == 0


def test_a_broken_edit_is_said_and_the_next_one_is_served(folder: Path, started: Callable[..., Run]) -> None:
    run = started("--reload", "--quiet")
    url = base(run)
    (folder / "handler.py").write_text("class Scale(\n")
    run.wait_for("handler.py changed", "handler cannot start", "waiting for the next change")
    assert run.process.poll() is None
    with pytest.raises(HTTPError, match="503"):  # the sidecars are there, and say so
        infer(url)
    (folder / "handler.py").write_text(HANDLER.replace("* 2", "* 7"))
    run.wait_for("serving again")
    assert infer(url) == [21.0]
    assert run.end() == 0


def test_a_func_yaml_that_is_wrong_leaves_what_was_there(folder: Path, started: Callable[..., Run]) -> None:
    run = started("--reload", "--quiet")
    url = base(run)
    (folder / "func.yaml").write_text(FUNC_YAML.replace("batcher: {}", "batcher: {max_batch_size: many}"))
    run.wait_for("func.yaml changed, and cannot be served", "max_batch_size", "what runs is left as it is")
    assert infer(url) == [6.0]
    (folder / "func.yaml").write_text(FUNC_YAML.replace("  batcher: {}\n", ""))
    run.wait_for("func.yaml changed, starting again", "serving again")
    assert infer(url) == [6.0]
    assert run.end() == 0


def test_after_a_failed_first_start_nothing_is_said_to_go_on(folder: Path, started: Callable[..., Run]) -> None:
    (folder / "handler.py").write_text("class Scale(\n")
    run = started("--reload", "--quiet")
    run.wait_for("handler cannot start", "waiting for the next change")
    (folder / "func.yaml").write_text(FUNC_YAML.replace("batcher: {}", "batcher: {max_batch_size: many}"))
    run.wait_for("func.yaml changed, and cannot be served", "what runs is left as it is; waiting for the next change")
    assert "goes on" not in run.text
    (folder / "func.yaml").write_text(FUNC_YAML)
    (folder / "handler.py").write_text(HANDLER)
    assert infer(base(run)) == [6.0]
    assert run.end() == 0


def test_a_signal_while_it_starts_again_ends_it(folder: Path, started: Callable[..., Run]) -> None:
    run = started("--reload", "--quiet")
    url = base(run)
    (folder / "handler.py").write_text(HANDLER + "\n")
    run.wait_for("handler.py changed")
    assert run.end() == 0
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
        pass
