import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kfunc.client import AsyncClient, Client
from kfunc.config import pod
from tests.client.faults import FaultServer, Step

ROOT = Path(__file__).parents[2]
ECHO = """\
import kfunc


class Echo(kfunc.Handler):
    def predict(self, inputs):
        return dict(inputs)

    def explain(self, inputs):
        return {f"{name} explained": value for name, value in inputs.items()}
"""
TYPED = """\
import kfunc


class Typed(kfunc.Handler):
    inputs = [kfunc.TensorSpec("x", "FP32", [-1, 2]), kfunc.TensorSpec("s", "BYTES", [-1])]
    outputs = inputs

    def predict(self, inputs):
        return dict(inputs)
"""


@pytest.fixture
def faulty() -> Iterator[Callable[..., FaultServer]]:
    """A fault server with this script."""
    made = []

    def make(*script: Step, listening: bool = True) -> FaultServer:
        made.append(FaultServer(script, listening=listening))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture(scope="session")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real handler with the models echo (versions 1 and 2; any tensors) and typed."""
    folder = tmp_path_factory.mktemp("function")
    for name, code in {"echo/1": ECHO, "echo/2": ECHO, "typed/1": TYPED}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "handler.py").write_text(code)
    model = pod.PodModel(name="echo", uri=str(folder), runtime="auto")
    config = pod.encode(pod.PodConfig(function="echo", model=model))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.set_inheritable(True)
    command = [sys.executable, "-m", "kfunc.handlers", "--listen", f"fd:{listener.fileno()}", "--manage", "none"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), pod.VARIABLE: config}
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stderr=output, pass_fds=[listener.fileno()])
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    try:
        with Client(url) as client:
            client.wait_ready(30)
        yield url
    finally:
        process.terminate()
        process.wait(15)
    assert "Traceback" not in log.read_text()


class Blocking:
    """AsyncClient with the methods of Client: both are held to the same tests."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*arguments, **more)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **more: self._runner.run(_wait(method, arguments, more))

    def rest(self, seconds: float) -> None:
        """Let the loop turn: it hears of closed connections only then."""
        self._runner.run(asyncio.sleep(seconds))

    def __enter__(self) -> "Blocking":
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._client.close())
        self._runner.close()


async def _wait(method: Any, arguments: Any, more: Any) -> Any:
    return await method(*arguments, **more)


@pytest.fixture(params=[Client, Blocking], ids=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """A client of either kind, closed at the end."""
    made: list[Any] = []

    def make(*arguments: Any, **more: Any) -> Any:
        made.append(request.param(*arguments, **more))
        return made[-1]

    yield make
    for client in made:
        client.__exit__(None, None, None)
