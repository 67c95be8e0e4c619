"""The REST application: every path, what it answers, and what it answers when it cannot."""

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest

import kfunc
from kfunc.errors import DeadlineExceeded, InvalidRequest, ModelFailed, Unavailable, Unsupported
from kfunc.handlers.tensors import InputCheck, to_response
from kfunc.protocol import v1
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec
from tests.handlers.conftest import Placed

X = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}
INFER, PREDICT, EXPLAIN = "/v2/models/iris/infer", "/v1/models/iris:predict", "/v1/models/iris:explain"


class Doubler(Placed):
    """y = 2x, at once or later; or what it was told to raise."""

    explains = True
    metadata = ModelMetadata("iris", ["1"], "test", [TensorSpec("x", "FP32", [-1])], [TensorSpec("y", "FP32", [-1])])

    def __init__(self, error: Exception | None = None, later: bool = False) -> None:
        self.ready = True
        self.calls = 0
        self._error = error
        self._later = later

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        self.calls += 1
        return self._infer_later(request) if self._later else self._infer(request)

    async def _infer_later(self, request: InferRequest) -> InferResponse:
        await asyncio.sleep(0)
        return self._infer(request)

    def _infer(self, request: InferRequest) -> InferResponse:
        if self._error is not None:
            raise self._error
        if request.inputs and request.inputs[0].datatype == "JSON":
            request = v1.typed(request, self.metadata)
        arrays = InputCheck(self.metadata.inputs, exact_datatypes=True).arrays(request)
        return to_response(request, self.metadata, {"y": 2 * arrays["x"]})

    def explain(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        return self.infer(request, context)

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        raise Unsupported("no parts")


EXTENSIONS = ["binary_tensor_data", "kfunc.cloudevents", "kfunc.content_coding", "kfunc.openapi"]
NAMED = {"name": "iris", "ready": True}
METADATA = {
    "name": "iris",
    "versions": ["1"],
    "platform": "test",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", {"name": "flowers", "status": "alive", "protocols": ["v1", "v2"]}),
        ("/v2", {"name": "kfunc", "version": kfunc.__version__, "extensions": EXTENSIONS}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/iris", METADATA),
        ("/v2/models/iris/versions/1", METADATA),
        ("/v2/models/iris/ready", NAMED),
        ("/v2/models/iris/versions/1/ready", NAMED),
        ("/v2/models", {"models": ["iris"]}),
        ("/v1/models", {"models": ["iris"]}),
        ("/v1/models/iris/versions/1", NAMED),
        ("/v1/models/iris", NAMED),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_read_is_answered(caller: Callable[..., Any], path: str, answer: Any, method: str) -> None:
    assert caller(Doubler()).ask(method, path) == (200, answer)


Y = {"name": "y", "datatype": "FP32", "shape": [2], "data": [2.0, 4.0]}


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        (INFER, {"id": "7", "inputs": [X]}, {"model_name": "iris", "model_version": "1", "id": "7", "outputs": [Y]}),
        ("/v2/models/iris/versions/1/infer", {"inputs": [X]}, {"model_name": "iris", "model_version": "1", "outputs": [Y]}),
        (INFER, {"inputs": [X], "outputs": [{"name": "y"}]}, {"model_name": "iris", "model_version": "1", "outputs": [Y]}),
        (PREDICT, {"instances": [1, 2]}, {"predictions": [2.0, 4.0]}),
        (PREDICT, {"instances": [{"x": 1}]}, {"predictions": [2.0]}),
        ("/v1/models/iris/versions/1:predict", {"instances": [1]}, {"predictions": [2.0]}),
        (EXPLAIN, {"instances": [1, 2]}, {"explanations": [2.0, 4.0]}),
    ],
)
def test_inference_is_answered(caller: Callable[..., Any], path: str, body: Any, answer: Any, later: bool) -> None:
    assert caller(Doubler(later=later)).ask("POST", path, body) == (200, answer)


def test_the_openapi_document_is_coded_where_the_caller_takes_it(caller: Callable[..., Any]) -> None:
    asked = caller(Doubler())
    assert asked.ask("GET", "/openapi.json", accept_encoding="gzip")[0] == 200
    assert b"content-encoding: gzip\r\n" in asked.headers
    assert "/v2/models/iris/infer" in json.loads(gzip.decompress(asked.body))["paths"]


def test_the_openapi_document_has_the_paths_of_the_model(caller: Callable[..., Any]) -> None:
    status, answer = caller(Doubler()).ask("GET", "/openapi.json")
    assert (status, answer["info"]["title"]) == (200, "flowers")
    assert "post" in answer["paths"][INFER]


def test_an_answer_at_once_takes_no_task(caller: Callable[..., Any]) -> None:
    asked = caller(Doubler())
    assert asked.infer(X)[0] == 200
    assert asked.tasks == 0


def test_an_answer_that_waits_takes_one_task(caller: Callable[..., Any]) -> None:
    asked = caller(Doubler(later=True))
    assert asked.infer(X)[0] == 200
    assert asked.tasks == 1


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/v3", 404, "no such path; the protocols are under /v2 and /v1/models"),
        ("POST", "/v2/models/wine/infer", 404, "no model 'wine' here; the model is 'iris'"),
        ("GET", "/v2/models/iris/versions/9", 404, "model 'iris' has no version '9'; its version is '1'"),
        ("GET", INFER, 405, "this path takes POST"),
        ("DELETE", PREDICT, 405, "this path takes POST"),
        ("POST", "/v2/health/live", 405, "this path takes GET, HEAD"),
        ("PUT", "/v1/models/iris", 405, "this path takes GET, HEAD"),
        ("PUT", "/", 405, "this path takes GET, HEAD, POST"),
        ("POST", INFER, 400, "the request has no body"),
        ("POST", EXPLAIN, 400, "the request has no body"),
        ("GET", "/v2/models/iris/explain", 405, "this path takes POST"),
        (
            *("POST", "/v2/repository/models/iris/load", 404),
            "models are loaded and unloaded on the handler's management port (--manage), not on this one",
        ),
    ],
)
def test_what_is_not_there_is_said(caller: Callable[..., Any], method: str, path: str, status: int, message: str) -> None:
    assert caller(Doubler()).ask(method, path) == (status, {"error": message})


def test_a_wrong_method_is_told_the_right_ones(caller: Callable[..., Any]) -> None:
    asked = caller(Doubler())
    asked.ask("GET", INFER)
    assert b"allow: POST\r\n" in asked.headers


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        (INFER, b"{", "the request is not a V2 inference request: "),
        (INFER, {"inputs": []}, "missing input x; the model's inputs are x"),
        (INFER, {"inputs": [X | {"data": [1]}]}, "input 'x': the shape [2] has 2 elements, data has 1"),
        (INFER, {"inputs": [X | {"datatype": "INT8"}]}, "input 'x': datatype FP32 expected, INT8 given"),
        (INFER, {"inputs": [X | {"datatype": "JSON", "data": 5}]}, "input 'x': unknown datatype 'JSON'"),
        (INFER, {"inputs": [X], "outputs": [{"name": "z"}]}, "unknown output 'z'; the model's outputs are y"),
        (PREDICT, b"[]", 'the request must be an object with "instances"'),
        (PREDICT, {"instances": [{"z": 1}]}, "instance 0 must be an object with exactly the inputs x"),
    ],
)
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_a_wrong_request_is_400(caller: Callable[..., Any], path: str, body: Any, message: str, later: bool) -> None:
    status, answer = caller(Doubler(later=later)).ask("POST", path, body)
    assert (status, list(answer)) == (400, ["error"])
    assert answer["error"].startswith(message)


@pytest.mark.parametrize("headers", [{"content_type": "text/plain"}, {"content_encoding": "identity"}, {}])
def test_the_content_type_is_not_asked(caller: Callable[..., Any], headers: dict[str, str]) -> None:
    assert caller(Doubler()).ask("POST", INFER, {"inputs": [X]}, **headers)[0] == 200


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequest("wrong"), 400),
        (ModelFailed("failed"), 500),
        (Unavailable("later"), 503),
        (DeadlineExceeded("too late"), 504),
    ],
)
def test_what_the_model_raises_is_the_answer(caller: Callable[..., Any], error: Any, status: int, later: bool) -> None:
    assert caller(Doubler(error, later)).infer(X) == (status, {"error": error.message})


def test_a_fault_that_nobody_foresaw_shows_no_internals(caller: Callable[..., Any]) -> None:
    status, answer = caller(Doubler(RuntimeError("/secret/path"), later=True)).infer(X)
    assert (status, answer) == (500, {"error": "internal error; the log of the server says more"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/v2", 200),
        ("GET", "/v2/health/live", 200),
        ("GET", "/v1/models", 200),
        ("GET", "/v2/health/ready", 503),
        ("GET", "/v2/models/iris", 503),
        ("GET", "/v2/models/rose", 503),
        ("POST", EXPLAIN, 503),
        ("GET", "/v2/models/iris/ready", 503),
        ("POST", INFER, 503),
        ("POST", PREDICT, 503),
        ("GET", "/v3", 404),
        ("GET", INFER, 405),
    ],
)
def test_while_the_model_loads_what_needs_it_is_503(caller: Callable[..., Any], method: str, path: str, status: int) -> None:
    asked = caller()
    assert asked.ask(method, path, b"{}")[0] == status
    assert (b"retry-after: 1\r\n" in asked.headers) == (status == 503)


def test_v1_says_that_a_model_is_not_ready_yet(caller: Callable[..., Any]) -> None:
    assert caller().ask("GET", "/v1/models/iris") == (200, {"name": "iris", "ready": False})


def test_a_model_that_is_not_ready_any_more_is_503(caller: Callable[..., Any]) -> None:
    model = Doubler()
    asked = caller(model)
    model.ready = False
    assert asked.ask("GET", "/v2/health/ready")[0] == 503
    assert asked.ask("GET", "/v2/models/iris/ready")[0] == 503


@pytest.mark.parametrize(
    ("protocols", "there", "gone"), [(["v1"], "/v1/models", "/v2"), (["v2"], "/v2", "/v1/models")], ids=["only v1", "only v2"]
)
def test_a_protocol_that_is_switched_off_is_not_there(
    caller: Callable[..., Any], protocols: Any, there: str, gone: str
) -> None:
    asked = caller(Doubler(), protocols=protocols)
    assert (asked.ask("GET", there)[0], asked.ask("GET", gone)[0]) == (200, 404)
    assert asked.ask("GET", "/v2/health/ready")[0] == 200


def test_only_inference_is_timed_and_everything_is_counted(caller: Callable[..., Any]) -> None:
    asked = caller(Doubler())
    asked.infer(X)
    asked.ask("GET", "/v2")
    asked.ask("GET", "/v3")
    text = asked.metrics.exposition()
    assert 'kfunc_request_duration_seconds_count{component="handler"} 1\n' in text
    assert 'code="200"} 2\n' in text
    assert 'code="404"} 1\n' in text


class Cache(Placed):
    """A Model that answers from memory what another one has answered before."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._known: dict[str, InferResponse] = {}

    @property
    def metadata(self) -> ModelMetadata:
        return self._model.metadata  # type: ignore[no-any-return]

    @property
    def ready(self) -> bool:
        return bool(self._model.ready)

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        key = repr(request)
        known = self._known.get(key)
        if known is not None:
            return known
        answer = self._model.infer(request, context)
        if isinstance(answer, InferResponse):
            self._known[key] = answer
            return answer
        return self._keep(key, answer)

    async def _keep(self, key: str, answer: Awaitable[InferResponse]) -> InferResponse:
        self._known[key] = response = await answer
        return response

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        return self._model.stream(request, context)  # type: ignore[no-any-return]


class Sequence(Placed):
    """A Model of two steps: the outputs of the first are the inputs of the second, by position."""

    def __init__(self, first: Any, second: Any) -> None:
        self._first, self._second = first, second
        self.metadata = ModelMetadata("iris", ["1"], "sequence", first.metadata.inputs, second.metadata.outputs)

    @property
    def ready(self) -> bool:
        return bool(self._first.ready and self._second.ready)

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        answer = self._first.infer(request, context)
        if isinstance(answer, InferResponse):
            return self._second.infer(self._passed(answer, request), context)  # type: ignore[no-any-return]
        return self._finish(answer, request, context)

    async def _finish(self, answer: Awaitable[InferResponse], request: InferRequest, context: Context) -> InferResponse:
        last = self._second.infer(self._passed(await answer, request), context)
        return last if isinstance(last, InferResponse) else await last

    def _passed(self, answer: InferResponse, request: InferRequest) -> InferRequest:
        specs = self._second.metadata.inputs
        inputs = [
            Tensor(spec.name, output.shape, output.datatype, np.asarray(output.data).tolist())
            for spec, output in zip(specs, answer.outputs, strict=True)
        ]
        return InferRequest(inputs, request.id, None, request.outputs)

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        raise Unsupported("no parts")


LATER = [False, True]


@pytest.mark.parametrize("later", LATER, ids=["at once", "later"])
def test_a_cache_is_a_model_that_asks_the_one_behind_it_once(caller: Callable[..., Any], later: bool) -> None:
    model = Doubler(later=later)
    asked = caller(Cache(model))
    assert asked.infer(X) == asked.infer(X)
    assert (model.calls, asked.tasks) == (1, 0)


@pytest.mark.parametrize("first", LATER, ids=["first at once", "first later"])
@pytest.mark.parametrize("second", LATER, ids=["second at once", "second later"])
def test_a_sequence_is_a_model_that_waits_only_where_a_step_does(caller: Callable[..., Any], first: bool, second: bool) -> None:
    asked = caller(Sequence(Doubler(later=first), Doubler(later=second)))
    status, answer = asked.infer(X)
    assert (status, answer["outputs"][0]["data"]) == (200, [4.0, 8.0])
    assert asked.tasks == (1 if first or second else 0)


def test_wrappers_compose_and_errors_pass_through_them(caller: Callable[..., Any]) -> None:
    model = Cache(Sequence(Cache(Doubler(later=True)), Doubler(InvalidRequest("wrong"))))
    assert caller(model).infer(X) == (400, {"error": "wrong"})


def test_a_wrapper_is_ready_when_what_it_wraps_is(caller: Callable[..., Any]) -> None:
    second = Doubler()
    asked = caller(Cache(Sequence(Doubler(), second)))
    second.ready = False
    assert asked.ask("GET", "/v2/health/ready")[0] == 503


class Coming(Placed):
    """A model that comes into memory while its first request waits; its metadata are not known before."""

    takes_images = True

    def __init__(self) -> None:
        self._there: ModelMetadata | None = None
        self.asked: list[Any] = []

    @property
    def metadata(self) -> ModelMetadata:
        if self._there is None:
            raise Unavailable("the model is loading")
        return self._there

    @property
    def ready(self) -> bool:
        return self._there is not None

    def coming(self) -> Any:
        return self._come() if self._there is None else None

    async def _come(self) -> None:
        await asyncio.sleep(0)
        self._there = ModelMetadata("iris", ["1"], "test", [TensorSpec("x", "BYTES", [-1])], [])

    def infer(self, request: InferRequest, context: Context) -> InferResponse:
        self.asked.append(request.inputs[0].data)
        return InferResponse("iris", [], "1")

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        raise Unsupported("no parts")


EVENT = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/x", "ce_type": "y"}


@pytest.mark.parametrize(
    ("target", "kind", "fields", "asked"),
    [
        (INFER, "image/png", {}, [b"x\n1\n"]),
        (PREDICT, "image/png", {}, [b"x\n1\n"]),
        ("/invocations", "text/csv", {}, [{"x": "1"}]),
        ("/", "image/png", EVENT, [b"x\n1\n"]),
    ],
)
def test_a_body_whose_meaning_depends_on_the_model_waits_for_it_as_json_does(
    target: str, kind: str, fields: dict[str, str], asked: list[Any], caller: Callable[..., Any]
) -> None:
    model = Coming()
    assert caller(model).ask("POST", target, b"x\n1\n", content_type=kind, **fields)[0] == 200
    assert [list(each) for each in model.asked] == [asked]
