"""`kfunc run` with a model of the hub: fetched from a small server with the hub's interface, cached, answered by."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_run import FUNC_YAML, ROOT, ROWS, Run
from tests.storage.web_server import WebServer

CONTENT = (ROOT / "examples/iris/model.onnx").read_bytes()
PREDICT = "/v1/models/iris:predict"

pytestmark = pytest.mark.integration


@pytest.fixture
def hub() -> Iterator[WebServer]:
    """The repository team/iris: a model in large file storage beside its settings and its card."""
    with WebServer() as web:
        web.answers["/api/models/team/iris/revision/main"] = json.dumps({"sha": "c0ffee"}).encode()
        sha = hashlib.sha256(CONTENT).hexdigest()
        nodes = [
            {"type": "file", "path": "model.onnx", "size": len(CONTENT), "oid": "1", "lfs": {"oid": sha, "size": len(CONTENT)}},
            {"type": "file", "path": "config.json", "size": 2, "oid": "2"},
            {"type": "file", "path": "README.md", "size": 9, "oid": "3"},
        ]
        web.answers["/api/models/team/iris/tree/c0ffee?recursive=true"] = json.dumps(nodes).encode()
        web.put("/team/iris/resolve/c0ffee/model.onnx", CONTENT)
        web.put("/team/iris/resolve/c0ffee/config.json", b"{}")
        yield web


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A function whose model is the hub's."""
    (tmp_path / "func.yaml").write_text(
        FUNC_YAML.replace(
            "model: {uri: ./model.onnx}", "model: {uri: hf://team/iris/model.onnx, runtime: onnx}\n  model_cache: {path: cache}"
        )
    )
    return tmp_path


def test_a_model_of_the_hub_is_fetched_and_answers(hub: WebServer, folder: Path) -> None:
    with Run(folder, variables={"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_test"}) as run:
        status, answer = run.wait_until_ready().request("POST", PREDICT, {"instances": ROWS})
        assert (status, len(answer["predictions"])) == (200, 2)
        assert run.end() == 0
    assert {fields.get("authorization") for _, _, fields in hub.asked} == {"Bearer hf_test"}
    assert {path for _, path, _ in hub.asked if "/resolve/" in path} == {"/team/iris/resolve/c0ffee/model.onnx"}


def test_the_second_run_fetches_no_file_again(hub: WebServer, folder: Path) -> None:
    for _ in range(2):
        with Run(folder, variables={"HF_ENDPOINT": hub.url}) as run:
            assert run.wait_until_ready().request("POST", PREDICT, {"instances": ROWS})[0] == 200
            assert run.end() == 0
        fetched = [path for _, path, _ in hub.asked if "/resolve/" in path]
    assert len(set(fetched)) == len(fetched) == 1


def test_a_model_that_the_hub_has_not_ends_the_run_with_the_reason(hub: WebServer, folder: Path) -> None:
    text = (folder / "func.yaml").read_text()
    (folder / "func.yaml").write_text(text.replace("hf://team/iris/", "hf://team/gone/"))
    with Run(folder, variables={"HF_ENDPOINT": hub.url}) as run:
        run.wait_for(lambda: run.process.poll() is not None)
    assert run.process.returncode != 0
    assert "hf://team/gone/model.onnx" in run.err + run.out
