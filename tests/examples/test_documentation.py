"""Every command that the documentation shows is typed, page by page, into one shell, as a reader types it.

The function of the repository runs meanwhile. What needs a cluster, a registry or another machine is named in `ELSEWHERE`.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages.serving import running

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PORTS = ("8080", "8081", "8090", "8191", "8192")
PATIENCE_S = 110

# The beginning of a command -> what it needs that is not here, or who runs it.
ELSEWHERE = {
    "make": "it would make environments within this test; CI types it",
    "kn ": "a cluster: tests/e2e",
    "kubectl": "a cluster: tests/e2e",
    "istioctl": "a cluster: tests/e2e",
    "helm": "a cluster: tests/e2e",
    "docker": "Docker",
    "podman": "Podman",
    "nvidia-smi": "a GPU",
    "kfunc deploy": "a cluster: tests/e2e",
    "kfunc status": "a cluster: tests/e2e",
    "kfunc logs": "a cluster: tests/e2e",
    "kfunc revisions": "a cluster: tests/e2e",
    "kfunc delete": "a cluster: tests/e2e",
    "kfunc rollout": "a cluster: tests/e2e",
    "kfunc invoke --remote": "a cluster: tests/e2e",
    "kfunc debug": "a cluster",
    "kfunc doctor": "it tells what is missing on this machine, and that is much",
    "kfunc build": "a registry: tests/images",
    "kfunc cache": "a cache with models in it: tests/storage",
    "kfunc convert": "an environment of its own: tests/runtimes",
    "kfunc events verify s3:": "a bucket: tests/event_log",
    "kfunc run examples/wine-sklearn": "scikit-learn in .venv: test_readme_commands.py",
    "kfunc run greeter --port": "the same as in the tutorial, which is typed",
    "kfunc invoke --url http://127.0.0.1:8191": "the function of the line above it",
    "taskset": "a second processor",
    "pip ": "it would change this environment",
    ".venv/bin/python": "the environment of make run",
    "python -m kfunc.": "an image's folder layout",
    "curl -s http://127.0.0.1:9002": "somebody's server on port 9000",
    "curl -s http://127.0.0.1:33311": "a port that is another one each time: tests/integration/test_run.py",
}
# What a reader has: (page, a part of a command) -> what makes it.
PREPARED = {
    "events.md": "cp -r iris next; kfunc invoke >/dev/null; sleep 1; cp .kfunc/events.jsonl yesterday.jsonl",
    "README.md": "kfunc invoke >/dev/null; sleep 1",
}
STATUS = {"kfunc validate bad.yaml": 2, "kfunc invoke --data '[[1, 2]]' --output json": 1}
pytestmark = pytest.mark.integration


def commands(text: str) -> list[str]:
    """The lines with `$ ` of the blocks ```console, but for those that need what is not here."""
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    return [line for line in found if not any(needs(line, start) for start in ELSEWHERE)]


def needs(command: str, start: str) -> bool:
    """Whether the command, or one behind a pipe or in a loop of it, is of that kind."""
    return any(part.strip().startswith(start) for part in re.split(r"[|;]|&&", command))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """What a reader has in a checkout, and `kfunc` on the path."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("func.yaml", "README.md"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("examples", "knative", "istio", "constraints", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".kfunc"))
    shutil.copytree(folder / "examples/iris", folder / "iris")
    (folder / "iris/func.yaml").write_text((ROOT / "func.yaml").read_text().replace("./examples/iris/", "./"))
    (folder / "bin").mkdir()
    (folder / "bin/kfunc").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -P -m kfunc "$@"\n')
    (folder / "bin/kfunc").chmod(0o755)
    return folder


def own_yaml(page: Path, folder: Path) -> None:
    """Files that a page shows before a command reads them."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for name in ("bad.yaml", "iris.yaml"):
        if blocks:
            (folder / name).write_text(
                next((block for block in blocks if "loger" in block or "InferenceService" in block), blocks[0])
            )


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page.read_text())], ids=lambda page: page.name)
def test_each_command_of_a_page_works(page: Path, workspace: Path, tmp_path: Path) -> None:
    typed = commands(page.read_text())
    own_yaml(page, workspace)
    with running(workspace, tmp_path, own_sink=True) as base:
        here = dict(zip(PORTS, [base.rpartition(":")[2], *map(str, free_ports(len(PORTS) - 1))], strict=True))
        lines = [f"export PATH={workspace}/bin:$PATH", PREPARED.get(page.name, "")]
        for number, command in enumerate(typed):
            lines += [command, f"echo {number} $? >&9"]
            lines += [WAIT] if command.rstrip().endswith("&") else []
        script = "\n".join(lines)
        for port, other in here.items():
            script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{other}").replace(f"--port {port}", f"--port {other}")
        script = re.sub(r"kfunc invoke(?!.*--url)", f"kfunc invoke --url {base}", script)
        done = shell(re.sub(r"--duration [0-9]+", "--duration 1", script), workspace, tmp_path)
    wrong = [f"{typed[number]}: exit status {status}" for number, status in done if status != STATUS.get(typed[number], 0)]
    assert not wrong, f"{wrong}\n{(tmp_path / 'said').read_text()[-2000:]}"
    assert [number for number, _ in done] == list(range(len(typed)))


# A function that was started behind `&` is asked once it is ready, as a reader waits for its line.
WAIT = 'for _ in $(seq 300); do grep -q "ready: " said.txt && break; sleep 0.1; done'


def shell(script: str, workspace: Path, folder: Path) -> list[tuple[int, int]]:
    """The number of each command, and its exit status."""
    said = workspace / "said.txt"
    with (
        said.open("wb") as out,
        (folder / "statuses").open("wb") as statuses,
        subprocess.Popen(
            ["bash", "-c", f"exec 9>&{statuses.fileno()}\n{script}\nkill $(jobs -p) 2>/dev/null; wait"],
            cwd=workspace,
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=out,
            stderr=out,
            pass_fds=[statuses.fileno()],
        ) as process,
    ):
        process.wait(PATIENCE_S)
    shutil.copy(said, folder / "said")
    pairs = [line.split() for line in (folder / "statuses").read_text().splitlines()]
    return [(int(number), int(status)) for number, status in pairs]
