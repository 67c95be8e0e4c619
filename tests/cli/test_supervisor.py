"""The supervisor with tiny real programs for children, in a process of its own as `kfunc run` has it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from selectors import BaseSelector

import pytest

from kfunc.cli.supervisor import Supervisor

HARNESS = """
import socket, sys
from kfunc.cli.child import Program
from kfunc.cli.supervisor import Supervisor, catch_signals
grace_s, *scripts = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
programs = [
    Program(name, ["-c", script.replace("FD", str(listener.fileno()))], {}, ".", [listener.fileno()])
    for name, _, script in (text.partition("=") for text in scripts)
]
ready = lambda: print("ready", flush=True)
sys.exit(Supervisor(programs, listener, float(grace_s), ready, kill_after_s=0.5).run(catch_signals()))
"""

SLEEPS = "import time\ntime.sleep(60)"

# Says its number, and on SIGTERM that it ends.
POLITE = """
import os, signal, sys
def end(*_):
    os.write(2, b"{name} ends\\n")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
print("{name} is", os.getpid(), file=sys.stderr, flush=True)
while True:
    signal.pause()
"""

STUBBORN = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn is", os.getpid(), file=sys.stderr, flush=True)
"""

# Stops listening on SIGTERM, and goes on.
DRAINING = """
import signal, socket, sys, time
listener = socket.socket(fileno=FD)
signal.signal(signal.SIGTERM, lambda *_: listener.close())
print("port is", listener.getsockname()[1], file=sys.stderr, flush=True)
time.sleep(60)
"""

# Answers each connection with the next of these statuses, the last for ever.
SERVER = """
import socket
listener = socket.socket(fileno=FD)
statuses = [{statuses}]
while True:
    connection, _ = listener.accept()
    connection.recv(4096)
    status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
    connection.sendall(b"HTTP/1.1 %d x\\r\\nContent-Length: 0\\r\\n\\r\\n" % status)
    connection.close()
"""


class Run:
    """A supervisor that runs, with what it and its children have said."""

    def __init__(self, folder: Path, grace_s: float, programs: dict[str, str]) -> None:
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HARNESS, str(grace_s), *(f"{name}={script}" for name, script in programs.items())],
                stdout=out,
                stderr=err,
                preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # the tests may run under nohup
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain\nstdout: {self.out}\nstderr: {self.err}"
            time.sleep(0.01)

    def number_of(self, name: str) -> int:
        """The number that the child has said last, its pid in most cases."""
        self.wait_for(lambda: f"{name} is " in self.err)
        return int(self.err.rpartition(f"{name} is ")[2].split()[0])

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    begun: list[Run] = []

    def begin(grace_s: float = 1.0, **programs: str) -> Run:
        begun.append(Run(tmp_path, grace_s, programs))
        return begun[-1]

    yield begin
    for run in begun:
        run.process.kill()
        run.process.wait()


def runs(pid: int) -> bool:
    """Whether the process is there and not one of the dead that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_with_status_0(start: Start, number: int) -> None:
    run = start(handler=POLITE.format(name="handler"))
    pid = run.number_of("handler")
    assert run.end(number) == 0
    assert not runs(pid)


def test_children_end_from_the_outermost_inwards(start: Start) -> None:
    run = start(**{name: POLITE.format(name=name) for name in ("logger", "batcher", "handler")})
    for name in ("logger", "batcher", "handler"):
        run.number_of(name)
    run.end()
    assert [line for line in run.err.splitlines() if line.endswith("ends")] == [
        "[logger] logger ends",
        "[batcher] batcher ends",
        "[handler] handler ends",
    ]


def test_a_killed_child_is_started_again_and_the_signal_is_named(start: Start) -> None:
    run = start(handler=POLITE.format(name="handler"))
    pid = run.number_of("handler")
    os.kill(pid, signal.SIGKILL)
    run.wait_for(lambda: run.err.count("handler is") == 2)
    assert "kfunc: handler ended (signal SIGKILL), starting it again in 0.1 s" in run.err
    assert run.number_of("handler") != pid


def test_a_child_that_fails_is_started_again_ever_more_slowly(start: Start) -> None:
    run = start(handler="raise SystemExit(3)")
    run.wait_for(lambda: run.err.count("exit status 3") >= 3)
    assert [line.rpartition(" in ")[2] for line in run.err.splitlines()][:3] == ["0.1 s", "0.2 s", "0.4 s"]


def test_what_a_dead_child_had_started_is_killed_before_it_starts_again(start: Start) -> None:
    script = "import os\nif os.fork() == 0:\n" + "".join(
        f"    {line}\n" for line in POLITE.format(name="worker").strip().splitlines()
    )
    run = start(handler=f"{script}\nimport time\ntime.sleep(0.5)\nraise SystemExit(1)")
    worker = run.number_of("worker")
    run.wait_for(lambda: "starting it again" in run.err)
    run.wait_for(lambda: not runs(worker))


def test_a_child_that_cannot_start_ends_everything_with_its_message_and_status_2(start: Start) -> None:
    run = start(logger=SLEEPS, handler="import sys\nprint('error: no model', file=sys.stderr)\nsys.exit(2)")
    assert run.process.wait(10) == 2
    assert run.err.splitlines() == ["[handler] error: no model", "kfunc: handler cannot start (exit status 2)"]


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace_time(start: Start) -> None:
    run = start(grace_s=0.4, handler=STUBBORN + SERVER.format(statuses="200"))
    pid = run.number_of("stubborn")
    run.wait_for(lambda: run.out == "ready\n")
    assert run.end() == 1
    assert not runs(pid)
    assert run.err.endswith("kfunc: handler: killed after 0.9 s\n")


def test_before_readiness_there_is_no_grace_time(start: Start) -> None:
    run = start(grace_s=60, handler=STUBBORN + SLEEPS)
    run.number_of("stubborn")
    assert run.end() == 1
    assert run.err.endswith("kfunc: handler: killed after 0.5 s\n")


def ready_and_stubborn(start: Start) -> Run:
    run = start(grace_s=60, handler=STUBBORN + SERVER.format(statuses="200"))
    run.wait_for(lambda: run.out == "ready\n")
    return run


def test_a_second_ctrl_c_kills(start: Start) -> None:
    run = ready_and_stubborn(start)
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert run.process.poll() is None
    assert run.end(signal.SIGINT) == 1
    assert not runs(run.number_of("stubborn"))


def test_a_second_sigterm_does_not_kill(start: Start) -> None:
    run = ready_and_stubborn(start)
    for _ in range(2):
        run.process.terminate()
        time.sleep(0.2)
    assert run.process.poll() is None
    os.kill(run.number_of("stubborn"), signal.SIGKILL)  # it would outlive the test


def test_a_child_that_fails_at_the_end_makes_the_whole_fail(start: Start) -> None:
    run = start(handler=POLITE.format(name="handler").replace("_exit(0)", "_exit(3)"))
    run.number_of("handler")
    assert run.end() == 1
    assert run.err.endswith("kfunc: handler ended (exit status 3)\n")


def test_while_the_last_requests_are_finished_new_ones_are_refused(start: Start) -> None:
    run = start(handler=DRAINING)
    address = ("127.0.0.1", run.number_of("port"))
    socket.create_connection(address).close()
    run.process.terminate()
    run.wait_for(lambda: refuses(address))
    assert run.process.poll() is None


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 1).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: the listener was closed on the way
        return True
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_children_end_when_the_supervisor_is_killed(start: Start) -> None:
    run = start(handler=POLITE.format(name="handler"))
    pid = run.number_of("handler")
    run.process.kill()
    run.wait_for(lambda: not runs(pid))


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_alone(start: Start) -> None:
    run = start(handler=POLITE.format(name="handler"))
    pid = run.number_of("handler")
    assert os.getpgid(pid) != os.getpgid(run.process.pid)
    assert os.getsid(pid) != os.getsid(run.process.pid)


def test_standard_output_of_a_child_passes_unchanged(start: Start) -> None:
    run = start(handler=f"print('GET / 200', flush=True)\n{SLEEPS}")
    run.wait_for(lambda: run.out == "GET / 200\n")


def test_last_words_without_a_line_end_are_passed_on(start: Start) -> None:
    run = start(handler="import sys\nsys.stderr.write('oh')\nsys.exit(2)")
    run.process.wait(10)
    assert "[handler] oh\n" in run.err


def test_a_flood_on_standard_error_arrives_whole(start: Start) -> None:
    run = start(handler="import sys\nfor i in range(20000): print('line', i, file=sys.stderr)\nsys.exit(2)")
    run.process.wait(20)
    assert run.err.splitlines()[:-1] == [f"[handler] line {i}" for i in range(20000)]


def test_a_child_that_closes_its_standard_error_costs_nothing(start: Start) -> None:
    run = start(handler=f"{POLITE.format(name='handler').replace('signal.pause()', 'os.close(2); signal.pause()')}")
    run.number_of("handler")
    time.sleep(0.3)
    before = cpu_ticks(run.process.pid)
    time.sleep(0.5)
    assert cpu_ticks(run.process.pid) - before <= 2


def cpu_ticks(pid: int) -> int:
    """User and system time (proc(5), /proc/pid/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_readiness_is_reported_once_the_answer_is_200(start: Start) -> None:
    run = start(handler=SERVER.format(statuses="503, 503, 200"))
    run.wait_for(lambda: run.out == "ready\n")
    time.sleep(0.2)
    assert run.out == "ready\n"


def test_readiness_is_reported_again_after_a_restart(start: Start) -> None:
    run = start(handler="import os, sys\nprint('handler is', os.getpid(), file=sys.stderr)\n" + SERVER.format(statuses="200"))
    run.wait_for(lambda: run.out == "ready\n")
    os.kill(run.number_of("handler"), signal.SIGKILL)
    run.wait_for(lambda: run.out == "ready\nready\n")


def test_a_child_that_dies_with_the_question_in_hand_is_asked_again(start: Start) -> None:
    dies = "import os, socket\nc = socket.socket(fileno=FD).accept()[0]\nc.recv(10)\nos._exit(1)"
    run = start(
        handler=dies,
        batcher="import time\ntime.sleep(0.6)\n" + SERVER.format(statuses="200"),
    )
    run.wait_for(lambda: "ready\n" in run.out)


def test_a_stop_before_readiness_reports_none(start: Start) -> None:
    run = start(handler=POLITE.format(name="handler"))
    run.number_of("handler")
    assert run.end() == 0
    assert run.out == ""


class Never:
    """Replacements that do not come, and observers that count themselves."""

    due = 0.0

    def step(self, now: float) -> None:
        """Nothing has changed."""


def test_while_it_stops_it_does_not_wake_for_changes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor([], listener, 1.0, lambda: None, replacements=Never())
        assert supervisor._timeout(100.0) == 0.0
        supervisor._kill_at = 130.0
        assert supervisor._timeout(100.0) == 30.0


def test_what_looks_on_is_made_anew_with_each_replacement() -> None:
    made: list[Watcher] = []

    def observe(_: BaseSelector) -> Watcher:
        made.append(Watcher())
        return made[-1]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor = Supervisor([], listener, 1.0, lambda: None, observe=observe)
        supervisor._start_next(0.0, [])
    assert [each.closed for each in made] == [True, False]


class Watcher:
    due: float | None = None
    closed = False

    def step(self, now: float) -> None:
        """Nothing to see."""

    def close(self) -> None:
        self.closed = True
