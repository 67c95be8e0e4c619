"""The containers of a rendered Service, started on this machine as their manifest says: they find each other and answer.

Only what a pod has for itself is moved: paths of volumes and ports.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from kfunc.manifests.knative import build
from kfunc.manifests.plan import Manifest
from tests.manifests import plan_of
from tests.parts.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
BODY = b'{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'

pytestmark = pytest.mark.integration


class Broker:
    """Takes events as a Knative broker does; `paths` is where they were posted."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        broker = self

        class Ingress(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                broker.paths.append(self.path)
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Ingress)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def broker() -> Iterator[Broker]:
    with (broker := Broker()).server:
        Thread(target=broker.server.serve_forever, daemon=True).start()
        yield broker
        broker.server.shutdown()


@contextmanager
def started(containers: list[Manifest], folder: Path, moved: dict[str, str]) -> Iterator[None]:
    """The containers as processes in the root function's folder, ended from the outermost to the handler."""
    with ExitStack() as stack:
        for container in containers:
            environ = {variable["name"]: variable["value"] for variable in container["env"]}
            command = [sys.executable, *container["command"][1:], *container["args"]]
            for old, new in moved.items():
                command = [word.replace(old, new) for word in command]
                environ = {name: value.replace(old, new) for name, value in environ.items()}
            command.append(f"--manage=127.0.0.1:{moved[MANAGED[container['name']]]}")
            environ |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
            if container["name"] == "logger":
                environ["KFUNC_LOGGER_SPOOL"] = str(folder / "spool")
            stack.callback(ended, subprocess.Popen(command, cwd=ROOT, env=environ))
        yield


MANAGED = {"logger": "9095", "batcher": "9096", "handler": "9097"}


def ended(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(20) == 0


def ask(url: str, body: bytes | None = None) -> Any:
    """The answer's JSON, or None where there is none yet."""
    try:
        with urlopen(Request(url, body), timeout=10) as answer:
            text = answer.read()
    except (URLError, ConnectionError):
        return None
    return json.loads(text) if text.startswith(b"{") else text.decode()


def until(condition: Any, seconds: float = 30.0) -> Any:
    ends = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends
        time.sleep(0.05)
    return value


def test_the_containers_of_the_rendered_root_function_answer_and_send_events(broker: Broker, tmp_path: Path) -> None:
    source = (ROOT / "func.yaml").read_text() + f"  eventing: {{broker_ingress: {broker.url}}}\n"
    (service,) = build(plan_of(source)).manifests
    containers = service["spec"]["template"]["spec"]["containers"]
    probe = containers[-1]["readinessProbe"]["httpGet"]
    moved = {name: str(free_port()) for name in ("8080", "9095", "9096", "9097")}
    moved |= {"@kfunc/": f"@kfunc-{os.getpid()}/", '"spool":"memory"': f'"spool":"{tmp_path}/spool"'}
    with started(containers, tmp_path, moved):
        base = f"http://127.0.0.1:{moved[str(probe['port'])]}"
        assert until(lambda: ask(base + probe["path"])) == {"ready": True}
        assert ask(base + "/v2/models/iris/infer", BODY)["outputs"][0]["data"] == [0]
        until(lambda: broker.paths == ["/default/default"] * 2)
        metrics = until(lambda: ask(f"http://127.0.0.1:{moved['9095']}/metrics"))
        assert all(f'component="{name}"' in metrics for name in ("logger", "batcher", "handler"))
