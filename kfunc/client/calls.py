"""Every call of a client as a flow: what to send, and what the answers mean. Sans-IO.

A client runs the flows on its transport. gRPC is another class with these methods (`grpc_calls.py`):
arguments → InferRequest and InferResponse → results are in arrays.py and results.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from msgspec import UNSET, Struct

from kfunc.client.errors import ClientError, InvalidAnswer, InvalidCall, NotFound, Refused, TimedOut
from kfunc.client.results import Explanation, IndexEntry, InferResult, Prediction, ServerMetadata
from kfunc.client.retries import Retries
from kfunc.client.sending import Sending, read_json, request_id
from kfunc.client.wire import Answer, Flow, Pause, Request
from kfunc.protocol.messages import InferRequest, ModelMetadata, RequestedOutput, Tensor, TensorSpec

BINARY = "binary_tensor_data"  # the extension's name in /v2
JSON, OCTETS = "application/json", "application/octet-stream"
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0  # between two questions for readiness
PROBE_S = 5.0  # for one answer to such a question


class _Metadata(Struct):
    """ModelMetadata of any server: the standard wants only the name and the platform."""

    name: str
    versions: list[str] = []
    platform: str = ""
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    parameters: dict[str, Any] = {}


class Calls:
    """The flows of one client; what it has learnt of the server stays here: each of it is asked for once."""

    def __init__(
        self,
        *,
        model: str,
        timeout_s: float,
        headers: Mapping[str, str],
        retries: int,
        binary: bool | None,
        compression: str | None,
        clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.sending = Sending(timeout_s, headers, compression, Retries(retries, chance), clock)
        self._model = model
        self._binary = binary
        self._specs: dict[tuple[str, str], dict[str, str]] = {}

    # ---- inference

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
        """One V2 inference."""
        from kfunc.client.arrays import arrays_of
        from kfunc.client.rest import JSON_LENGTH, decode_response, encode_request

        name = yield from self.named(model)
        path = model_path("v2", name, version)
        tensors = yield from self._tensors(inputs, name, version)
        wanted = None if outputs is None else [RequestedOutput(name) for name in outputs]
        request = InferRequest(tensors, id, dict(parameters) if parameters else None, wanted)
        binary = (yield from self.offers_binary()) if self._binary is None else self._binary
        body, json_length = encode_request(request, binary=binary)
        fields = {**headers, JSON_LENGTH: str(json_length)} if json_length else headers
        kind = OCTETS if json_length else JSON
        answer = yield from self.sending.post(f"{path}/infer", body, kind, fields, timeout_s)
        response = decode_response(answer)
        named = response.model_name, response.model_version, response.id, response.parameters or {}
        return InferResult(answer, arrays_of(response), *named)

    def predict(
        self,
        instances: Any,
        model: str,
        version: str,
        parameters: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Flow[Prediction]:
        """One V1 `:predict`."""
        answer = yield from self._post_v1("predict", instances, model, version, parameters, headers, timeout_s)
        document = read_json(answer, dict[str, Any])
        if not isinstance(document.get("predictions"), list):
            raise InvalidAnswer("the answer has no predictions", status=answer.status, request_id=request_id(answer))
        return Prediction(answer, document["predictions"])

    def explain(
        self,
        instances: Any,
        model: str,
        version: str,
        parameters: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Flow[Explanation]:
        """One V1 `:explain`; servers of another kind may not wrap what they answer."""
        answer = yield from self._post_v1("explain", instances, model, version, parameters, headers, timeout_s)
        document = read_json(answer, Any)
        wrapped = isinstance(document, dict) and "explanations" in document
        return Explanation(answer, document["explanations"] if wrapped else document)

    def _post_v1(
        self,
        verb: str,
        instances: Any,
        model: str,
        version: str,
        parameters: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Flow[Answer]:
        from kfunc.client.arrays import rows_of
        from kfunc.client.rest import encode_instances

        body = encode_instances(rows_of(instances), dict(parameters or {}))
        path = model_path("v1", (yield from self.named(model)), version)
        return (yield from self.sending.post(f"{path}:{verb}", body, JSON, headers, timeout_s))

    def _tensors(self, inputs: Mapping[str, Any], model: str, version: str) -> Flow[list[Tensor]]:
        """Lists get the datatypes that the model's metadata say; arrays have theirs."""
        from kfunc.client.arrays import is_array, tensor_of

        if not isinstance(inputs, Mapping):
            raise InvalidCall(f"inputs must be a mapping of names to arrays, not {type(inputs).__name__}")
        datatypes: dict[str, str] = {}
        if not all(is_array(value) for value in inputs.values()):
            datatypes = yield from self._datatypes(model, version)
        return [tensor_of(name, value, datatypes.get(name, "")) for name, value in inputs.items()]

    def _datatypes(self, model: str, version: str) -> Flow[dict[str, str]]:
        known = self._specs.get((model, version))
        if known is None:
            told = yield from self.metadata(model, version)
            known = self._specs[model, version] = {spec.name: spec.datatype for spec in told.inputs}
        return known

    # ---- what there is

    def named(self, model: str) -> Flow[str]:
        """The model to ask: the call's, the client's, or the only one that the server has."""
        if model or self._model:
            return model or self._model
        names = yield from self.models()
        if len(names) != 1:
            raise InvalidCall(f"which model? The server has {', '.join(names) or 'none'}; give model=")
        self._model = names[0]
        return names[0]

    def models(self) -> Flow[list[str]]:
        """The names of the models, of V2 or, where that has none, of V1."""
        failure: Exception
        for path in ("/v2/models", "/v1/models"):
            try:
                answer = yield from self.sending.get(path)
                return list(read_json(answer, dict[str, list[str]])["models"])
            except (Refused, InvalidAnswer, KeyError) as error:
                failure = error
        if isinstance(failure, ClientError):
            raise failure
        raise InvalidAnswer("the server's list of models has no models")

    def offers_binary(self) -> Flow[bool]:
        """Whether tensors can go and come in binary."""
        if self._binary is None:
            try:
                self._binary = BINARY in (yield from self.server_metadata()).extensions
            except (Refused, InvalidAnswer):
                self._binary = False
        return self._binary

    def server_metadata(self) -> Flow[ServerMetadata]:
        """What the server says of itself."""
        metadata: ServerMetadata = read_json((yield from self.sending.get("/v2")), ServerMetadata)
        return metadata

    def metadata(self, model: str, version: str) -> Flow[ModelMetadata]:
        """What a model says of itself."""
        path = model_path("v2", (yield from self.named(model)), version)
        told: _Metadata = read_json((yield from self.sending.get(path)), _Metadata)
        return ModelMetadata(told.name, told.versions, told.platform, told.inputs, told.outputs, told.parameters or UNSET)

    def repository_index(self, *, only_ready: bool) -> Flow[list[IndexEntry]]:
        """Every version of every model."""
        body = b'{"ready":true}' if only_ready else b"{}"
        answer = yield from self.sending.post("/v2/repository/index", body, JSON)
        entries: list[IndexEntry] = read_json(answer, list[IndexEntry])
        return entries

    # ---- health

    def live(self) -> Flow[bool]:
        """Whether the server answers at all."""
        return (yield from _said(self._probe_live(PROBE_S)))

    def ready(self, model: str, version: str) -> Flow[bool]:
        """Whether the models, or one of them, can be asked now."""
        return (yield from _said(self._probe_ready(model, version, PROBE_S)))

    def wait_ready(self, timeout_s: float, model: str, version: str) -> Flow[None]:
        """Ask until the answer is yes. Raises TimedOut that says what the last answer was, NotFound."""
        clock = self.sending.clock
        deadline, pause, last = clock() + timeout_s, FIRST_WAIT_S, "not asked"
        while (left := deadline - clock()) > 0:
            try:
                yield from self._probe_ready(model, version, min(left, PROBE_S))
                return
            except NotFound:
                raise
            except ClientError as error:
                last = error.message
            yield Pause(min(pause, max(deadline - clock(), 0.0)))
            pause = min(pause * 2, LONGEST_WAIT_S)
        raise TimedOut(f"not ready after {timeout_s:g} s; the last answer: {last}")

    def _probe_live(self, timeout_s: float) -> Flow[None]:
        """Asked once: here a no is an answer."""
        yield from self.sending.once("/v2/health/live", timeout_s)

    def _probe_ready(self, model: str, version: str, timeout_s: float) -> Flow[None]:
        path = f"{model_path('v2', model, version)}/ready" if model else "/v2/health/ready"
        yield from self.sending.once(path, timeout_s)

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
        """What is sent for an answer in parts. Raises InvalidCall: over REST there are none here."""
        raise InvalidCall("answers in parts come over gRPC: make the client with grpc:// in place of http://")


def _said(flow: Flow[None]) -> Flow[bool]:
    """Whether a probe was answered well."""
    try:
        yield from flow
    except NotFound:
        raise
    except ClientError:
        return False
    return True


def model_path(protocol: str, model: str, version: str = "") -> str:
    """The path of a model, of one version where that is given."""
    path = f"/{protocol}/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path
