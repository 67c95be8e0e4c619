"""CloudEvents and content codings through the whole chain of `kfunc run`: logger, batcher and handler as processes."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import count
from typing import Any

import numpy as np
import pytest
import zstandard
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from kfunc.protocol.incoming_events import decode_binary, decode_structured, integer
from tests.integration.test_run import ROWS, V2, Run, make_function

V1 = {"instances": ROWS}
INFER, PREDICT = "/v2/models/iris/infer", "/v1/models/iris:predict"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NUMBERS = count()
MANY = {"instances": ROWS * 200}

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Run(make_function(tmp_path_factory.mktemp("served"))) as run:
        yield run.wait_until_ready()
        assert run.end() == 0
        assert run.err == ""


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def event(self) -> Any:
        return from_http_event(HTTPMessage(self.headers, self.body))

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def post(run: Run, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    connection = HTTPConnection("127.0.0.1", run.port, timeout=20)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


def labels(document: Any) -> list[int]:
    """What the model says of each row, in either protocol."""
    if "predictions" in document:
        return [row["label"] for row in document["predictions"]]
    return list(next(output["data"] for output in document["outputs"] if output["name"] == "label"))


# ---- content codings


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


CODE: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd}
DECODE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": zstandard.decompress,
}


@pytest.mark.parametrize("coding", CODE)
@pytest.mark.parametrize(("path", "body"), [(INFER, V2), (PREDICT, V1)])
def test_a_compressed_request_is_answered(served: Run, coding: str, path: str, body: Any) -> None:
    answer = post(served, path, CODE[coding](json.dumps(body).encode()), {"content-encoding": coding})
    assert answer.status == 200
    assert labels(answer.document) == [0, 2]


@pytest.mark.parametrize("coding", CODE)
def test_an_answer_is_compressed_where_the_caller_takes_it(served: Run, coding: str) -> None:
    answer = post(served, PREDICT, json.dumps(MANY).encode(), {"accept-encoding": coding})
    assert (answer.headers["content-encoding"], answer.headers["vary"]) == (coding, "accept-encoding")
    assert labels(json.loads(DECODE[coding](answer.body))) == [0, 2] * 200


def test_compressed_and_plain_requests_at_once_get_their_own_answers(served: Run) -> None:
    """The batcher merges plain requests and must leave the others as they are."""

    def ask(number: int) -> tuple[int, list[int]]:
        row = number % 2
        body = json.dumps({"instances": [ROWS[row]] * (1 + number % 3)}).encode()
        coding = (None, "gzip", "zstd")[number % 3]
        answer = post(served, PREDICT, CODE[coding](body) if coding else body, {"content-encoding": coding} if coding else {})
        assert answer.status == 200, answer.body
        return number, labels(answer.document)

    with ThreadPoolExecutor(16) as pool:
        for number, found in pool.map(ask, range(200)):
            assert found == [2 * (number % 2)] * (1 + number % 3)


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (b"{}", "gzip", 400),
        (gzip.compress(b"{}")[:-1], "gzip", 400),
        (gzip.compress(b"{}") + b"x", "gzip", 400),
        (b"{}", "br", 415),
        (gzip.compress(bytes(65 * 2**20)), "gzip", 413),
    ],
    ids=["not gzip", "cut off", "followed", "unknown", "bomb"],
)
def test_a_wrong_body_is_refused_and_the_connection_goes_on(served: Run, body: bytes, coding: str, status: int) -> None:
    connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
    connection.request("POST", PREDICT, body, {"content-encoding": coding})
    response = connection.getresponse()
    assert response.status == status
    assert list(json.loads(response.read())) == ["error"]
    connection.request("POST", PREDICT, json.dumps(V1))
    assert connection.getresponse().status == 200
    connection.close()


def test_the_logged_event_of_a_compressed_call_keeps_what_passed(served: Run) -> None:
    identifier = f"coded-{next(NUMBERS)}"
    body = gzip.compress(json.dumps(MANY).encode())
    answer = post(served, PREDICT, body, {"content-encoding": "gzip", "accept-encoding": "gzip", "x-request-id": identifier})
    served.wait_for(lambda: sum(event["correlationid"] == identifier for event in served.events()) == 2)
    request, response = [event for event in served.events() if event["correlationid"] == identifier]
    assert (request["contentencoding"], base64.b64decode(request["data_base64"])) == ("gzip", body)
    assert (response["contentencoding"], base64.b64decode(response["data_base64"])) == ("gzip", answer.body)


# ---- events


def event(data: Any, **attributes: str) -> CloudEvent:
    return CloudEvent(
        {"source": "/sensors/1", "type": "flower.measured", "datacontenttype": "application/json", **attributes}, data
    )


WRITE: dict[str, Callable[[Any], HTTPMessage]] = {"structured": to_structured_event, "binary": to_binary_event}
modes = pytest.mark.parametrize("mode", WRITE)


@modes
@pytest.mark.parametrize(("path", "data"), [("/", V1), ("/", V2), (PREDICT, V1), (INFER, V2)])
def test_an_event_is_answered_by_an_event(served: Run, mode: str, path: str, data: Any) -> None:
    sent = event(data, traceparent=PARENT)
    message = WRITE[mode](sent)
    answer = post(served, path, message.body, message.headers)
    assert answer.status == 200
    reply = answer.event
    assert labels(reply.get_data()) == [0, 2]
    assert reply.get_type() == "io.kfunc.inference.response"
    assert reply.get_source() == "/namespaces/default/functions/iris"
    assert reply.get_extension("correlationid") == sent.get_id()
    assert reply.get_extension("traceparent") == PARENT


def test_a_batch_of_events_is_answered_in_order(served: Run) -> None:
    wrong = {"instances": [[1]]}
    batch = [
        {"specversion": "1.0", "id": str(index), "source": "/s", "type": "t", "data": data}
        for index, data in enumerate([V1, wrong, V2])
    ]
    headers = {"content-type": "application/cloudevents-batch+json"}
    answer = post(served, "/", json.dumps(batch).encode(), headers)
    assert answer.status == 200
    first, failed, last = answer.document
    assert (labels(first["data"]), labels(last["data"])) == ([0, 2], [0, 2])
    assert (failed["type"], failed["statuscode"], failed["correlationid"]) == ("io.kfunc.inference.error", 400, "1")


def test_events_and_plain_requests_at_once_get_their_own_answers(served: Run) -> None:
    """Binary events on an infer path look like plain requests to the batcher."""

    def ask(number: int) -> None:
        row = number % 2
        data = {"instances": [ROWS[row]]}
        if number % 3 == 0:
            plain = post(served, PREDICT, json.dumps(data).encode(), {})
            assert "ce-id" not in plain.headers
            assert labels(plain.document) == [2 * row]
            return
        sent = event(data)
        message = WRITE["binary" if number % 3 == 1 else "structured"](sent)
        reply = post(served, PREDICT, message.body, message.headers).event
        assert reply.get_extension("correlationid") == sent.get_id()
        assert labels(reply.get_data()) == [2 * row]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(200)))


@modes
def test_a_wrong_event_is_a_plain_error_that_is_not_delivered_again(served: Run, mode: str) -> None:
    message = WRITE[mode](event({"instances": [[1]]}))
    answer = post(served, "/", message.body, message.headers)
    assert answer.status == 400
    assert list(answer.document) == ["error"]
    assert answer.headers["content-type"] == "application/json"


def test_a_post_to_the_root_that_is_no_event_is_415(served: Run) -> None:
    answer = post(served, "/", json.dumps(V1).encode(), {"content-type": "application/json"})
    assert answer.status == 415
    assert "CloudEvent" in answer.document["error"]


@modes
@pytest.mark.parametrize("path", ["/", "//", "/?a=b"])
def test_an_event_to_the_root_is_a_call_that_is_logged(served: Run, mode: str, path: str) -> None:
    identifier = f"event-{next(NUMBERS)}"
    message = WRITE[mode](event(V1))
    assert post(served, path, message.body, {**message.headers, "x-request-id": identifier}).status == 200
    served.wait_for(lambda: sum(logged["correlationid"] == identifier for logged in served.events()) == 2)
    request, response = [logged for logged in served.events() if logged["correlationid"] == identifier]
    assert [request["model"], response["model"], response["statuscode"]] == ["iris", "iris", 200]
    assert request["data"] == (V1 if mode == "binary" else json.loads(message.body))


@modes
def test_an_event_is_compressed_as_any_request_is(served: Run, mode: str) -> None:
    message = WRITE[mode](event(MANY))
    headers = {**message.headers, "content-encoding": "gzip", "accept-encoding": "zstd"}
    answer = post(served, "/", gzip.compress(message.body), headers)
    assert answer.headers["content-encoding"] == "zstd"
    reply = from_http_event(HTTPMessage(answer.headers, zstandard.decompress(answer.body)))
    assert labels(reply.get_data()) == [0, 2] * 200


@modes
def test_binary_tensors_travel_in_events_both_ways(served: Run, mode: str) -> None:
    raw = np.asarray(ROWS, np.float32).tobytes()
    tensor = {"name": "input", "shape": [2, 4], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    label = {"name": "label", "parameters": {"binary_data": True}}
    document = json.dumps({"inputs": [tensor], "outputs": [label]}).encode()
    attributes = {"datacontenttype": "application/octet-stream", "inferenceheaderlen": str(len(document))}
    message = WRITE[mode](event(document + raw, **attributes))
    answer = post(served, "/", message.body, message.headers)
    assert answer.status == 200, answer.body
    found = decode_structured(answer.body) if mode == "structured" else decode_binary(fields_of(answer), answer.body)
    length = integer(found, "inferenceheaderlen")
    assert found.content_type == "application/octet-stream"
    assert json.loads(found.data[:length])["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert np.frombuffer(found.data[length:], np.int64).tolist() == [0, 2]


def fields_of(answer: Answer) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in answer.headers.items()}
