"""CloudEvents through the handler's application: requests and answers are events, of the same mode."""

import base64
import gzip
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from kfunc.errors import InvalidRequest, ModelFailed, Unavailable, Unsupported
from kfunc.handlers.tensors import InputCheck, to_response
from kfunc.protocol import v1
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, TensorSpec
from kfunc.telemetry.current import PASSED
from tests.handlers.conftest import Placed

INFER, PREDICT = "/v2/models/iris/infer", "/v1/models/iris:predict"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
X = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
V1, V2 = {"instances": [1, 2]}, {"inputs": [X]}
V1_ANSWER: Any = {"predictions": [2.0, 4.0]}
LEAST = {"specversion": "1.0", "id": "call-7", "source": "/sensors/1", "type": "flower.measured"}

Ask = Callable[..., Any]


class Twice(Placed):
    """y = 2x, or the text twice; at once or later; x above 100 fails."""

    ready = True
    explains = False

    def __init__(self, datatype: str = "FP32", *, later: bool = False, shape: tuple[int, ...] = (-1,)) -> None:
        specs = [TensorSpec("x", datatype, shape)] if datatype else []
        self.metadata = ModelMetadata("iris", ["1"], "test", specs, [TensorSpec("y", datatype, shape)])
        self._later = later

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        return self._infer_later(request) if self._later else self._infer(request)

    async def _infer_later(self, request: InferRequest) -> InferResponse:
        return self._infer(request)

    def _infer(self, request: InferRequest) -> InferResponse:
        if request.inputs and request.inputs[0].datatype == "JSON":
            request = v1.typed(request, self.metadata)
        (array,) = InputCheck(self.metadata.inputs, exact_datatypes=True).arrays(request).values()
        if array.dtype != object and array.size and array.max() > 100:
            raise {101.0: InvalidRequest("too large"), 102.0: Unavailable("later")}.get(float(array[0])) or RuntimeError(
                "/secret"
            )
        return to_response(request, self.metadata, {"y": np.asarray(array + array, array.dtype)})

    def explain(self, request: InferRequest, context: Context) -> Awaitable[InferResponse]:
        raise Unsupported("this model does not explain")

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        raise ModelFailed("no parts")


def headers_of(lines: bytes) -> dict[str, str]:
    return dict(line.decode().split(": ", 1) for line in lines.split(b"\r\n") if line)


class Sender:
    """Sends events to an application and reads the answers with the SDK."""

    def __init__(self, caller: Any) -> None:
        self.caller = caller

    def send(self, target: str, message: HTTPMessage, **more: str) -> tuple[int, Any]:
        """Status, and the answer's event, or the error."""
        fields = {name.replace("-", "_"): value for name, value in message.headers.items()} | more
        status = self.caller.post(target, message.body, **fields)
        if status != 200:
            return status, json.loads(self.caller.body)["error"]
        answer = HTTPMessage(headers_of(self.caller.headers), self.caller.body)
        return status, from_http_event(answer)


@pytest.fixture
def sender(caller: Ask) -> Callable[..., Sender]:
    class Posting:
        """The shared caller, with bodies as they are: answers to events are not always JSON."""

        def __init__(self, asked: Any) -> None:
            self.asked = asked

        def post(self, target: str, body: bytes, **headers: str) -> int:
            try:
                status, _ = self.asked.ask("POST", target, body, **headers)
            except ValueError:
                status = 200
            return int(status)

        @property
        def body(self) -> bytes:
            return bytes(self.asked.body)

        @property
        def headers(self) -> bytes:
            return bytes(self.asked.headers)

    def make(model: Any = None, **changes: Any) -> Sender:
        return Sender(Posting(caller(Twice() if model is None else model, **changes)))

    return make


def event(data: Any, content_type: str | None = "application/json", **attributes: Any) -> CloudEvent:
    return CloudEvent({**LEAST, **({"datacontenttype": content_type} if content_type else {}), **attributes}, data)


WRITE: dict[str, Callable[[Any], HTTPMessage]] = {"structured": to_structured_event, "binary": to_binary_event}
modes = pytest.mark.parametrize("mode", WRITE)


@modes
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("target", "data", "answer"),
    [
        ("/", V1, V1_ANSWER),
        ("/", V2, [2.0, 4.0]),
        ("/?from=trigger", V1, V1_ANSWER),
        (PREDICT, V1, V1_ANSWER),
        (PREDICT, {"inputs": [1, 2]}, {"outputs": [2.0, 4.0]}),
        (INFER, V2, [2.0, 4.0]),
        ("/v2/models/iris/versions/1/infer", V2, [2.0, 4.0]),
    ],
)
def test_an_event_is_answered_by_an_event_of_the_same_mode(
    sender: Callable[..., Sender], mode: str, later: bool, target: str, data: Any, answer: Any
) -> None:
    made = sender(Twice(later=later))
    status, reply = made.send(target, WRITE[mode](event(data)))
    assert status == 200
    structured = headers_of(made.caller.headers)["content-type"].startswith("application/cloudevents+json")
    assert structured == (mode == "structured")
    found = reply.get_data()
    assert (found["outputs"][0]["data"] if isinstance(answer, list) else found) == answer


@modes
def test_an_answer_says_what_it_is_an_answer_to(sender: Callable[..., Sender], mode: str) -> None:
    _, reply = sender().send("/", WRITE[mode](event(V1)))
    attributes = reply.get_attributes()
    attributes.pop("traceparent", None)  # a traced request has one
    assert attributes.pop("id") != LEAST["id"]
    assert attributes.pop("time").tzinfo is not None
    assert attributes == {
        "specversion": "1.0",
        "source": "/namespaces/default/functions/flowers",
        "type": "io.kfunc.inference.response",
        "subject": "iris",
        "datacontenttype": "application/json",
        "correlationid": "call-7",
        "model": "iris",
        "modelversion": "1",
    }


@modes
def test_every_answer_has_an_id_of_its_own(sender: Callable[..., Sender], mode: str) -> None:
    made = sender()
    assert len({made.send("/", WRITE[mode](event(V1)))[1].get_id() for _ in range(5)}) == 5


def in_trace(given: str) -> bool:
    """Whether it is PARENT, or the own span's below it where the request is traced."""
    return given.startswith(PARENT[:36]) and given.endswith("-01")


@modes
def test_the_correlation_and_the_trace_are_passed_on(sender: Callable[..., Sender], mode: str) -> None:
    message = WRITE[mode](event(V1, correlationid='über 9"%', traceparent=PARENT, tracestate="a=b"))
    attributes = sender().send("/", message)[1].get_attributes()
    assert [attributes[name] for name in ("correlationid", "tracestate")] == ['über 9"%', "a=b"]
    assert in_trace(attributes["traceparent"])


@modes
def test_the_trace_of_the_request_s_head_is_taken_where_the_event_has_none(sender: Callable[..., Sender], mode: str) -> None:
    reply = sender().send("/", WRITE[mode](event(V1)), traceparent=PARENT)[1]
    assert in_trace(reply.get_extension("traceparent"))


class Seeing(Twice):
    """Keeps what a handler's own calls of other services would pass on."""

    headers: dict[bytes, bytes]

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        self.headers = {name: context.headers[name] for name in PASSED if name in context.headers}
        return super().infer(request, context)


@modes
def test_trace_and_baggage_of_an_event_reach_the_model_and_the_answer(sender: Callable[..., Sender], mode: str) -> None:
    model = Seeing()
    message = WRITE[mode](event(V1, traceparent=PARENT, tracestate="a=b", baggage="tier=gold"))
    reply = sender(model).send("/", message)[1]
    assert model.headers[b"baggage"] == b"tier=gold"
    assert in_trace(model.headers[b"traceparent"].decode())
    assert reply.get_extension("baggage") == "tier=gold"


@modes
def test_the_message_s_baggage_goes_before_the_event_s_for_the_model(sender: Callable[..., Sender], mode: str) -> None:
    model = Seeing()
    sender(model).send("/", WRITE[mode](event(V1, baggage="tier=gold")), baggage="tier=silver")
    assert model.headers[b"baggage"] == b"tier=silver"
    reply = sender(model).send("/", WRITE[mode](event(V1)), baggage="tier=silver")[1]
    assert reply.get_extension("baggage") == "tier=silver"


@modes
def test_an_event_for_a_model_that_does_not_wait_takes_no_task(sender: Callable[..., Sender], mode: str) -> None:
    made = sender()
    assert made.send("/", WRITE[mode](event(V1)))[0] == 200
    assert made.caller.asked.tasks == 0


@modes
def test_a_request_without_a_content_type_is_json(sender: Callable[..., Sender], mode: str) -> None:
    assert sender().send("/", WRITE[mode](event(V1, None)))[1].get_data() == V1_ANSWER


def test_what_curl_sends_of_itself_is_looked_at_as_json(sender: Callable[..., Sender]) -> None:
    assert sender().send("/", to_binary_event(event(V1, "application/x-www-form-urlencoded")))[0] == 200


def test_json_in_base64_is_a_request_too(sender: Callable[..., Sender]) -> None:
    assert sender().send("/", to_structured_event(event(json.dumps(V1).encode())))[1].get_data() == V1_ANSWER


@modes
def test_an_event_in_a_content_coding_is_read_and_answered_in_one(sender: Callable[..., Sender], mode: str) -> None:
    message = WRITE[mode](event({"instances": [1.5] * 2000}))
    made = sender()
    zipped = HTTPMessage({**message.headers, "content-encoding": "gzip"}, gzip.compress(message.body))
    fields = {name.replace("-", "_"): value for name, value in zipped.headers.items()}
    assert made.caller.post("/", zipped.body, **fields, accept_encoding="gzip") == 200
    answer = HTTPMessage(headers_of(made.caller.headers), gzip.decompress(made.caller.body))
    assert answer.headers["content-encoding"] == "gzip"
    assert len(from_http_event(answer).get_data()["predictions"]) == 2000  # type: ignore[index, call-overload]


# ---- binary tensors and other data


def binary_request(values: list[float], **parameters: Any) -> tuple[bytes, int]:
    raw = np.asarray(values, np.float32).tobytes()
    tensor = {"name": "x", "shape": [len(values)], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    document = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    return document + raw, len(document)


@modes
@pytest.mark.parametrize("target", ["/", INFER])
def test_binary_tensors_are_told_by_the_length_of_their_json_part(
    sender: Callable[..., Sender], mode: str, target: str
) -> None:
    body, size = binary_request([1, 2])
    message = WRITE[mode](event(body, "application/octet-stream", inferenceheaderlen=size))
    status, reply = sender().send(target, message)
    assert (status, reply.get_data()["outputs"][0]["data"]) == (200, [2.0, 4.0])


def test_a_binary_event_may_tell_the_length_as_a_plain_request_does(sender: Callable[..., Sender]) -> None:
    body, size = binary_request([1, 2])
    message = to_binary_event(event(body, "application/octet-stream"))
    status, reply = sender().send("/", message, inference_header_content_length=str(size))
    assert (status, reply.get_data()["outputs"][0]["data"]) == (200, [2.0, 4.0])


@modes
def test_binary_outputs_travel_as_bytes_with_the_length_of_their_json_part(sender: Callable[..., Sender], mode: str) -> None:
    made = sender()
    message = WRITE[mode](event({**V2, "parameters": {"binary_data_output": True}}))
    fields = {name.replace("-", "_"): value for name, value in message.headers.items()}
    assert made.caller.post("/", message.body, **fields) == 200
    if mode == "structured":
        document = json.loads(made.caller.body)
        length, kind, data = (
            document["inferenceheaderlen"],
            document["datacontenttype"],
            base64.b64decode(document["data_base64"]),
        )
    else:
        found = headers_of(made.caller.headers)
        assert found["ce-inferenceheaderlen"] == found["inference-header-content-length"]
        length, kind, data = int(found["ce-inferenceheaderlen"]), found["content-type"], made.caller.body
    assert kind == "application/octet-stream"
    assert json.loads(data[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(data[length:], np.float32).tolist() == [2.0, 4.0]


@modes
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (1,), ()])
@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "text/plain"])
def test_other_data_are_the_one_element_of_a_model_s_only_bytes_input(
    sender: Callable[..., Sender], mode: str, shape: tuple[int, ...], kind: str
) -> None:
    status, reply = sender(Twice("BYTES", shape=shape)).send("/", WRITE[mode](event(b"ab", kind)))
    assert status == 200
    output = reply.get_data()["outputs"][0]
    assert (output["shape"], output["data"]) == ([1] * len(shape), ["abab"])


def test_other_data_are_the_input_of_a_model_that_names_none(sender: Callable[..., Sender]) -> None:
    assert sender(Twice("")).send("/", to_binary_event(event(b"ab", "image/png")))[1].get_data()["outputs"][0]["data"] == [
        "abab"
    ]


@modes
def test_other_data_are_415_for_a_model_of_numbers(sender: Callable[..., Sender], mode: str) -> None:
    status, error = sender().send("/", WRITE[mode](event(b"ab", "image/png")))
    assert status == 415
    assert "'image/png'" in error
    assert "BYTES" in error


# ---- errors are HTTP's, by which the sender knows whether to deliver again


@modes
@pytest.mark.parametrize("target", ["/", INFER, PREDICT])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(("value", "status", "message"), [(101, 400, "too large"), (102, 503, "later")])
def test_what_the_model_refuses_is_a_plain_error(
    sender: Callable[..., Sender], mode: str, target: str, later: bool, value: int, status: int, message: str
) -> None:
    data = {"inputs": [{**X, "shape": [1], "data": [value]}]} if target == INFER else {"instances": [value]}
    made = sender(Twice(later=later))
    assert made.send(target, WRITE[mode](event(data))) == (status, message)
    assert "ce-id" not in headers_of(made.caller.headers)
    assert headers_of(made.caller.headers)["content-type"] == "application/json"


@modes
@pytest.mark.parametrize(
    ("target", "data", "kind", "message"),
    [
        ("/", {}, "application/json", "neither"),
        ("/", {"a": 1}, "application/json", 'neither "instances" (V1) nor "inputs" (V2)'),
        ("/", [1], "application/json", "neither of V1 nor of V2"),
        (INFER, V1, "application/json", "not a V2 inference request"),
        (PREDICT, V2, "application/json", "V2"),
        ("/", None, "application/json", "the event has no data"),
        ("/", b"", "application/json", "the "),
        ("/", {"instances": ["x"]}, "application/json", "FP32"),
    ],
)
def test_data_that_are_no_request_are_400(
    sender: Callable[..., Sender], mode: str, target: str, data: Any, kind: str, message: str
) -> None:
    if mode == "binary" and data is None:
        message = "no data"
    status, error = sender().send(target, WRITE[mode](event(data, kind)))
    assert status == 400
    assert message in error


def test_an_event_of_another_version_is_told_which_is_read(sender: Callable[..., Sender]) -> None:
    status, error = sender().send(
        "/", HTTPMessage({f"ce-{name}": value for name, value in LEAST.items()} | {"ce-specversion": "0.3"}, b"{}")
    )
    assert (status, error) == (400, "the event's specversion is '0.3'; CloudEvents 1.0 is read here")


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
@modes
def test_a_missing_attribute_is_named(sender: Callable[..., Sender], mode: str, missing: str) -> None:
    rest = {name: value for name, value in LEAST.items() if name != missing}
    if mode == "structured":
        message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps({**rest, "data": V1}).encode())
    else:
        message = HTTPMessage({f"ce-{name}": value for name, value in rest.items()}, json.dumps(V1).encode())
    status, error = sender().send("/", message)
    assert status == 400
    assert f"attribute {missing} is missing" in error


def test_a_line_end_in_an_id_never_reaches_a_head(sender: Callable[..., Sender]) -> None:
    made = sender()
    fields = {f"ce-{name}": value for name, value in LEAST.items()} | {"ce-id": "a%0d%0aset-cookie: x"}
    status, error = made.send("/", HTTPMessage(fields, json.dumps(V1).encode()))
    assert (status, error) == (400, "the event's attribute id has a control character, or what is no character")
    assert b"set-cookie" not in made.caller.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_type": "application/json"}, 415),
        ({}, 415),
        ({"ce_id": "1", "ce_type": "t", "ce_source": "/s"}, 400),
        ({"content_type": "application/cloudevents+xml"}, 415),
        ({"content_type": "application/cloudevents"}, 415),
    ],
)
def test_a_post_to_the_root_that_is_no_event_is_told_what_is_one(
    sender: Callable[..., Sender], headers: dict[str, str], status: int
) -> None:
    made = sender()
    assert made.caller.post("/", json.dumps(V1).encode(), **headers) == status


def test_an_attribute_for_a_content_coding_is_refused(sender: Callable[..., Sender]) -> None:
    status, error = sender().send("/", to_structured_event(event(b"x", contentencoding="gzip")))
    assert status == 415
    assert "contentencoding" in error


def test_a_plain_request_with_the_id_of_an_event_is_no_event(caller: Ask) -> None:
    assert caller(Twice()).ask("POST", PREDICT, V1, ce_id="7") == (200, V1_ANSWER)


@pytest.mark.parametrize(("protocols", "good", "bad"), [(["v1"], V1, V2), (["v2"], V2, V1)], ids=["only v1", "only v2"])
def test_a_protocol_that_is_switched_off_is_refused_in_events_too(
    sender: Callable[..., Sender], protocols: Any, good: Any, bad: Any
) -> None:
    made = sender(protocols=protocols)
    assert made.send("/", to_structured_event(event(good)))[0] == 200
    assert made.send("/", to_structured_event(event(bad)))[0] == 400


def test_while_the_model_loads_an_event_is_503_and_comes_again(caller: Ask) -> None:
    asked = caller()
    assert asked.ask("POST", "/", V1, **{f"ce_{name}": value for name, value in LEAST.items()})[0] == 503
    assert b"retry-after: 1\r\n" in asked.headers


# ---- the function's own events, which a Trigger without a filter brings back

OWN = {**LEAST, "source": "/namespaces/default/functions/flowers"}


def test_an_own_event_is_acknowledged_and_not_answered(caller: Ask) -> None:
    asked = caller(Twice())
    structured = json.dumps({**OWN, "data": V1}).encode()
    assert asked.ask("POST", "/", structured, content_type="application/cloudevents+json") == (202, None)
    assert asked.ask("POST", PREDICT, V1, **{f"ce_{name}": value for name, value in OWN.items()}) == (202, None)
    assert asked.ask("POST", "/", **{f"ce_{name}": value for name, value in OWN.items()}) == (202, None)


def test_an_own_event_of_a_batch_has_no_answer(caller: Ask) -> None:
    asked = caller(Twice())
    own = json.dumps({**OWN, "data": V1}).encode()
    status, answers = asked.ask("POST", "/", b"[%b,%b]" % (own, batch_of(V1)[1:-1]), **BATCH)
    assert (status, [answer["data"] for answer in answers]) == (200, [V1_ANSWER])
    assert asked.ask("POST", "/", b"[%b]" % own, **BATCH) == (202, None)


# ---- batches


def batch_of(*data: Any) -> bytes:
    return json.dumps([{**LEAST, "id": str(index), "data": each} for index, each in enumerate(data)]).encode()


BATCH = {"content_type": "application/cloudevents-batch+json; charset=utf-8"}


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("target", ["/", PREDICT])
def test_a_batch_is_answered_by_a_batch_in_its_order(caller: Ask, later: bool, target: str) -> None:
    asked = caller(Twice(later=later))
    status, answers = asked.ask("POST", target, batch_of(*({"instances": [number]} for number in range(100))), **BATCH)
    assert status == 200
    assert b"content-type: application/cloudevents-batch+json; charset=utf-8\r\n" in asked.headers
    assert [answer["correlationid"] for answer in answers] == [str(number) for number in range(100)]
    assert [answer["data"]["predictions"] for answer in answers] == [[2.0 * number] for number in range(100)]
    assert len({answer["id"] for answer in answers}) == 100


def test_a_batch_may_mix_protocols(caller: Ask) -> None:
    _, (first, second) = caller(Twice()).ask("POST", "/", batch_of(V1, V2), **BATCH)
    assert first["data"] == V1_ANSWER
    assert second["data"]["outputs"][0]["data"] == [2.0, 4.0]


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_an_event_that_fails_in_a_batch_fails_alone(caller: Ask, later: bool) -> None:
    wrong = [{"instances": [101]}, {"instances": [102]}, {"instances": [103]}, {}]
    status, answers = caller(Twice(later=later)).ask("POST", "/", batch_of(V1, *wrong, V1), **BATCH)
    assert status == 200
    assert [answer["data"] for answer in answers][:: len(answers) - 1] == [V1_ANSWER, V1_ANSWER]
    failed = answers[1:-1]
    assert {answer["type"] for answer in failed} == {"io.kfunc.inference.error"}
    assert [answer["statuscode"] for answer in failed] == [400, 503, 500, 400]
    assert [answer["correlationid"] for answer in failed] == ["1", "2", "3", "4"]
    assert failed[0]["data"] == {"error": "too large"}
    assert "secret" not in json.dumps(failed)


def test_what_is_no_event_in_a_batch_is_answered_by_an_error_event(caller: Ask) -> None:
    status, answers = caller(Twice()).ask("POST", "/", b'[1, {"id": "a"}, %b]' % batch_of(V1)[1:-1], **BATCH)
    assert status == 200
    assert [answer["type"].rpartition(".")[2] for answer in answers] == ["error", "error", "response"]
    assert "correlationid" not in answers[0]


def test_an_empty_batch_has_an_empty_answer(caller: Ask) -> None:
    assert caller(Twice()).ask("POST", "/", b"[]", **BATCH) == (200, [])


@pytest.mark.parametrize("body", [b"{}", b"x", b"[" * 1000, b"[%b]" % b",".join([b"1"] * 2000)])
def test_what_is_no_batch_is_400(caller: Ask, body: bytes) -> None:
    status, answer = caller(Twice()).ask("POST", "/", body, **BATCH)
    assert status == 400
    assert "batch" in answer["error"]
