"""Other people's clients against the handler as a process: curl, nghttp, h2load, and every case of h2spec."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.handlers.conftest import ROOT, configuration
from tests.handlers.test_main import handler, wait_until_ready
from tests.http.h2.conftest import PATIENCE_S, Run

pytestmark = pytest.mark.integration

INFER = "/v2/models/iris/infer"
BODY = json.dumps({"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a handler with the model of examples/iris."""
    with handler(configuration(uri=str(ROOT / "examples/iris/model.onnx"), name="iris", runtime="onnx")) as (_, port):
        wait_until_ready(port)
        yield port


def url(port: int, path: str) -> str:
    return f"http://127.0.0.1:{port}{path}"


def test_curl_gets_the_same_answer_over_both_versions(curl: Run, port: int) -> None:
    written = ["-w", "\n%{http_version} %{http_code} %{content_type}", "-s", "-d", BODY, url(port, INFER)]
    over_1, over_2 = curl(*written), curl("--http2-prior-knowledge", *written)
    assert over_1.endswith("\n1.1 200 application/json")
    assert over_2.endswith("\n2 200 application/json")
    assert over_1.split("\n")[0] == over_2.split("\n")[0]


def test_curl_sends_a_large_body(curl: Run, port: int, tmp_path: Path) -> None:
    rows = 40_000
    document = {"inputs": [{"name": "input", "shape": [rows, 4], "datatype": "FP32", "data": [1.5] * (4 * rows)}]}
    (tmp_path / "body").write_text(json.dumps(document))
    answer = curl("--http2-prior-knowledge", "-s", "--data-binary", f"@{tmp_path / 'body'}", url(port, INFER))
    assert json.loads(answer)["outputs"][0]["shape"] == [rows]


def test_curl_learns_of_an_error(curl: Run, port: int) -> None:
    answer = curl("--http2-prior-knowledge", "-s", "-w", " %{http_code}", "-d", "{", url(port, INFER))
    assert answer.endswith(" 400")


def test_nghttp_sees_frames_that_are_right(nghttp: Run, port: int) -> None:
    assert "recv (stream_id=13) :status: 200" in nghttp("-nv", url(port, "/v2/models/iris"))


@pytest.mark.parametrize("load", [("-c1", "-m100"), ("-c16", "-m1"), ("-c4", "-m32", "-w", "12", "-W", "14")])
def test_h2load_loses_no_request(h2load: Run, port: int, tmp_path: Path, load: tuple[str, ...]) -> None:
    (tmp_path / "body").write_text(BODY)
    printed = h2load("-n2000", *load, "-d", str(tmp_path / "body"), url(port, INFER))
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in printed
    assert "2000 2xx" in printed


def test_every_case_of_h2spec_passes(h2spec: str, port: int) -> None:
    command = [h2spec, "-h", "127.0.0.1", "-p", str(port), "-o", "3"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert re.search(r"(\d+) tests, \1 passed, 0 skipped, 0 failed", output), output[-3000:]
