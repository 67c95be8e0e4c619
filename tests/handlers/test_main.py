"""The handler as the process that runs in the pod: its exit status, its one line, and its life on one port."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.pod import VARIABLE, PodConfig, PodModel, encode
from kfunc.config.residency import ModelCache, Residency
from kfunc.handlers.registry import RUNTIMES
from kfunc.storage.credentials import Credentials
from kfunc.storage.sealing import seal

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SLOW = """
import time
def predict(x):
    time.sleep(float(x[0]))
    return x
"""
V2 = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [0.6]}]}


@contextmanager
def handler(config: PodConfig | None, *arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A handler and the port that it listens on."""
    settings = {VARIABLE: encode(config)} if config is not None else {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [
            sys.executable,
            "-m",
            "kfunc.handlers",
            "--listen",
            f"fd:{listener.fileno()}",
            "--manage",
            "none",
            *arguments,
        ]
        process = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(ROOT), **settings, **environ},
            pass_fds=(listener.fileno(),),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        port = int(listener.getsockname()[1])
    try:
        yield process, port
    finally:
        process.kill()
        process.communicate()


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + 20
    while ask(port, "GET", "/v2/health/ready")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("changes", "environ", "message"),
    [
        ({"uri": "/no/m.onnx"}, {}, "error: /no/m.onnx: there is no such model file (inference.model.uri)\n"),
        ({"uri": "https:me:hush@a/m"}, {}, "error: …@a/m: there is no such model file (inference.model.uri)\n"),
        ({"uri": "https://me:hu/sh@a/m"}, {}, 'error: "https://…@a/m" is no URL\n'),
        ({}, {"KFUNC_WORKERS": "0"}, 'error: KFUNC_WORKERS: expected an integer from 1 to 256, found "0"\n'),
        (
            *({}, {"KFUNC_MODEL_RUNTIME": "fortran"}),
            f'error: KFUNC_MODEL_RUNTIME: expected one of auto, {", ".join(sorted(RUNTIMES))}, found "fortran"\n',
        ),
        (
            *(None, {}),
            "error: KFUNC_CONFIG: KFUNC_CONFIG is not set: start the process with `kfunc run`, or render it "
            "(or set KFUNC_MODEL_URI to the model's path)\n",
        ),
    ],
)
def test_what_starting_again_would_not_mend_ends_with_2_and_one_line(
    configured: Callable[..., PodConfig], changes: Any, environ: dict[str, str], message: str
) -> None:
    config = configured(**changes) if changes is not None else None
    with handler(config, **environ) as (process, _):
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (2, message)


def test_a_sealed_model_that_is_broken_leaves_nothing_decrypted(configured: Callable[..., PodConfig], tmp_path: Path) -> None:
    key = b64encode(bytes(32)).decode()
    name = f"{tmp_path.name}.onnx"
    (tmp_path / name).write_bytes(b"no model")
    seal(tmp_path / name, tmp_path / f"{name}.sealed", "secret", Credentials({"MODEL_KEY": key}))
    with handler(configured(str(tmp_path / f"{name}.sealed"), "onnx", sealed=True), MODEL_KEY=key) as (process, _):
        _, err = process.communicate(timeout=20)
    assert (process.returncode, name in err) == (2, True)
    assert list(Path("/dev/shm").glob(f"kfunc-model-*/{name}")) == []


KILLED = "import os, signal\ndef predict(x):\n    os.kill(os.getpid(), signal.SIGSEGV)\n    return x\n"
STUCK = "import ctypes\ndef predict(x): ctypes.PyDLL(None).usleep(20_000_000)\n"


@pytest.mark.parametrize("text", [KILLED, STUCK], ids=["killed", "stuck"])
@pytest.mark.parametrize("workers", [1, 2])
def test_why_a_process_ended_is_one_object_where_lines_are_json(
    configured: Callable[..., PodConfig], tmp_path: Path, text: str, workers: int
) -> None:
    (tmp_path / "handler.py").write_text(text)
    config = configured(str(tmp_path), "python", hang_timeout_s=1.0, workers=workers, log_format="json")
    with handler(config) as (process, port):
        wait_until_ready(port)
        with pytest.raises(OSError, match=r"closed|reset"):
            ask(port, "POST", "/v2/models/iris/infer", V2)
        if workers > 1:
            time.sleep(1.0)
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    lines = [json.loads(line) for line in err.splitlines()]
    assert {line["level"] for line in lines} <= {"error", "critical", "warning"}
    assert [
        line for line in lines if "SIGSEGV" in line["message"] or "stuck" in line["message"] or "TIMEOUT" in line["message"]
    ]


ENDING = "import os\nos.abort()\n"


def test_a_process_that_a_model_has_ended_says_which_one(configured: Callable[..., PodConfig], tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(ENDING)
    with handler(configured(str(tmp_path), "python")) as (process, _):
        _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGABRT
    assert f"error: ended by SIGABRT while it loaded the model iris from {tmp_path}: the file is damaged, or its library" in err


def test_a_worker_that_a_model_has_ended_says_so_too(configured: Callable[..., PodConfig], tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text(ENDING)
    with handler(configured(str(tmp_path), "python", workers=2)) as (process, _):
        assert process.stderr is not None
        said = next(line for line in process.stderr if "a worker ended" in line)
        process.terminate()
        process.communicate(timeout=20)
    assert f"a worker ended while it loaded the model iris from {tmp_path}: " in said


def test_a_model_whose_first_load_ended_the_process_is_left_alone_by_the_next_one(
    configured: Callable[..., PodConfig], tmp_path: Path
) -> None:
    for name, text in (("good", "def predict(x): return x"), ("bad", ENDING)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "handler.py").write_text(text)
    cache, bad = ModelCache(path=str(tmp_path / "cache")), PodModel(name="bad", uri=str(tmp_path / "bad"), runtime="python")
    config = configured(str(tmp_path / "good"), "python", models=[bad], residency=Residency(wait_s=5.0), model_cache=cache)
    with handler(config) as (process, port):
        wait_until_ready(port)
        with pytest.raises(OSError, match=r"closed|reset"):
            ask(port, "POST", "/v2/models/bad/infer", V2)
        _, err = process.communicate(timeout=20)
    assert f"ended by SIGABRT while it loaded the model bad from {tmp_path / 'bad'}: " in err
    with handler(config) as (process, port):
        wait_until_ready(port)
        assert ask(port, "POST", "/v2/models/bad/infer", V2)[0] == 503
        assert ask(port, "POST", "/v2/models/iris/infer", V2)[0] == 200
        process.terminate()
        _, err = process.communicate(timeout=20)
    assert f"{tmp_path / 'bad'}: loading it has ended the handler once, and is tried again in " in err


def test_liveness_is_answered_while_the_model_loads(configured: Callable[..., PodConfig], tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import time\ntime.sleep(1)\ndef predict(x): return x")
    with handler(configured(str(tmp_path), "python")) as (_, port):
        assert ask(port, "GET", "/v2/health/live") == (200, {"live": True})
        assert ask(port, "GET", "/v2/health/ready") == (
            503,
            {"error": "the model iris is loading", "ready": False, "phase": "loading"},
        )
        wait_until_ready(port)


def test_health_is_answered_while_a_slow_call_runs_and_sigterm_lets_it_finish(
    configured: Callable[..., PodConfig], tmp_path: Path
) -> None:
    (tmp_path / "handler.py").write_text(SLOW)
    with handler(configured(str(tmp_path), "python")) as (process, port):
        wait_until_ready(port)
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", "/v2/models/iris/infer", json.dumps(V2))
        began_at = time.monotonic()
        assert ask(port, "GET", "/v2/health/ready")[0] == 200
        assert time.monotonic() - began_at < 0.5
        process.send_signal(signal.SIGTERM)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["outputs"][0]["data"]) == (200, [0.6])
        connection.close()
        assert process.wait(10) == 0
        _, err = process.communicate()
        assert err == ""


def test_a_model_that_is_stuck_ends_the_handler_with_1(configured: Callable[..., PodConfig], tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("import ctypes\ndef predict(x): ctypes.PyDLL(None).usleep(20_000_000)")
    with handler(configured(str(tmp_path), "python", hang_timeout_s=1.0)) as (process, port):
        wait_until_ready(port)
        with pytest.raises(OSError, match=r"closed|reset"):
            ask(port, "POST", "/v2/models/iris/infer", V2)
        _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "hang_timeout_s" in err


def test_access_lines_that_nobody_reads_hold_nothing_up(configured: Callable[..., PodConfig]) -> None:
    with handler(configured(), "--access-log") as (process, port):
        wait_until_ready(port)
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(2000):  # more than a pipe holds
            connection.request("GET", "/v2?" + "x" * 100)
            assert connection.getresponse().read()
        connection.close()
        process.terminate()
        assert process.wait(10) == 0


FLOWER = {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}


def versions(folder: Path, *numbers: str) -> str:
    for number in numbers:
        (folder / number).mkdir()
        shutil.copy(ROOT / "examples/iris/model.onnx", folder / number)
    return str(folder)


def test_versions_in_a_folder_are_served_and_changed_on_the_management_port(
    configured: Callable[..., PodConfig], tmp_path: Path
) -> None:
    manage = socket.create_server(("127.0.0.1", 0))
    at = manage.getsockname()[1]
    manage.close()
    config = configured(versions(tmp_path, "1", "2"), "auto", model_management=True)
    with handler(config, "--manage", f"127.0.0.1:{at}") as (process, port):
        wait_until_ready(port)
        assert ask(port, "POST", "/v2/models/iris/infer", FLOWER)[1]["model_version"] == "2"
        assert ask(port, "POST", "/v2/models/iris/versions/1/infer", FLOWER)[1]["model_version"] == "1"
        assert ask(port, "GET", "/v2/models/iris")[1]["versions"] == ["1", "2"]
        assert ask(at, "POST", "/v2/repository/models/iris/unload")[0] == 200
        assert ask(port, "POST", "/v2/models/iris/infer", FLOWER)[0] == 404
        versions(tmp_path, "3")
        assert ask(at, "POST", "/v2/repository/models/iris/load") == (200, {"name": "iris", "load": True})
        assert ask(port, "POST", "/v2/models/iris/infer", FLOWER)[1]["model_version"] == "3"
        process.terminate()
        assert process.wait(10) == 0


def test_a_broken_version_keeps_the_handler_from_starting(configured: Callable[..., PodConfig], tmp_path: Path) -> None:
    versions(tmp_path, "1", "2")
    (tmp_path / "2/model.onnx").write_bytes(b"broken")
    with handler(configured(str(tmp_path), "auto")) as (process, _):
        _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    chosen, error = err.splitlines()
    assert chosen == "INFO kfunc.progress: model iris: runtime onnx, as the folder holds model.onnx"
    assert error.startswith(f"error: {tmp_path}/2/model.onnx: onnxruntime cannot open it: ")
