"""The calls of a client over gRPC as flows; what they mean is as over REST. Sans-IO.

A Request's path is the method's and its body the message; an Answer has the HTTP status of the same case in REST.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from kfunc.client.calls import Calls
from kfunc.client.errors import InvalidAnswer, InvalidCall, ServerFailed, Unavailable
from kfunc.client.results import IndexEntry, InferResult, ServerMetadata
from kfunc.client.sending import lowered, request_id
from kfunc.client.wire import Answer, Flow, Request
from kfunc.errors import KfuncError
from kfunc.protocol.grpc import answer as answers
from kfunc.protocol.grpc import request as requests
from kfunc.protocol.grpc import schema, services
from kfunc.protocol.grpc.schema import Schema
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, RequestedOutput, TensorSpec

SERVICE = f"/{services.INFERENCE}/"


class GrpcCalls(Calls):
    """As Calls. V1 has no gRPC."""

    def infer(
        self,
        inputs: Mapping[str, Any],
        model: str,
        version: str,
        outputs: Sequence[str] | None,
        parameters: Mapping[str, Any] | None,
        id: str,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Flow[InferResult]:
        """One ModelInfer."""
        message = yield from self.infer_message(inputs, model, version, outputs, parameters, id)
        answer = yield from self.sending.send(self.request("ModelInfer", message, headers), timeout_s)
        return result_of(answer, answer.body)

    def infer_message(
        self,
        inputs: Mapping[str, Any],
        model: str,
        version: str,
        outputs: Sequence[str] | None,
        parameters: Mapping[str, Any] | None,
        id: str,
    ) -> Flow[bytes]:
        """A ModelInferRequest."""
        name = yield from self.named(model)
        tensors = yield from self._tensors(inputs, name, version)
        wanted = None if outputs is None else [RequestedOutput(output) for output in outputs]
        return requests.encode_request(InferRequest(tensors, id, dict(parameters or {}), wanted, name, version))

    def stream(
        self,
        inputs: Mapping[str, Any],
        model: str,
        version: str,
        outputs: Sequence[str] | None,
        parameters: Mapping[str, Any] | None,
        id: str,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Flow[Request]:
        """The one request of a ModelStreamInfer, for a transport that streams."""
        message = yield from self.infer_message(inputs, model, version, outputs, parameters, id)
        request = self.request("ModelStreamInfer", message, headers)
        request.timeout_s = self.sending.timeout_s if timeout_s is None else timeout_s
        return request

    def predict(self, *arguments: Any, **more: Any) -> NoReturn:
        """There is none."""
        raise InvalidCall("V1 has no gRPC: use infer, or a client of http://")

    explain = predict

    # ---- what there is

    def models(self) -> Flow[list[str]]:
        """The names of the models, of the repository's index."""
        return list(dict.fromkeys(entry.name for entry in (yield from self.repository_index(only_ready=False))))

    def server_metadata(self) -> Flow[ServerMetadata]:
        """What the server says of itself."""
        return msgspec.convert((yield from self._asked_for("ServerMetadata", b"", services.SERVER_METADATA)), ServerMetadata)

    def metadata(self, model: str, version: str) -> Flow[ModelMetadata]:
        """What a model says of itself."""
        name = yield from self.named(model)
        message = schema.encode(services.MODEL, {"name": name, "version": version})
        told = yield from self._asked_for("ModelMetadata", message, services.MODEL_METADATA)
        inputs, outputs = ([TensorSpec(**spec) for spec in told[side]] for side in ("inputs", "outputs"))
        return ModelMetadata(told["name"], told["versions"], told["platform"], inputs, outputs)

    def repository_index(self, *, only_ready: bool) -> Flow[list[IndexEntry]]:
        """Every version of every model."""
        message = schema.encode(services.INDEX_REQUEST, {"ready": only_ready})
        told = yield from self._asked_for("RepositoryIndex", message, services.INDEX)
        return [IndexEntry(**entry) for entry in told["models"]]

    # ---- health

    def _probe_live(self, timeout_s: float) -> Flow[None]:
        yield from self._probe("ServerLive", b"", timeout_s)

    def _probe_ready(self, model: str, version: str, timeout_s: float) -> Flow[None]:
        message = schema.encode(services.MODEL, {"name": model, "version": version}) if model else b""
        answer = yield from self._probe("ModelReady" if model else "ServerReady", message, timeout_s)
        if not read(services.READY, answer)["ready"]:
            raise Unavailable("the server is not ready" if not model else f"the model {model} is not ready")

    def _probe(self, method: str, message: bytes, timeout_s: float) -> Flow[Answer]:
        request = self.request(method, message, {}, "GET")
        request.timeout_s = timeout_s
        return (yield from self.sending.send_once(request))

    # ---- parts

    def _asked_for(self, method: str, message: bytes, gives: Schema) -> Flow[dict[str, Any]]:
        return read(gives, (yield from self.sending.send(self.request(method, message, {}, "GET"))))

    def request(self, method: str, message: bytes, headers: Mapping[str, str], verb: str = "POST") -> Request:
        """A call, with the client's own fields as metadata; GET: it may be made twice."""
        return Request(verb, SERVICE + method, {**self.sending.headers, **lowered(headers)}, message)


def read(gives: Schema, answer: Answer) -> dict[str, Any]:
    """The message of an answer. Raises InvalidAnswer."""
    try:
        return schema.decode(gives, answer.body)
    except KfuncError as error:
        raise InvalidAnswer(error.message, status=answer.status, request_id=request_id(answer)) from None


def result_of(answer: Answer, message: bytes) -> InferResult:
    """A ModelInferResponse as arrays. Raises InvalidAnswer."""
    from kfunc.client.arrays import arrays_of

    response = decode_answer(answer, message)
    named = response.model_name, response.model_version, response.id, response.parameters or {}
    return InferResult(answer, arrays_of(response), *named)


def decode_answer(answer: Answer, message: bytes) -> InferResponse:
    """A ModelInferResponse. Raises InvalidAnswer."""
    try:
        return answers.decode_response(message)
    except KfuncError as error:
        words = error.message.replace("input", "output", 1)
        raise InvalidAnswer(words, status=answer.status, request_id=request_id(answer)) from None


def part_of(message: bytes) -> InferResult:
    """One answer of a ModelStreamInfer. Raises ServerFailed with the server's words, InvalidAnswer."""
    answer = Answer(200, {}, message)
    told = read(services.STREAM_ANSWER, answer)
    if told["error_message"]:
        raise ServerFailed(told["error_message"])
    return result_of(answer, told["infer_response"])
