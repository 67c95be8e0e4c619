"""The spans within a handler, and that a traced request is answered as any other."""

from collections.abc import AsyncGenerator
from time import perf_counter
from typing import Any

import pytest

from kfunc.errors import ModelFailed, Unavailable
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec
from tests.handlers.conftest import Caller, Placed

ROWS = {"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}


class Answering(Placed):
    """A model that takes pictures and tables too, and answers in one part or in two."""

    metadata = ModelMetadata("iris", ["1"], "test", [TensorSpec("x", "FP32", [-1])], [TensorSpec("y", "FP32", [-1])])
    ready = explains = takes_images = True

    def infer(self, request: InferRequest, context: Context) -> InferResponse:
        return InferResponse("iris", [Tensor("y", [1], "FP32", [1.0])])

    async def explain(self, request: InferRequest, context: Context) -> InferResponse:
        return self.infer(request, context)

    async def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        yield self.infer(request, context)
        yield self.infer(request, context)


class Raising(Answering):
    """Its own code fails, as `LoadedModel` tells it."""

    def infer(self, request: InferRequest, context: Context) -> InferResponse:
        context.compute_at, context.compute_s = perf_counter(), 0.001
        try:
            raise ValueError("the caller's own words")
        except ValueError as error:
            raise ModelFailed("the model failed; the log of the handler says more") from error


class Resident(Answering):
    """A model that has its metadata once it has been loaded."""

    told = None

    def __init__(self) -> None:
        self._loaded = False

    def coming(self) -> Any:
        return self._load()

    async def _load(self) -> None:
        self._loaded = True

    @property
    def metadata(self) -> ModelMetadata:  # type: ignore[override]
        if not self._loaded:
            raise Unavailable("the model is loading")
        return Answering.metadata


@pytest.mark.parametrize(
    ("target", "body", "verb"),
    [
        ("/v2/models/iris/infer", ROWS, "infer"),
        ("/v1/models/iris:predict", {"instances": [1, 2]}, "infer"),
        ("/v2/models/iris/explain", ROWS, "explain"),
        ("/v2/models/iris/infer_stream", ROWS, "stream"),
    ],
)
def test_a_request_has_spans_of_its_decoding_and_its_encoding(target: str, body: Any, verb: str) -> None:
    caller = Caller(Answering(), traced=True)
    caller.ask("POST", target, body)
    decode, encode, whole = caller.spans.all
    assert (decode.name, encode.name) == ("decode", "encode")
    assert whole.started_at <= decode.started_at <= decode.ended_at <= encode.started_at <= encode.ended_at <= whole.ended_at


def test_what_could_not_be_decoded_has_no_span_of_it() -> None:
    caller = Caller(Answering(), traced=True)
    assert caller.ask("POST", "/v2/models/iris/infer", b"{")[0] == 400
    assert len(caller.spans.all) == 1


def test_a_model_that_raises_is_an_error_of_its_own_span_with_the_type_of_what_it_raised() -> None:
    caller = Caller(Raising(), traced=True)
    assert caller.ask("POST", "/v2/models/iris/infer", ROWS)[0] == 500
    (compute,) = [span for span in caller.spans.all if span.name == "compute"]
    assert compute.error == "the model failed; the log of the handler says more"
    assert b"error.type" in compute.attributes
    assert b"ValueError" in compute.attributes
    assert b"own words" not in compute.attributes


@pytest.mark.parametrize(
    ("target", "body", "kind"),
    [("/v2/models/iris/infer", b"\x89PNG", "image/png"), ("/invocations", b"x\n1\n", "text/csv")],
)
def test_bodies_of_other_types_are_read_whether_they_are_traced_or_not(target: str, body: bytes, kind: str) -> None:
    statuses = [Caller(Answering(), traced=traced).ask("POST", target, body, content_type=kind)[0] for traced in (False, True)]
    assert statuses[0] == statuses[1] != 415


def test_metadata_of_a_model_that_comes_and_goes_are_waited_for_in_a_traced_request_too() -> None:
    assert Caller(Resident(), traced=True).ask("GET", "/v2/models/iris")[0] == 200
