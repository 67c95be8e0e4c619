"""`kfunc run` as a user has it: real processes, the real model of examples/iris, requests over HTTP."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FUNC_YAML = """\
specVersion: 0.36.0
name: iris
created: 2026-11-21T00:00:00Z
runtime: python
inference:
  model: {uri: ./model.onnx}
  grace_s: 5
  batcher: {max_batch_size: 32, max_latency_ms: 5}
  logger: {mode: all}
"""
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
V2 = {"inputs": [{"name": "input", "shape": [2, 4], "datatype": "FP32", "data": ROWS}]}
PROCESSES = ("logger", "batcher", "handler")
MODULES = {"logger": "kfunc.logger_sidecar", "batcher": "kfunc.batcher_sidecar", "handler": "kfunc.handlers"}

pytestmark = pytest.mark.integration


def environ(folder: Path, **more: str) -> dict[str, str]:
    """Temporary files of a run go to a folder of its own, so that what is left behind can be seen."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    path = os.pathsep.join([str(ROOT), *([os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else [])])
    return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary), **more}


class Run:
    """A `kfunc run` and what it prints."""

    def __init__(self, folder: Path, *arguments: str, variables: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._out, self._err = folder / "out.txt", folder / "err.txt"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "kfunc", "run", str(folder), "--port", "0", *arguments],
                stdout=out,
                stderr=err,
                env=environ(folder, **(variables or {})),
            )

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        """End it, by force if it does not by request."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def wait_for(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain\nstdout: {self.out}\nstderr: {self.err}"
            time.sleep(0.01)

    def wait_until_ready(self) -> "Run":
        self.wait_for(lambda: "ready: " in self.out or self.process.poll() is not None)
        assert self.process.poll() is None, self.err
        return self

    @property
    def port(self) -> int:
        return int(self.out.rpartition("ready: http://127.0.0.1:")[2].split()[0].rstrip('"}'))  # or in a JSON object

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers or {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        return response.status, json.loads(content) if content else None

    def infer(self) -> tuple[int, Any]:
        return self.request("POST", "/v2/models/iris/infer", V2)

    def answers(self) -> bool:
        try:
            return self.infer()[0] == 200
        except OSError:
            return False

    def pids(self) -> dict[str, int]:
        """The children, by the module that they run."""
        found: dict[str, int] = {}
        for pid in children(self.process.pid):
            line = command_line(pid)
            found |= {name: pid for name, module in MODULES.items() if module in line}
        return found

    def events(self) -> list[dict[str, Any]]:
        path = self.folder / ".kfunc/events.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid: int) -> list[int]:
    return [each for child in children(pid) for each in (child, *descendants(child))]


def command_line(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def make_function(folder: Path, text: str = FUNC_YAML) -> Path:
    (folder / "func.yaml").write_text(text)
    shutil.copyfile(ROOT / "examples/iris/model.onnx", folder / "model.onnx")
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    with ExitStack() as begun:
        yield lambda *arguments, text=FUNC_YAML: begun.enter_context(
            Run(make_function(tmp_path, text), *arguments)
        ).wait_until_ready()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """One run for all tests that only ask it things."""
    with Run(make_function(tmp_path_factory.mktemp("served"))) as run:
        yield run.wait_until_ready()
        assert run.end() == 0


Start = Callable[..., Run]


def kfunc(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A `kfunc` command that ends by itself."""
    command = [sys.executable, "-m", "kfunc", *arguments]
    return subprocess.run(command, env=environ(folder, **more), capture_output=True, text=True, timeout=60)


def test_the_three_processes_of_the_pod_run(served: Run) -> None:
    assert set(served.pids()) == set(PROCESSES)


def test_the_first_lines_say_what_runs_and_the_last_that_it_is_ready(served: Run) -> None:
    lines = served.out.partition("ready: ")[0].splitlines()
    assert lines[0] == "iris: ./model.onnx with onnx (the name ends in .onnx), REST v1, v2 and gRPC"
    assert lines[1].startswith("metrics: logger http://127.0.0.1:")
    assert lines[2] == f"events: {served.folder}/.kfunc/events.jsonl"
    assert served.out.count("ready: ") == 1


def test_v2_infer_answers_for_each_row(served: Run) -> None:
    status, answer = served.infer()
    assert status == 200
    assert answer["model_name"] == "iris"
    label = next(output for output in answer["outputs"] if output["name"] == "label")
    assert (label["datatype"], label["shape"], label["data"]) == ("INT64", [2], [0, 2])


def test_v1_predict_answers_for_each_row(served: Run) -> None:
    status, answer = served.request("POST", "/v1/models/iris:predict", {"instances": ROWS})
    assert status == 200
    assert [row["label"] for row in answer["predictions"]] == [0, 2]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/health/live", 200),
        ("/v2/health/ready", 200),
        ("/v2", 200),
        ("/v2/models/iris", 200),
        ("/v2/models/iris/versions/1", 200),
        ("/v2/models/iris/ready", 200),
        ("/v1/models", 200),
        ("/v1/models/iris", 200),
        ("/v2/models/rose", 404),
        ("/v1/models/rose", 404),
        ("/nothing", 404),
    ],
)
def test_every_path_answers_through_all_processes(served: Run, path: str, expected: int) -> None:
    status, answer = served.request("GET", path)
    assert status == expected
    assert status == 200 or isinstance(answer["error"], str)


def test_a_wrong_request_is_answered_with_400_and_the_reason(served: Run) -> None:
    wrong = {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3]}]}
    status, answer = served.request("POST", "/v2/models/iris/infer", wrong)
    assert status == 400
    assert "4" in answer["error"]


def test_request_and_response_events_share_the_call_s_id(served: Run) -> None:
    served.request("POST", "/v2/models/iris/infer", V2, {"x-request-id": "call-1"})
    served.wait_for(lambda: sum(event["correlationid"] == "call-1" for event in served.events()) == 2)
    request, response = [event for event in served.events() if event["correlationid"] == "call-1"]
    assert [request["type"], response["type"]] == ["io.kfunc.inference.request", "io.kfunc.inference.response"]
    assert request["data"] == V2
    assert response["data"]["model_name"] == "iris"


def test_each_request_is_one_line_on_standard_output(served: Run) -> None:
    served.request("GET", "/v2/models/tulip")
    served.wait_for(lambda: "tulip" in served.out)
    assert [line for line in served.out.splitlines() if line.startswith("GET /v2/models/tulip 404 ")]
    assert served.out.count("tulip") == 1


def test_the_printed_metrics_address_shows_all_processes(served: Run) -> None:
    address = served.out.partition("metrics: logger http://")[2].partition("/")[0]
    connection = HTTPConnection(address, timeout=10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    assert all(f'component="{name}"' in text for name in PROCESSES)


def test_invoke_makes_a_request_from_the_metadata_and_shows_the_answer(served: Run) -> None:
    result = kfunc(served.folder, "invoke", str(served.folder), "--url", f"http://127.0.0.1:{served.port}")
    assert result.returncode == 0, result.stderr
    assert "200 OK in " in result.stdout
    assert "label INT64 [1]" in result.stdout


def test_invoke_finds_the_only_model_of_a_server_by_itself(served: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kfunc", "invoke", "--url", f"http://127.0.0.1:{served.port}", "--output", "json"]
    result = subprocess.run(command, env=environ(tmp_path), cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert json.loads(result.stdout)["model_name"] == "iris"


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_invoke_wraps_a_bare_row(served: Run, protocol: str) -> None:
    row = "[[6.7, 3.0, 5.2, 2.3]]"
    url = f"http://127.0.0.1:{served.port}"
    result = kfunc(served.folder, "invoke", str(served.folder), "--url", url, "--data", row, "--protocol", protocol)
    assert result.returncode == 0, result.stderr
    assert "2" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_and_leaves_nothing(start: Start, number: int) -> None:
    run = start()
    pids = descendants(run.process.pid)
    assert run.end(number) == 0, run.err
    assert not [pid for pid in pids if runs(pid)]
    assert not list((run.folder / "tmp").glob("kfunc*"))
    assert run.err == ""


@pytest.mark.parametrize("milliseconds", [60, 120, 180, 240, 300, 400])
def test_a_signal_at_any_time_of_the_start_ends_everything_soon(tmp_path: Path, milliseconds: int) -> None:
    with Run(make_function(tmp_path)) as run:
        time.sleep(milliseconds / 1000)
        pids = descendants(run.process.pid)
        run.process.terminate()
        assert run.process.wait(4) in (0, -signal.SIGTERM), run.err
        assert not [pid for pid in pids if runs(pid)]
        assert not list((tmp_path / "tmp").glob("kfunc*"))


def test_several_workers_end_on_a_signal_too(start: Start) -> None:
    run = start(text=f"{FUNC_YAML}  workers: 2\n")
    pids = descendants(run.process.pid)
    assert run.answers()
    run.process.terminate()
    assert run.process.wait(8) == 0, run.err
    assert run.err == ""
    assert not [pid for pid in pids if runs(pid)]


def test_a_stuck_model_is_ended_and_the_function_serves_again(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_text(
        "name: iris\ninference: {model: {uri: handler.py}, hang_timeout_s: 1, batcher: {}, logger: {}}"
    )
    (tmp_path / "handler.py").write_text("import time\ndef predict(x):\n    time.sleep(1000 * (x[0] > 5))\n    return x\n")
    with Run(tmp_path) as run:
        run.wait_until_ready()
        tensor = {"name": "x", "shape": [1], "datatype": "FP64"}
        assert run.request("POST", "/v2/models/iris/infer", {"inputs": [{**tensor, "data": [6.0]}]})[0] == 502
        run.wait_for(lambda: "serving again" in run.err)
        assert "stuck" in run.err
        assert run.request("POST", "/v2/models/iris/infer", {"inputs": [{**tensor, "data": [1.0]}]})[0] == 200


def test_the_events_of_a_request_just_before_the_end_are_kept(start: Start) -> None:
    run = start()
    run.infer()
    run.end()
    assert len(run.events()) == 2


@pytest.mark.parametrize("name", PROCESSES)
def test_a_killed_process_is_started_again_and_serves(start: Start, name: str) -> None:
    run = start()
    pid = run.pids()[name]
    os.kill(pid, signal.SIGKILL)
    run.wait_for(lambda: "serving again" in run.err)
    assert f"kfunc: {name} ended (signal SIGKILL), starting it again in 0.1 s" in run.err
    assert run.answers()
    assert run.pids()[name] != pid


@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_that_is_asked_to_end_is_started_again(start: Start, name: str) -> None:
    run = start()
    os.kill(run.pids()[name], signal.SIGTERM)
    run.wait_for(lambda: "serving again" in run.err)
    assert f"kfunc: {name} ended (exit status 0)" in run.err
    assert run.answers()


def test_children_end_when_kfunc_run_is_killed(start: Start) -> None:
    run = start()
    pids = descendants(run.process.pid)
    run.process.kill()
    run.wait_for(lambda: not any(runs(pid) for pid in pids))


def test_quiet_prints_the_ready_line_only(start: Start) -> None:
    run = start("--quiet")
    run.infer()
    assert run.out == f"ready: http://127.0.0.1:{run.port}\n"


def test_a_long_path_for_temporary_files_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 15)
    folder.mkdir()
    with Run(make_function(folder)) as run:
        assert run.wait_until_ready().end() == 0, run.err


def test_without_batcher_and_logger_the_handler_serves_alone(start: Start) -> None:
    run = start(text="\n".join(FUNC_YAML.splitlines()[:-2]))
    assert set(run.pids()) == {"handler"}
    assert run.answers()
    assert not (run.folder / ".kfunc").exists()


def test_a_sink_on_the_command_line_gets_the_events(start: Start, tmp_path: Path) -> None:
    run = start("--sink", f"file:{tmp_path}/other.jsonl")
    run.infer()
    run.end()
    assert len((tmp_path / "other.jsonl").read_text().splitlines()) == 2
    assert not (run.folder / ".kfunc/events.jsonl").exists()


def test_the_folder_for_events_is_hidden_from_git(start: Start) -> None:
    assert (start().folder / ".kfunc/.gitignore").read_text() == "*\n"


def test_a_setting_in_the_environment_wins_over_func_yaml(tmp_path: Path) -> None:
    result = kfunc(tmp_path, "run", str(make_function(tmp_path)), KFUNC_WORKERS="many")
    assert result.returncode == 2
    assert result.stderr == 'KFUNC_WORKERS: expected an integer from 1 to 256, found "many"\n'


def test_a_port_in_use_is_named_with_its_holder_and_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        result = kfunc(tmp_path, "run", str(make_function(tmp_path)), "--port", str(port))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert f"port {port} is in use by " in result.stderr
    assert f"(pid {os.getpid()})" in result.stderr
    assert "--port" in result.stderr


def test_a_missing_model_is_one_line_that_names_it(tmp_path: Path) -> None:
    (make_function(tmp_path) / "model.onnx").unlink()
    result = kfunc(tmp_path, "run", str(tmp_path), "--port", "0")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert f"{tmp_path}/model.onnx" in result.stderr
    assert "inference.model.uri" in result.stderr


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(tmp_path: Path) -> None:
    make_function(tmp_path)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['onnxruntime'] = None")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    result = kfunc(tmp_path, "run", str(tmp_path), "--port", "0", PYTHONPATH=path)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "onnxruntime" in result.stderr
    assert "[onnx]'" in result.stderr


def test_a_broken_model_ends_everything_with_the_reason(tmp_path: Path) -> None:
    (make_function(tmp_path) / "model.onnx").write_bytes(b"not a model")
    result = kfunc(tmp_path, "run", str(tmp_path), "--port", "0")
    assert result.returncode == 2
    assert "[handler] error: " in result.stderr
    assert "model.onnx" in result.stderr
    assert "Traceback" not in result.stderr
    assert "ready: " not in result.stdout


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("uri: ./model.onnx", "url: ./model.onnx", "6:11", "uri"),
        ("max_batch_size: 32", "max_batch_size: many", "8:29", "integer"),
        ("mode: all", "mode: al", "9:18", "all"),
        ("  batcher:", "\tbatcher:", "8:1", "tab"),
        ("name: iris", "name: iris\nname: rose", "3:1", "name"),
    ],
)
def test_a_wrong_func_yaml_is_refused_with_the_place_and_the_remedy(
    tmp_path: Path, old: str, new: str, place: str, words: str
) -> None:
    result = kfunc(tmp_path, "run", str(make_function(tmp_path, FUNC_YAML.replace(old, new))))
    assert result.returncode == 2
    assert place in result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_what_init_writes_is_valid_runs_and_answers(tmp_path: Path) -> None:
    folder = tmp_path / "Row Statistics"
    assert kfunc(tmp_path, "init", str(folder)).returncode == 0
    assert kfunc(tmp_path, "validate", str(folder)).returncode == 0
    with Run(folder) as run:
        url = f"http://127.0.0.1:{run.wait_until_ready().port}"
        result = kfunc(tmp_path, "invoke", str(folder), "--url", url)
        assert result.returncode == 0, result.stderr
        assert "mean FP32 [1]" in result.stdout


def test_init_for_a_model_elsewhere_makes_a_folder_that_runs(tmp_path: Path) -> None:
    folder = tmp_path / "flowers"
    assert kfunc(tmp_path, "init", str(folder), "--model", str(ROOT / "examples/iris/model.onnx")).returncode == 0
    with Run(folder) as run:
        assert run.wait_until_ready().request("POST", "/v2/models/flowers/infer", V2)[0] == 200
