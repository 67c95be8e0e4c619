"""`kfunc invoke` against a small server of the standard library that answers as a function does."""

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from kfunc.client.sample import sample_picture
from kfunc.protocol import v2_binary
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]
METADATA = {
    "name": "iris",
    "versions": ["1"],
    "platform": "onnxruntime_onnx",
    "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "label", "datatype": "INT64", "shape": [-1]}],
}
ANSWER = {"model_name": "iris", "outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [2]}]}
ROW = [6.7, 3.0, 5.2, 2.3]
REQUEST = {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [ROW]}]}


class Server:
    """A server whose answers are a table of `METHOD path` to status and body; keeps the bodies it got."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {
            "GET /v1/models": (200, {"models": ["iris"]}),
            "GET /v2/models/iris": (200, METADATA),
            "POST /v2/models/iris/infer": (200, ANSWER),
            "POST /v1/models/iris:predict": (200, {"predictions": [2]}),
        }
        self.fields: dict[str, dict[str, str]] = {}
        self.bodies: list[Any] = []
        server = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                if length:
                    content = self.rfile.read(length)
                    json_length = self.headers.get("Inference-Header-Content-Length")
                    kind = self.headers.get("Content-Type")
                    if json_length is not None:
                        server.bodies.append((int(json_length), content))
                    else:
                        server.bodies.append(json.loads(content) if kind == "application/json" else (kind, content))
                status, body = server.answers.get(f"{self.command} {self.path}", (404, {"error": f"no {self.path}"}))
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in server.fields.get(f"{self.command} {self.path}", {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def test_without_data_the_request_is_made_from_the_model_s_metadata(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris")
    assert server.bodies == [{"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]}]}]
    assert result.status == 0


def test_request_and_answer_are_shown(kfunc: Command, server: Server) -> None:
    lines = kfunc("invoke", "--url", server.url, "--model", "iris").out.splitlines()
    assert lines[0] == f"POST {server.url}/v2/models/iris/infer"
    assert json.loads(lines[1]) == server.bodies[0]
    assert lines[3].startswith("200 OK in ")
    assert lines[3].endswith(" ms")
    assert lines[4:] == ["label INT64 [1]", "  2"]


def test_as_json_the_answer_stands_alone(kfunc: Command, server: Server) -> None:
    assert json.loads(kfunc("invoke", "--url", server.url, "--model", "iris", "--output", "json").out) == ANSWER


def test_the_model_s_name_comes_from_func_yaml(kfunc: Command, server: Server, folder: Path) -> None:
    assert kfunc("invoke", folder, "--url", server.url).status == 0


def test_without_a_name_the_server_s_only_model_is_asked(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kfunc", "invoke", "--url", server.url]
    result = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert f"POST {server.url}/v2/models/iris/infer" in result.stdout


@pytest.mark.parametrize("models", [[], ["iris", "rose"]])
def test_a_server_with_no_or_several_models_asks_for_a_name(server: Server, tmp_path: Path, models: Any) -> None:
    server.answers["GET /v1/models"] = (200, {"models": models})
    command = [sys.executable, "-m", "kfunc", "invoke", "--url", server.url]
    result = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "give --model" in result.stderr


def test_the_request_can_come_from_standard_input(server: Server) -> None:
    command = [sys.executable, "-m", "kfunc", "invoke", "--url", server.url, "--model", "iris", "--data", "-"]
    subprocess.run(command, cwd=ROOT, input=json.dumps(REQUEST).encode(), stdout=subprocess.DEVNULL, check=True, timeout=60)
    assert server.bodies == [REQUEST]


@pytest.mark.parametrize("option", ["--file {}", "--data @{}"])
def test_the_request_can_come_from_a_file(kfunc: Command, server: Server, tmp_path: Path, option: str) -> None:
    (tmp_path / "request.json").write_text(json.dumps(REQUEST))
    kfunc("invoke", "--url", server.url, "--model", "iris", *option.format(tmp_path / "request.json").split())
    assert server.bodies == [REQUEST]


@pytest.mark.parametrize(("data", "sent"), [([ROW], [ROW]), (ROW, [ROW])])
def test_a_bare_array_becomes_the_data_of_the_only_input(kfunc: Command, server: Server, data: Any, sent: Any) -> None:
    kfunc("invoke", "--url", server.url, "--model", "iris", "--data", json.dumps(data))
    assert server.bodies == [REQUEST]


def test_a_bare_array_becomes_the_instances_of_v1(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", json.dumps([ROW]), "--protocol", "v1")
    assert server.bodies == [{"instances": [ROW]}]
    assert result.out.endswith("predictions (1)\n  2\n")


def test_a_v1_request_is_known_by_its_instances(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", json.dumps({"instances": [ROW]}))
    assert f"POST {server.url}/v1/models/iris:predict" in result.out


def test_an_array_of_a_file_of_numpy_is_the_only_input(kfunc: Command, server: Server, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array(ROW))
    kfunc("invoke", "--url", server.url, "--model", "iris", "--file", tmp_path / "rows.npy")
    assert server.bodies == [REQUEST]


def test_arrays_of_a_file_of_numpy_are_inputs_by_name(kfunc: Command, server: Server, tmp_path: Path) -> None:
    np.savez(tmp_path / "inputs.npz", input=np.array([ROW]), more=np.array([1]))
    kfunc("invoke", "--url", server.url, "--model", "iris", "--file", tmp_path / "inputs.npz")
    more = {"name": "more", "shape": [1], "datatype": "INT64", "data": [1]}
    assert server.bodies == [{"inputs": [*REQUEST["inputs"], more]}]


def test_in_binary_the_tensors_follow_the_json(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", json.dumps(ROW), "--binary")
    ((length, body),) = server.bodies
    assert v2_binary.decode_request(body, length).inputs[0].data == np.array(ROW, np.float32).tobytes()
    assert result.out.startswith(f"POST {server.url}/v2/models/iris/infer in binary\n")
    assert result.out.endswith("label INT64 [1]\n  2\n")


def test_an_answer_in_binary_is_shown_too(kfunc: Command, server: Server) -> None:
    head = b'{"model_name":"iris","outputs":[{"name":"p","datatype":"FP16","shape":[2],"parameters":{"binary_data_size":4}}]}'
    server.answers["POST /v2/models/iris/infer"] = (200, head + np.array([0.5, 2], np.float16).tobytes())
    server.fields["POST /v2/models/iris/infer"] = {"Inference-Header-Content-Length": str(len(head))}
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", json.dumps(ROW), "--binary")
    assert result.out.endswith("p FP16 [2]\n  0.5\n    2\n")


def test_binary_is_for_v2(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", '{"instances": [1]}', "--binary")
    assert (result.status, server.bodies) == (2, [])


def test_what_its_datatype_cannot_hold_is_told_before_it_is_sent(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", '[["a", "b", "c", "d"]]', "--binary")
    assert (result.status, server.bodies) == (1, [])
    assert result.err.startswith("error: input 'input': not an array of FP32")


def test_a_path_in_the_url_is_kept(kfunc: Command, server: Server) -> None:
    server.answers = {f"{key.partition(' ')[0]} /a{key.partition(' ')[2]}": value for key, value in server.answers.items()}
    assert kfunc("invoke", "--url", f"{server.url}/a/", "--model", "iris").status == 0


def test_a_long_request_is_shown_in_short(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", json.dumps([ROW] * 1000))
    assert len(result.out.splitlines()[1]) < 1100


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((400, {"error": "input has 4 columns"}), "error: 400 Bad Request: input has 4 columns\n"),
        ((503, {"error": "loading"}), "error: 503 Service Unavailable: loading\n"),
        ((502, b"<html>bad gateway</html>"), "error: 502 Bad Gateway: <html>bad gateway</html>\n"),
        ((500, {"detail": 1}), 'error: 500 Internal Server Error: {"detail":1}\n'),
        ((200, b"not json"), "error: the answer with status 200 is not JSON\n"),
    ],
)
def test_an_error_is_shown_in_the_server_s_words(kfunc: Command, server: Server, answer: tuple[int, Any], words: str) -> None:
    server.answers["POST /v2/models/iris/infer"] = answer
    result = kfunc("invoke", "--url", server.url, "--model", "iris")
    assert result.status == 1
    assert result.err == words


def test_a_model_that_is_not_there_is_named_by_the_server(kfunc: Command, server: Server) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "a/b")
    assert (result.status, result.err) == (1, "error: 404 Not Found: no /v2/models/a%2Fb\n")


def test_metadata_that_makes_no_sense_asks_for_data(kfunc: Command, server: Server) -> None:
    server.answers["GET /v2/models/iris"] = (200, {"inputs": [{"shape": "x"}]})
    result = kfunc("invoke", "--url", server.url, "--model", "iris")
    assert result.status == 1
    assert "--data" in result.err


def test_where_nothing_listens_the_command_that_starts_it_is_named(kfunc: Command) -> None:
    server = Server()
    server.close()
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "--data", "[1]", "--protocol", "v1")
    assert result.status == 1
    assert result.err == f"error: nothing listens at {server.url}; start the function with `kfunc run`, or give its URL\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "{"], "not JSON"),
        (["--data", "1"], "a JSON object or an array"),
        (["--data", "@/nowhere/x"], "cannot read /nowhere/x: No such file or directory"),
        (["--file", "/nowhere/x"], "cannot read /nowhere/x: No such file or directory"),
        (["--url", "ftp://x"], "is not a URL such as"),
        (["--url", "http://"], "is not a URL such as"),
        (["--url", "http://127.0.0.1:port"], "no valid port"),
        (["--data", "[" * 100_000], "not JSON"),
    ],
)
def test_what_the_user_got_wrong_exits_with_2(kfunc: Command, arguments: list[str], words: str) -> None:
    result = kfunc("invoke", "--model", "iris", *arguments)
    assert result.status == 2
    assert words in result.err
    assert len(result.err.splitlines()) == 1


def test_a_host_that_does_not_exist_is_one_line(kfunc: Command) -> None:
    result = kfunc("invoke", "--url", "http://nowhere.invalid", "--model", "iris")
    assert result.status == 1
    assert result.err.startswith("error: no connection to http://nowhere.invalid: ")


# ---- pictures

PICTURES = {
    **METADATA,
    "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
    "parameters": {"media_type": "image/*", "accelerator": "cpu"},
}
BYTES = {name: value for name, value in PICTURES.items() if name != "parameters"}


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(sample_picture(4))
    return tmp_path / "cat.png"


@pytest.mark.parametrize(("protocol", "path"), [("v2", "/v2/models/iris/infer"), ("v1", "/v1/models/iris:predict")])
@pytest.mark.parametrize("option", ["--file {}", "-f {}", "--data @{}"])
def test_a_picture_is_the_body_for_a_model_that_takes_pictures(
    kfunc: Command, server: Server, cat: Path, protocol: str, path: str, option: str
) -> None:
    server.answers["GET /v2/models/iris"] = (200, PICTURES)
    arguments = ["--model", "iris", "--protocol", protocol, *option.format(cat).split()]
    result = kfunc("invoke", "--url", server.url, *arguments)
    assert (result.status, server.bodies) == (0, [("image/png", cat.read_bytes())])
    assert result.out.startswith(f"POST {server.url}{path}\nimage/png, {len(cat.read_bytes())} bytes\n")


def test_a_picture_may_come_from_standard_input(server: Server, cat: Path) -> None:
    server.answers["GET /v2/models/iris"] = (200, PICTURES)
    command = [sys.executable, "-m", "kfunc", "invoke", "--url", server.url, "--model", "iris", "--data", "-"]
    subprocess.run(command, cwd=ROOT, input=cat.read_bytes(), stdout=subprocess.DEVNULL, check=True, timeout=60)
    assert server.bodies == [("image/png", cat.read_bytes())]


@pytest.mark.parametrize(("told", "options"), [(PICTURES, ["--binary"]), (BYTES, [])])
def test_a_picture_s_bytes_go_in_binary_where_they_are_a_tensor(
    kfunc: Command, server: Server, cat: Path, told: Any, options: list[str]
) -> None:
    server.answers["GET /v2/models/iris"] = (200, told)
    assert kfunc("invoke", "--url", server.url, "--model", "iris", "-f", cat, *options).status == 0
    ((length, body),) = server.bodies
    (tensor,) = v2_binary.decode_request(body, length).inputs
    assert (tensor.name, tensor.datatype, tensor.shape) == ("image", "BYTES", [1])
    assert v2_binary.split_bytes("image", memoryview(tensor.data), 1) == [cat.read_bytes()]


def test_in_v1_a_picture_for_a_model_of_bytes_is_b64(kfunc: Command, server: Server, cat: Path) -> None:
    server.answers["GET /v2/models/iris"] = (200, BYTES)
    kfunc("invoke", "--url", server.url, "--model", "iris", "-f", cat, "--protocol", "v1")
    assert server.bodies == [{"instances": [{"b64": b64encode(cat.read_bytes()).decode()}]}]


def test_a_model_of_numbers_takes_no_picture_and_the_way_is_told(kfunc: Command, server: Server, cat: Path) -> None:
    result = kfunc("invoke", "--url", server.url, "--model", "iris", "-f", cat)
    assert (result.status, server.bodies) == (1, [])
    assert result.err == (
        "error: the model takes no picture but input (FP32 [-1, 4]); inference.images in func.yaml would make that of one\n"
    )


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_without_data_a_model_that_takes_pictures_gets_one(kfunc: Command, server: Server, protocol: str) -> None:
    server.answers["GET /v2/models/iris"] = (200, PICTURES)
    kfunc("invoke", "--url", server.url, "--model", "iris", "--protocol", protocol)
    (body,) = server.bodies
    sent = body["instances"][0]["b64"] if protocol == "v1" else body["inputs"][0]["data"][0]
    assert b64decode(sent) == sample_picture()
