"""What the pod's processes have imported by the time they have answered V1 and V2: the price of their start and memory."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from kfunc.config import pod
from kfunc.config.batcher import Batcher
from kfunc.config.inference import Limits
from kfunc.config.logger import Logger

ROOT = Path(__file__).parent.parent
PROCESSES = ("handler", "batcher", "logger")
IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s*([\w.]+)", re.MULTILINE)

# Commands, pages and later protocols use them; nothing that answers a request does.
COMMANDS_AND_PAGES = {"click", "rich", "ruamel", "flask", "werkzeug", "jinja2", "cloudevents", "gunicorn"}
HEAVY = {"hpack", "grpc", "google", "kubernetes", "opentelemetry", "pydantic", "prometheus_client", "simdjson", "zstandard"}
# Each costs about as much to import as the event loop.
COSTLY_STANDARD_LIBRARY = {"argparse", "dataclasses", "email", "pydoc", "random", "unittest", "xml"}
ARRAYS_AND_MODELS = {"numpy", "onnxruntime", "sklearn", "scipy", "joblib", "skops"}

REQUESTS = (
    ("/v2/models/iris/infer", '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'),
    ("/v1/models/iris:predict", '{"instances":[[5.1,3.5,1.4,0.2]]}'),
)

pytestmark = pytest.mark.integration


def settings(folder: Path) -> str:
    model = pod.PodModel(name="iris", uri=str(ROOT / "examples/iris/model.onnx"), runtime="onnx")
    return pod.encode(
        pod.PodConfig(
            function="iris",
            namespace="default",
            model=model,
            protocols=["v1", "v2", "grpc"],
            accelerator="cpu",
            workers=1,
            timeout_s=30.0,
            hang_timeout_s=60.0,
            grace_s=5.0,
            limits=Limits(),
            batcher=Batcher(),
            logger=Logger(sink=f"file:{folder}/events.jsonl"),
        )
    )


def command(process: str, folder: Path) -> list[str]:
    listen = ["--listen", f"unix:{folder}/{process}", "--manage", "none"]
    if process == "handler":
        return [sys.executable, "-m", "kfunc.handlers", *listen]
    upstream = PROCESSES[PROCESSES.index(process) - 1]
    return [sys.executable, "-m", f"kfunc.{process}_sidecar", *listen, "--upstream", f"unix:{folder}/{upstream}"]


def status(path: Path, target: str, body: str) -> int:
    """The status of a POST over a Unix socket; 0 where nobody listens yet."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return 0
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        client.sendall((head + body).encode())
        return int(client.makefile("rb").readline().split()[1])


def wait_for_200(path: Path, target: str, body: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while (answer := status(path, target, body)) != 200:
        assert process.poll() is None, "the process has ended"
        assert time.monotonic() < deadline, f"still {answer}"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Packages and modules by process, of a chain that has answered each of REQUESTS."""
    folder = tmp_path_factory.mktemp("imports")
    env = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1", "PYTHONPATH": str(ROOT), pod.VARIABLE: settings(folder)}
    with ExitStack() as stack:
        running = {}
        for name in PROCESSES:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            running[name] = stack.enter_context(subprocess.Popen(command(name, folder), env=env, stderr=log))
            stack.callback(running[name].send_signal, signal.SIGTERM)
            for target, body in REQUESTS:
                wait_for_200(folder / name, target, body, running[name])
    return {name: set(IMPORTED.findall((folder / f"{name}.log").read_text())) for name in PROCESSES}


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_of_the_pod_does_not_import_what_commands_and_pages_use(imported: dict[str, set[str]], process: str) -> None:
    assert imported[process] & COMMANDS_AND_PAGES == set()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_of_the_pod_imports_no_heavy_library(imported: dict[str, set[str]], process: str) -> None:
    assert imported[process] & HEAVY == set()


def test_a_handler_that_computes_on_the_processor_imports_nothing_of_accelerators(imported: dict[str, set[str]]) -> None:
    """`accelerator: auto` is the same on a machine without device files."""
    chooses = ("kfunc.handlers.accelerators", "kfunc.handlers.onnx_providers", "pynvml")
    assert [name for name in imported["handler"] if name.startswith(chooses)] == []


@pytest.mark.parametrize("process", ["batcher", "logger"])
def test_a_sidecar_imports_neither_arrays_nor_model_runtimes(imported: dict[str, set[str]], process: str) -> None:
    assert imported[process] & ARRAYS_AND_MODELS == set()


@pytest.mark.parametrize("process", ["batcher", "logger"])
def test_a_sidecar_imports_no_costly_part_of_the_standard_library(imported: dict[str, set[str]], process: str) -> None:
    assert imported[process] & COSTLY_STANDARD_LIBRARY == set()


def test_the_record_of_imports_is_not_empty(imported: dict[str, set[str]]) -> None:
    assert all("uvloop" in packages for packages in imported.values())


@pytest.mark.parametrize("module", ["kfunc.handlers.serving", "kfunc.process.sidecar"])
def test_what_only_grpc_needs_is_not_imported_by_functions_of_rest(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split()
    assert [name for name in loaded if name.startswith(("kfunc.grpc", "kfunc.protocol.grpc", "kfunc.http.h2"))] == []
