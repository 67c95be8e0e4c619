"""kfunc's own processes as the benchmark starts them, and the model that everything serves."""

import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from bench.load import answers
from bench.processes import ROOT, BenchError, Process, free_port, python, running, serving_python, wait_until
from kfunc.config import pod
from kfunc.config.batcher import Batcher
from kfunc.config.inference import Limits
from kfunc.config.logger import Logger

MODEL = ROOT / "examples" / "iris" / "model.onnx"
FLOWER = [5.1, 3.5, 1.4, 0.2]
BARE_SESSION = str(Path(__file__).parent / "servers" / "bare_session.py")


class Plan(msgspec.Struct, frozen=True):
    """What all measurements share: the model's file, an infer body for it, how long to measure."""

    model: str
    body: bytes
    rounds: int
    seconds: float


def plan(model: Path, rounds: int, seconds: float) -> Plan:
    """Ask the model for its input and make the request. Raises BenchError."""
    if not model.is_file():
        raise BenchError(f"{model} is missing")
    opened = subprocess.run(python(BARE_SESSION, str(model)), capture_output=True, text=True, check=False)
    if opened.returncode:
        raise BenchError(f"{model} does not open: {opened.stderr}")
    told = msgspec.json.decode(opened.stdout)
    row = (FLOWER * (told["columns"] // len(FLOWER) + 1))[: told["columns"]]
    tensor = {"name": told["name"], "shape": [1, len(row)], "datatype": "FP32", "data": row}
    return Plan(str(model), msgspec.json.encode({"inputs": [tensor]}), rounds, seconds)


def settings(model: str, sink: str = "file:/dev/null", spool: str = "", **logger: Any) -> dict[str, str]:
    """The environment of kfunc's processes: every default, one thread, the whole chain configured."""
    config = pod.PodConfig(
        function="iris",
        namespace="default",
        model=pod.PodModel(name="iris", version="1", uri=model, runtime="onnx", threads=1),
        protocols=["v1", "v2"],
        accelerator="cpu",
        workers=1,
        timeout_s=300.0,
        hang_timeout_s=60.0,
        grace_s=5.0,
        limits=Limits(),
        batcher=Batcher(),
        logger=Logger(sink=sink, spool=spool or msgspec.UNSET, **logger),
    )
    return {pod.VARIABLE: pod.encode(config)}


def handler_command(listen: str) -> list[str]:
    """The handler, with its management port on a free one."""
    return serving_python("-m", "kfunc.handlers", "--listen", listen, "--manage", f"127.0.0.1:{free_port()}")


def sidecar_command(module: str, listen: str, upstream: str) -> list[str]:
    """`batcher_sidecar` or `logger_sidecar` in front of `upstream`."""
    manage = f"127.0.0.1:{free_port()}"
    return serving_python("-m", f"kfunc.{module}", "--listen", listen, "--upstream", upstream, "--manage", manage)


def start_ready(stack: ExitStack, command: list[str], env: dict[str, str], port: int) -> Process:
    """Start an outermost process and wait until it answers 200 on readiness."""
    process = stack.enter_context(running(command, env))
    wait_until(lambda: answers(port), process)
    return process


def start_inner(stack: ExitStack, command: list[str], env: dict[str, str], path: Path) -> Process:
    """Start a process behind a Unix socket and wait for the socket."""
    process = stack.enter_context(running(command, env))
    wait_until(path.exists, process)
    return process


def start_chain(stack: ExitStack, env: dict[str, str], folder: Path, port: int) -> dict[str, Process]:
    """logger on `port` → batcher → handler over Unix sockets in `folder`, ready."""
    handler, batcher = folder / "handler", folder / "batcher"
    return {
        "handler": start_inner(stack, handler_command(f"unix:{handler}"), env, handler),
        "batcher": start_inner(stack, sidecar_command("batcher_sidecar", f"unix:{batcher}", f"unix:{handler}"), env, batcher),
        "logger": start_ready(stack, sidecar_command("logger_sidecar", f"127.0.0.1:{port}", f"unix:{batcher}"), env, port),
    }
