"""Every curl command in an example's README, sent to `kfunc run`, is answered as the README says."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
# README -> folder of the function that it describes.
FUNCTIONS = {
    "README.md": ".",
    "examples/iris/README.md": ".",
    "examples/python-function/README.md": "examples/python-function",
    "examples/python-handler/README.md": "examples/python-handler",
    "examples/wine-sklearn/README.md": "examples/wine-sklearn",
}
BASE = "http://127.0.0.1:8080"

pytestmark = pytest.mark.integration


@contextmanager
def served(folder: Path, sink: Path) -> Iterator[str]:
    """`kfunc run` of a folder on a free port; the value is its base URL."""
    command = [sys.executable, "-m", "kfunc", "run", str(folder), "--port", "0", "--quiet", "--sink", f"file:{sink}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            ready = process.stdout.readline()
            assert ready.startswith("ready: "), "kfunc run did not become ready"
            yield ready.removeprefix("ready: ").strip()
        finally:
            process.terminate()


def curl_commands(text: str) -> Iterator[tuple[str, bytes | None, str]]:
    """URL, body and the printed answer of each `$ curl -s URL [-d BODY]`."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith(f"$ curl -s {BASE}/"):
            _, _, _, url, *data = shlex.split(line)
            yield url, data[1].encode() if data else None, lines[number + 1]


def rounded(text: str | bytes) -> Any:
    """JSON with four digits of each float: processors differ in the last ones."""
    return json.loads(text, parse_float=lambda number: f"{float(number):.4g}")


@pytest.mark.parametrize(("readme", "folder"), FUNCTIONS.items(), ids=lambda value: value)
def test_the_commands_of_a_readme_are_answered_as_it_says(readme: str, folder: str, tmp_path: Path) -> None:
    commands = list(curl_commands((ROOT / readme).read_text()))
    assert commands
    with served(ROOT / folder, tmp_path / "events.jsonl") as base:
        for url, body, expected in commands:
            with urlopen(url.replace(BASE, base), body, timeout=10) as answer:
                assert rounded(answer.read()) == rounded(expected)
