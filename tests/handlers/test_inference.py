"""Requests and answers in other forms than plain JSON: content codings and binary tensors, and where they are worked on."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import zstandard

from kfunc.config.inference import Limits
from kfunc.handlers.contract import Handler
from kfunc.handlers.inference import LARGE
from kfunc.handlers.loaded import LoadedModel
from kfunc.http.exchange import Exchange
from kfunc.protocol.messages import TensorSpec
from tests.handlers.conftest import Answers

INFER, PREDICT = "/v2/models/iris/infer", "/v1/models/iris:predict"
X = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
Ask = Callable[..., Any]


class Doubling(Handler):
    inputs = [TensorSpec("x", "FP32", [-1])]
    outputs = [TensorSpec("y", "FP32", [-1])]

    def predict(self, inputs: Any) -> Any:
        return {"y": 2 * inputs["x"]}


@pytest.fixture
def asked(caller: Ask, configured: Callable[..., Any]) -> Ask:
    def make(**changes: Any) -> Any:
        model = LoadedModel(configured(execution="loop", **changes), Doubling())
        return caller(model, **changes)

    return make


def deflated(body: bytes) -> bytes:
    return zlib.compress(body)


def zstd(body: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(body)


def binary(values: Any, **parameters: Any) -> tuple[bytes, str]:
    """A body with one binary tensor, and the length of its JSON part."""
    raw = np.asarray(values, np.float32).tobytes()
    tensor = {"name": "x", "shape": [len(values)], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    document = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    return document + raw, str(len(document))


def large(count: int) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [count], "datatype": "FP32", "data": [0.5] * count}]}


def field(headers: bytes, name: bytes) -> bytes | None:
    for line in headers.split(b"\r\n"):
        key, _, value = line.partition(b": ")
        if key == name:
            return value
    return None


# ---- requests


@pytest.mark.parametrize(
    ("coding", "code"), [("gzip", gzip.compress), ("deflate", deflated), ("zstd", zstd), ("GZIP", gzip.compress)]
)
@pytest.mark.parametrize(("path", "body"), [(INFER, {"inputs": [X]}), (PREDICT, {"instances": [1, 2]})])
def test_a_body_in_a_content_coding_is_read(asked: Ask, coding: str, code: Any, path: str, body: Any) -> None:
    status, answer = asked().ask("POST", path, code(json.dumps(body).encode()), content_encoding=coding)
    assert status == 200
    assert answer.get("predictions") == [2.0, 4.0] or answer["outputs"][0]["data"] == [2.0, 4.0]


def test_a_small_body_in_a_content_coding_takes_no_task(asked: Ask) -> None:
    caller = asked()
    assert caller.ask("POST", INFER, gzip.compress(json.dumps({"inputs": [X]}).encode()), content_encoding="gzip")[0] == 200
    assert caller.tasks == 0


def test_a_body_that_inflates_to_much_is_inflated_in_a_thread(asked: Ask) -> None:
    caller = asked()
    body = json.dumps(large(LARGE // 4)).encode()
    assert len(body) > LARGE
    status, answer = caller.ask("POST", INFER, gzip.compress(body), content_encoding="gzip")
    assert (status, len(answer["outputs"][0]["data"])) == (200, LARGE // 4)
    assert caller.tasks == 1


@pytest.mark.parametrize("limit", [1000, LARGE + 1000])
def test_a_body_that_inflates_past_the_limit_is_413(asked: Ask, limit: int) -> None:
    status, answer = asked(limits=Limits(max_body_bytes=limit)).ask(
        "POST", INFER, gzip.compress(b" " * (limit + 1)), content_encoding="gzip"
    )
    assert status == 413
    assert str(limit) in answer["error"]


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [("br", b"x", 415), ("gzip", b"{}", 400), ("gzip", gzip.compress(b"{")[:-4], 400), ("gzip", gzip.compress(b"{"), 400)],
)
def test_a_body_that_is_not_in_its_coding_is_the_callers_fault(asked: Ask, coding: str, body: bytes, status: int) -> None:
    assert asked().ask("POST", INFER, body, content_encoding=coding)[0] == status


def test_binary_tensors_are_read_and_answered_as_json_unless_asked_for(asked: Ask) -> None:
    body, length = binary([1, 2])
    status, answer = asked().ask("POST", INFER, body, inference_header_content_length=length)
    assert (status, answer["outputs"][0]["data"]) == (200, [2.0, 4.0])


def test_binary_tensors_in_a_content_coding_are_read(asked: Ask) -> None:
    body, length = binary([1, 2])
    caller = asked()
    headers = {"inference_header_content_length": length, "content_encoding": "gzip"}
    assert caller.ask("POST", INFER, gzip.compress(body), **headers)[1]["outputs"][0]["data"] == [2.0, 4.0]


@pytest.mark.parametrize("length", ["", "-1", "x", "1e3", "0", "99999", "1" * 40])
def test_a_length_of_the_json_part_that_is_none_is_400(asked: Ask, length: str) -> None:
    assert asked().ask("POST", INFER, binary([1])[0], inference_header_content_length=length)[0] == 400


def test_binary_tensors_are_not_v1s(asked: Ask) -> None:
    body, length = binary([1])
    status, answer = asked().ask("POST", PREDICT, body, inference_header_content_length=length)
    assert (status, answer) == (
        415,
        {"error": "binary tensors are the V2 protocol's: POST them to /v2/models/NAME/infer"},
    )


# ---- answers


def test_binary_outputs_come_with_the_length_of_the_json_part(asked: Ask) -> None:
    caller = asked()
    assert caller.infer(X, parameters={"binary_data_output": True})[0] == 200
    length = int(field(caller.headers, b"inference-header-content-length") or 0)
    document = json.loads(caller.body[:length])
    assert document["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(caller.body[length:], np.float32).tolist() == [2.0, 4.0]
    assert field(caller.headers, b"content-type") == b"application/octet-stream"


@pytest.mark.parametrize(
    ("accepted", "count", "coding"),
    [
        ("gzip", 2000, b"gzip"),
        ("deflate", 2000, b"deflate"),
        ("gzip, zstd", 2000, b"zstd"),
        ("gzip;q=0", 2000, None),
        ("br", 2000, None),
        ("", 2000, None),
        ("gzip", 2, None),
        ("gzip, identity;q=0", 2, b"gzip"),
        ("gzip", LARGE, b"gzip"),
    ],
)
def test_an_answer_is_coded_where_the_caller_takes_it_and_it_is_worth_it(
    asked: Ask, accepted: str, count: int, coding: bytes | None
) -> None:
    caller = asked()
    assert caller.ask("POST", INFER, large(count), accept_encoding=accepted)[0] == 200
    assert field(caller.headers, b"content-encoding") == coding
    assert field(caller.headers, b"vary") == (b"accept-encoding" if coding else None)
    assert caller.tasks == (1 if count == LARGE else 0)
    decode: Any = {b"gzip": gzip.decompress, b"deflate": zlib.decompress, b"zstd": zstandard.decompress, None: bytes}[coding]
    assert len(json.loads(decode(caller.body))["outputs"][0]["data"]) == count


def test_what_was_read_of_a_head_serves_all_requests_with_it(asked: Ask) -> None:
    from kfunc.handlers.forms import form_of
    from kfunc.http.exchange import Exchange

    def exchange(**headers: bytes) -> Any:
        fields = {name.replace("_", "-").encode(): value for name, value in headers.items()}
        return Exchange(None, b"POST", b"/", [], fields, True)  # type: ignore[arg-type]

    assert form_of(exchange(host=b"a")) is form_of(exchange(content_type=b"text/plain"))
    assert form_of(exchange(accept_encoding=b"gzip")) is form_of(exchange(accept_encoding=b"gzip"))
    assert not form_of(exchange(accept_encoding=b"gzip")).unusual
    assert form_of(exchange(content_encoding=b"gzip")).unusual


class Sleepy(Doubling):
    """Knows that it was cancelled."""

    cancelled = False

    async def predict(self, inputs: Any) -> Any:  # type: ignore[override]
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


def test_a_call_that_nobody_waits_for_is_cancelled_in_the_handler(caller: Ask, configured: Callable[..., Any]) -> None:
    application = caller(LoadedModel(configured(), handler := Sleepy())).application

    async def test() -> None:
        exchange = Exchange(Answers(), b"POST", INFER.encode(), [], {}, True)
        exchange.body, exchange.complete = json.dumps({"inputs": [X]}).encode(), True
        application.handle(exchange)
        await asyncio.sleep(0.01)
        exchange.cancel()
        await asyncio.wait(asyncio.all_tasks() - {cast("asyncio.Task[None]", asyncio.current_task())})

    asyncio.run(test())
    assert handler.cancelled


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_invocations_take_csv(asked: Ask, coding: str) -> None:
    body = b"x\n1\n2.5\n"
    fields = {"content_type": "Text/CSV"} | ({"content_encoding": coding} if coding else {})
    assert asked().ask("POST", "/invocations", gzip.compress(body) if coding else body, **fields) == (
        200,
        {"predictions": [2.0, 5.0]},
    )


@pytest.mark.parametrize("path", [INFER, PREDICT])
def test_csv_is_415_at_other_paths(asked: Ask, path: str) -> None:
    status, answer = asked().ask("POST", path, b"x\n1\n", content_type="text/csv")
    assert (status, answer["error"]) == (415, "CSV is taken at /invocations, MLflow's path; this one takes JSON")
