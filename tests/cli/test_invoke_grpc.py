"""`kfunc invoke --grpc` against a function."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.serving import ROOT, Served, serve

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("served")) as running:
        yield running


def invoke(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "kfunc", "invoke", *arguments]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize("url", ["http", "grpc"])
def test_an_answer_is_shown_as_over_rest(served: Served, tmp_path: Path, url: str) -> None:
    told = ["--url", f"{url}://{served.address}", "--model", "iris", "--data", "[[6.7, 3.0, 5.2, 2.3]]", "--output", "json"]
    over_grpc = invoke(*told, "--grpc", folder=tmp_path)
    assert over_grpc.returncode == 0, over_grpc.stderr
    answer = json.loads(over_grpc.stdout)
    assert (answer["outputs"][0]["data"], answer["model_version"]) == ([2], "1")


def test_a_request_is_made_from_metadata_and_the_call_is_told(served: Served, tmp_path: Path) -> None:
    done = invoke("--url", served.url, "--model", "iris", "--grpc", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"ModelInfer iris at grpc://{served.address}"
    assert [line for line in lines if line.startswith("OK in ")]
    assert "label INT64 [1]" in lines


def test_an_error_is_told_in_the_server_s_words(served: Served, tmp_path: Path) -> None:
    done = invoke("--url", served.url, "--model", "rose", "--data", "[1]", "--grpc", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: 404 NOT_FOUND: no model 'rose' here")


def test_v1_has_no_grpc(tmp_path: Path) -> None:
    done = invoke("--grpc", "--protocol", "v1", "--data", "[1]", folder=tmp_path)
    assert done.returncode == 2
    assert "--grpc is for the protocol v2" in done.stderr
