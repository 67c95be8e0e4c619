"""The watcher with real processes: what it passes on, and whom it ends."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kfunc.process.watcher import CURE, Note

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PREPARED = """\
import os, signal, sys, time
from kfunc.process.watcher import STOP_SIGNALS, watch
heartbeat = watch()
def ready(): print("ready", os.getpid(), flush=True)
def wait_for_stop():
    ready()
    return signal.sigwait(STOP_SIGNALS)
"""


@contextmanager
def watched(program: str, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    command = [*prefix, sys.executable, "-c", PREPARED + program]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until_ready(process: subprocess.Popen[str]) -> int:
    """The child's process id, once it says that it is there."""
    assert process.stdout is not None
    word, _, pid = process.stdout.readline().partition(" ")
    assert word == "ready"
    return int(pid)


@pytest.mark.parametrize("status", [0, 1, 2, 77])
def test_the_exit_status_is_passed_on(status: int) -> None:
    with watched(f"os._exit({status})") as process:
        assert process.wait(10) == status


def test_a_child_that_a_signal_ended_is_told_apart() -> None:
    with watched("os.kill(os.getpid(), signal.SIGSEGV)") as process:
        _, err = process.communicate(timeout=10)
        assert (process.returncode, err) == (128 + signal.SIGSEGV, "error: ended by SIGSEGV\n")


def test_what_a_child_did_that_ended_it_is_told_and_counted(tmp_path: Path) -> None:
    record = tmp_path / "ended" / "model"
    begin = f"heartbeat.note.begin('loaded the model iris', {str(record)!r}); "
    for count in (1, 2):
        with watched(f"{begin}os.kill(os.getpid(), signal.SIGSEGV)") as process:
            _, err = process.communicate(timeout=10)
        assert err == f"error: ended by SIGSEGV while it loaded the model iris: {CURE}\n"
        assert record.stat().st_size == count
    with watched(f"{begin}os.kill(os.getpid(), signal.SIGKILL)") as process:
        _, err = process.communicate(timeout=10)
    assert "ended by SIGKILL while it loaded the model iris: memory may be short: give the container more; or the file" in err


@pytest.mark.parametrize("how", ["heartbeat.note.end(); os.abort()", "os._exit(3)"])
def test_what_was_done_or_did_not_end_a_child_is_not_told(tmp_path: Path, how: str) -> None:
    with watched(f"heartbeat.note.begin('loaded', {str(tmp_path / 'record')!r}); {how}") as process:
        _, err = process.communicate(timeout=10)
    assert "loaded" not in err
    assert not (tmp_path / "record").exists()


def test_a_note_is_cut_to_its_place() -> None:
    note = Note()
    note.begin("é" * 5000, "/record")
    text, record = note.read()
    assert (set(text) <= {"é", "\ufffd"}, len(text) < 1100, record) == (True, True, "/record")
    note.begin("short", "/" + "x" * 5000)
    assert note.read() == ("short", "")


def test_records_that_are_old_go_when_another_is_made(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b".")
    os.utime(tmp_path / "old", (1.0, 1.0))
    note = Note()
    note.begin("loaded", str(tmp_path / "new"))
    note.count()
    assert [each.name for each in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_reaches_the_child(number: signal.Signals) -> None:
    with watched("os._exit(40 + wait_for_stop())") as process:
        until_ready(process)
        process.send_signal(number)
        assert process.wait(10) == 40 + number


def test_a_request_to_stop_that_comes_early_is_not_lost() -> None:
    with watched("ready(); time.sleep(0.3); os._exit(40 + signal.sigwait(STOP_SIGNALS))") as process:
        until_ready(process)
        process.terminate()
        assert process.wait(10) == 40 + signal.SIGTERM


def test_a_child_that_holds_the_gil_past_its_promise_is_ended_with_1() -> None:
    program = "import ctypes; heartbeat.promise(0.2); ctypes.PyDLL(None).usleep(20_000_000)"
    with watched(program) as process:
        began_at = time.monotonic()
        _, err = process.communicate(timeout=10)
        assert time.monotonic() - began_at < 5
        assert process.returncode == 1
        assert err.startswith("error: ")
        assert "hang_timeout_s" in err


def test_a_child_that_has_promised_nothing_yet_may_take_its_time() -> None:
    with watched("time.sleep(0.8); os._exit(3)") as process:
        assert process.wait(10) == 3


def test_a_child_that_renews_its_promise_lives() -> None:
    with watched("for _ in range(8): heartbeat.promise(0.3); time.sleep(0.1)\nos._exit(4)") as process:
        assert process.wait(10) == 4


def test_a_child_notices_that_its_watcher_is_gone() -> None:
    program = "ready()\nwhile not heartbeat.orphaned(): time.sleep(0.01)\nprint('orphaned', flush=True)"
    with watched(program) as process:
        until_ready(process)
        process.kill()
        out, _ = process.communicate(timeout=10)
        assert out == "orphaned\n"


def namespaces() -> str:
    """Why there can be no process with the id 1 here, or nothing."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "a process id namespace needs root and unshare"
    tried = subprocess.run(["unshare", "--fork", "--pid", "--mount-proc", "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip()


as_pid_1 = pytest.mark.skipif(bool(namespaces()), reason=namespaces() or "there are process id namespaces")
UNSHARE = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")


@as_pid_1
def test_as_pid_1_the_exit_status_is_passed_on_and_orphans_are_reaped() -> None:
    program = """
if os.fork() == 0:
    if os.fork() == 0:
        time.sleep(0.2)
        os._exit(0)
    os._exit(0)
os.wait()
time.sleep(0.8)
zombies = [pid for pid in os.listdir("/proc") if pid.isdigit() and ") Z " in open(f"/proc/{pid}/stat").read()]
print(os.getppid(), zombies, flush=True)
os._exit(5)
"""
    with watched(program, *UNSHARE) as process:
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (5, "1 []\n", "")


@as_pid_1
def test_as_pid_1_a_request_to_stop_reaches_the_child() -> None:
    with watched("os._exit(40 + wait_for_stop())", *UNSHARE) as process:
        until_ready(process)
        (watcher,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(watcher), signal.SIGTERM)
        assert process.wait(10) == 40 + signal.SIGTERM
