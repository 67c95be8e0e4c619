"""REST over HTTP/2 through the whole chain of `kfunc run`: answers as over HTTP/1.1, and what only HTTP/2 has."""

import asyncio
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from h2.errors import ErrorCodes

from tests.integration.h2_client import Answer, Broken, H2Client, Unsent
from tests.integration.test_run import FUNC_YAML, V2, Run, make_function
from tests.parts import environment, program

INFER, PREDICT = "/v2/models/iris/infer", "/v1/models/iris:predict"
ROW = {"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}
BINARY_JSON = b'{"inputs":[{"name":"input","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}'
BINARY = [("inference-header-content-length", str(len(BINARY_JSON)))]
JSON = [("content-type", "application/json")]
LARGE_ROWS = 40_000
LARGE = json.dumps({"inputs": [ROW | {"shape": [LARGE_ROWS, 4], "data": [1.5] * (4 * LARGE_ROWS)}]}).encode()
WHOLE_REQUESTS = FUNC_YAML.replace("max_batch_size: 32", f"max_batch_size: {LARGE_ROWS}")  # the batcher cuts none
PATIENCE_S = 60
SLOW = """\
import asyncio
from pathlib import Path

import numpy as np

from kfunc.handlers.contract import Handler, TensorSpec

HERE = Path(__file__).parent


class Slow(Handler):
    inputs = [TensorSpec("x", "FP32", [-1, 1])]
    outputs = [TensorSpec("y", "FP32", [-1, 1])]

    async def predict(self, inputs):
        if inputs["x"][0, 0] < 0:
            (HERE / "begun").touch()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                (HERE / "cancelled").touch()
                raise
        return {"y": inputs["x"]}
"""

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    text = WHOLE_REQUESTS.replace("model:", "protocols: [v1, v2, grpc]\n  model:")
    with Run(make_function(tmp_path_factory.mktemp("served"), text)) as run:
        yield run.wait_until_ready()
        assert run.end() == 0
        assert run.err == ""


def talk(run: Run, conversation: Callable[[H2Client], Coroutine[Any, Any, Any]]) -> Any:
    """One connection, and what is said on it."""

    async def test() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            client = await H2Client.connect(run.port)
            try:
                return await conversation(client)
            finally:
                client.close()

    return asyncio.run(test())


def ask(run: Run, method: str, path: str, body: bytes = b"", fields: Any = (), trailers: Any = ()) -> Answer:
    answer = talk(run, lambda client: client.ask(method, path, body, fields, trailers))
    assert isinstance(answer, Answer)
    return answer


def ask_1(run: Run, method: str, path: str, body: bytes, fields: Any) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", run.port, timeout=20)
    connection.request(method, path, body or None, dict(fields))
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, content


SAME = {
    "V2": ("POST", INFER, json.dumps(V2).encode(), JSON),
    "V1": ("POST", PREDICT, b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}', JSON),
    "a binary tensor": ("POST", INFER, BINARY_JSON + bytes(16), BINARY),
    "an event": (
        *("POST", "/", b'{"specversion":"1.0","id":"7","source":"/a","type":"b","data":{"instances":[[1,2,3,4]]}}'),
        [("content-type", "application/cloudevents+json")],
    ),
    "a large body": ("POST", INFER, LARGE, JSON),
    "a large body, compressed answer": ("POST", INFER, LARGE, [*JSON, ("accept-encoding", "gzip")]),
    "metadata": ("GET", "/v2/models/iris", b"", []),
    "readiness": ("GET", "/v2/health/ready", b"", []),
    "the document": ("GET", "/openapi.json", b"", []),
    "no such path": ("GET", "/nothing", b"", []),
    "no such model": ("POST", "/v2/models/no/infer", json.dumps(V2).encode(), JSON),
    "no such method": ("DELETE", INFER, b"", []),
    "broken JSON": ("POST", INFER, b'{"inputs', JSON),
    "a wrong shape": ("POST", INFER, json.dumps({"inputs": [ROW | {"shape": [4, 1]}]}).encode(), JSON),
    "no body": ("POST", INFER, b"", JSON),
    "another expectation": ("POST", INFER, b"{}", [("expect", "more")]),
    "HEAD": ("HEAD", "/v2/models/iris", b"", []),
    "HEAD of nothing": ("HEAD", "/nothing", b"", []),
}
OF_ONE_ANSWER = ("date", "server-timing", "x-request-id", "connection")


@pytest.mark.parametrize(("method", "path", "body", "fields"), SAME.values(), ids=SAME.keys())
def test_an_answer_is_the_same_over_both_versions(served: Run, method: str, path: str, body: bytes, fields: Any) -> None:
    status, headers, content = ask_1(served, method, path, body, fields)
    answer = ask(served, method, path, body, fields)
    for each in OF_ONE_ANSWER:
        headers.pop(each, None)
        answer.headers.pop(each, None)
    if path == "/":
        content, answer.body = (re.sub(rb'"(id|time)":"[^"]*"', b"", each) for each in (content, answer.body))
        headers["content-length"] = answer.headers["content-length"] = ""
    assert (answer.status, answer.headers, answer.body) == (status, headers, content)


def test_answers_of_many_streams_belong_to_their_requests(served: Run) -> None:
    async def conversation(client: H2Client) -> list[Answer]:
        return await asyncio.gather(*[one(client, number) for number in range(90)])

    async def one(client: H2Client, number: int) -> Answer:
        body = json.dumps({"id": str(number), "inputs": [ROW | {"data": [number / 40, 3.5, 1.4, 0.2]}]}).encode()
        return await client.ask("POST", INFER, body, [("x-request-id", f"id-{number}")])

    answers = talk(served, conversation)
    assert [json.loads(answer.body)["id"] for answer in answers] == [str(number) for number in range(90)]
    assert [answer.headers["x-request-id"] for answer in answers] == [f"id-{number}" for number in range(90)]


def test_events_have_the_id_that_the_caller_gave(served: Run) -> None:
    ask(served, "POST", INFER, json.dumps(V2).encode(), [*JSON, ("x-request-id", "over-h2")])
    served.wait_for(lambda: sum(event["correlationid"] == "over-h2" for event in served.events()) == 2)


def test_an_expectation_is_met_before_the_body(served: Run) -> None:
    async def conversation(client: H2Client) -> Answer:
        stream = client.begin("POST", INFER, [*JSON, ("expect", "100-continue")], end=False)
        await client.invited(stream)
        await client.send(stream, json.dumps(V2).encode())
        return await client.answer(stream)

    answer = talk(served, conversation)
    assert (answer.interim, answer.status) == ([100], 200)


def test_trailers_of_a_request_are_taken(served: Run) -> None:
    answer = ask(served, "POST", INFER, json.dumps(V2).encode(), JSON, [("x-checksum", "1")])
    assert answer.status == 200
    answer = ask(served, "POST", INFER, LARGE, JSON, [("x-checksum", "1")])
    assert answer.status == 200


PSEUDO = [(":scheme", "http"), (":path", "/"), (":authority", "a")]
OTHER_PROTOCOLS = {
    "websockets (RFC 8441)": [(":method", "CONNECT"), (":protocol", "websocket"), *PSEUDO],
    "an upgrade": [(":method", "GET"), *PSEUDO, ("upgrade", "websocket")],
    "a connection of HTTP/1.1": [(":method", "GET"), *PSEUDO, ("connection", "upgrade")],
}


@pytest.mark.parametrize("fields", OTHER_PROTOCOLS.values(), ids=OTHER_PROTOCOLS.keys())
def test_a_request_for_another_protocol_is_malformed(served: Run, fields: list[tuple[str, str]]) -> None:
    with pytest.raises(Broken, match=f"reset with {int(ErrorCodes.PROTOCOL_ERROR)}"):
        talk(served, lambda client: client.answer(client.open(fields)))


def test_a_tunnel_is_not_offered(served: Run) -> None:
    answer = talk(served, lambda client: client.answer(client.open([(":method", "CONNECT"), (":authority", "a:1")])))
    assert answer.status == 501


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_an_offer_to_change_from_http_1_is_not_taken(served: Run, offer: str) -> None:
    fields = {"connection": "upgrade, http2-settings", "upgrade": offer, "http2-settings": "AAMAAABkAAQAAP__"}
    status, _, _ = ask_1(served, "GET", "/v2/health/ready", b"", fields)
    assert status == 200


def test_curl_and_h2load_are_served(served: Run, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{served.port}{INFER}"
    (tmp_path / "body").write_text(json.dumps(V2))
    curl = [str(program("curl")), "-s", "--http2-prior-knowledge", "-w", " %{http_version}", "-d", f"@{tmp_path / 'body'}", url]
    printed = subprocess.run(curl, env=environment("curl"), capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert printed.stdout.endswith("} 2")
    h2load = [str(program("nghttp2")), "-n2000", "-c4", "-m16", "-d", str(tmp_path / "body"), url]
    printed = subprocess.run(h2load, env=environment("nghttp2"), capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert "2000 succeeded, 0 failed, 0 errored, 0 timeout" in printed.stdout


def test_every_case_of_h2spec_passes_in_front_of_the_chain_with_grpc(served: Run) -> None:
    command = [str(program("h2spec")), "-h", "127.0.0.1", "-p", str(served.port), "-o", "3", "-P", "/v2/models/iris"]
    output = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S).stdout
    assert re.search(r"(\d+) tests, \1 passed, 0 skipped, 0 failed", output), output[-3000:]


# ---- cancellation


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[Run]:
    folder = make_function(tmp_path)
    (folder / "handler.py").write_text(SLOW)
    (folder / "func.yaml").write_text((folder / "func.yaml").read_text().replace("./model.onnx", "./handler.py"))
    with Run(folder) as run:
        yield run.wait_until_ready()


def sleepy(value: float) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [value]}]}).encode()


@pytest.mark.parametrize("how", ["reset", "connection lost"])
def test_a_request_that_is_given_up_is_cancelled_in_the_model(slow: Run, how: str) -> None:
    async def conversation(client: H2Client) -> None:
        stream = client.begin("POST", INFER, JSON, end=False)
        await client.send(stream, sleepy(-1))
        await asyncio.to_thread(slow.wait_for, (slow.folder / "begun").exists)
        if how == "reset":
            client.cancel(stream)
        else:
            client.transport.abort()
        await asyncio.to_thread(slow.wait_for, (slow.folder / "cancelled").exists)
        if how == "reset":
            assert (await client.ask("POST", INFER, sleepy(2), JSON)).status == 200

    talk(slow, conversation)
    slow.wait_for(lambda: " 499 " in slow.out)


# ---- the end


def test_what_was_sent_before_the_client_knew_of_the_end_is_answered(tmp_path: Path) -> None:
    """Two connections with 16 streams each, always busy. h2load counts what it cannot send any more as errors."""
    answered, sent = [0], [0]

    async def stream(client: H2Client) -> None:
        while True:
            try:
                stream_id = client.begin("POST", INFER, JSON, end=False)
            except Unsent:
                return
            sent[0] += 1
            await client.send(stream_id, json.dumps(V2).encode())
            assert (await client.answer(stream_id)).status == 200
            answered[0] += 1

    async def test(run: Run) -> None:
        clients = [await H2Client.connect(run.port) for _ in range(2)]
        asyncio.get_running_loop().call_later(0.5, run.process.terminate)
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*[stream(client) for client in clients for _ in range(16)])
        assert [client.ended for client in clients] == [ErrorCodes.NO_ERROR] * 2
        for client in clients:
            client.transport.abort()
        await asyncio.sleep(0)  # they close in the loop's next turn

    with Run(make_function(tmp_path), "--quiet").wait_until_ready() as run:
        asyncio.run(test(run))
        assert (run.process.wait(20), run.err) == (0, "")
    assert sent == answered != [0]


def test_a_client_that_opens_with_nonsense_is_left_at_once(served: Run) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as client:
        began = time.monotonic()
        client.sendall(b"INVALID CONNECTION PREFACE\r\n\r\n")
        assert client.recv(1000) == b""
        assert time.monotonic() - began < 1
