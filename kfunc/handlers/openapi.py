"""The OpenAPI document of one function, made from its models' metadata. Pure.

It has every path that the function serves, with each model's own names, datatypes and shapes.
"""

from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Any

import kfunc
from kfunc.config.pod import PodConfig
from kfunc.handlers import openapi_schemas as schemas
from kfunc.handlers.openapi_schemas import STRING, STRINGS, Schema, obj
from kfunc.protocol.messages import ModelMetadata

JSON, OCTETS, CSV = "application/json", "application/octet-stream", "text/csv"
LINES, EVENTS, PARTS = "application/x-ndjson", "text/event-stream", "application/vnd.kfunc.parts"
EVENT, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"

# Status → when. Any path may answer with the first, those that take a body with the others too.
OF_ALL = {
    400: "What was sent is wrong; the message says what was expected.",
    404: "No such model, version or path.",
    405: "The path takes another method.",
    408: "The request took too long to arrive.",
    431: "The head is over the limits.",
    502: "The model's process broke off.",
    503: "Not now: loading, draining or overloaded. Retry-After says when.",
}
OF_BODIES = {
    413: "The body is over limits.max_body_bytes.",
    415: "The content type or coding is not one that is read.",
    500: "The model failed; the log says more.",
    504: "The model did not answer in time.",
}
NOT_OFFERED = {501: "The model does not explain its answers."}
FIELDS = {
    "x-request-id": {"description": "Finds the call in logs and events; the caller's own, if it sent one.", "schema": STRING},
    "server-timing": {"description": "Milliseconds in the queue, in the batch and in the model.", "schema": STRING},
}
BINARY: Schema = {"schema": {"type": "string", "format": "binary"}}
JSON_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Bytes of the JSON document before the binary tensors, for application/octet-stream.",
    "schema": {"type": "integer", "minimum": 1},
}


def document(config: PodConfig, models: Sequence[ModelMetadata], explained: Collection[str] = ()) -> Schema:
    """The document (OpenAPI 3.1).

    `models` may have several entries of one name, for versions that differ; the last of them is the default.
    `explained` are the names of models that explain their answers.
    """
    v1, v2 = "v1" in config.protocols, "v2" in config.protocols
    defaults = {model.name: model for model in models}
    paths: Schema = {"/": {"get": _get("The function", obj(name=STRING, status=STRING, protocols=STRINGS)), "post": _event()}}
    paths["/openapi.json"] = {"get": _get("This document", {"type": "object"})}
    paths |= _health_paths() | {"/invocations": {"post": _invocations(defaults.get(config.model.name))}}
    if v2:
        paths |= _server_paths()
    if v1:
        paths["/v1/models"] = {"get": _get("Names of the models", obj(models=STRINGS))}
    for model in models:
        default = defaults[model.name] is model
        if v2:
            paths |= _v2_paths(model, default=default, explained=model.name in explained)
        if v1:
            paths |= _v1_paths(model, default=default, explained=model.name in explained)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": config.function,
            "version": kfunc.__version__,
            "description": "Inference over the V1 and V2 (Open Inference) protocols. Bodies may be compressed with gzip, "
            "deflate or zstd (Content-Encoding, Accept-Encoding). An inference path takes CloudEvents too, as `/` does.",
        },
        "paths": {path: _identified(path, item) for path, item in paths.items()},
        "components": {"responses": _error_responses()},
    }


# ---- the server


def _health_paths() -> Schema:
    return {
        "/v2/health/live": {"get": _get("Whether the server runs", obj(live={"const": True}))},
        "/v2/health/ready": {"get": _get("Whether all models answer", obj(ready={"const": True}))},
        "/ping": {"get": _get("The same, by MLflow's path", obj(ready={"const": True}))},
    }


def _server_paths() -> Schema:
    entry = obj(name=STRING, version=STRING, state={"enum": ["LOADING", "READY", "UNAVAILABLE"]}, reason=STRING)
    filters = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    index = _post("All versions of all models, with their states", filters, {"ready": True}, {"type": "array", "items": entry})
    return {
        "/v2": {"get": _get("The server", obj(name=STRING, version=STRING, extensions=STRINGS))},
        "/v2/models": {"get": _get("Names of the models", obj(models=STRINGS))},
        "/v2/repository/index": {"post": index},
    }


# ---- models


def _bases(protocol: str, model: ModelMetadata, *, default: bool) -> list[str]:
    base = f"/{protocol}/models/{model.name}"
    return [*([base] if default else ()), *(f"{base}/versions/{version}" for version in model.versions)]


def _v2_paths(model: ModelMetadata, *, default: bool, explained: bool) -> Schema:
    tensors = {
        "type": "array",
        "items": obj(name=STRING, datatype=STRING, shape={"type": "array", "items": {"type": "integer"}}),
    }
    told = obj(name={"const": model.name}, versions=STRINGS, platform=STRING, inputs=tensors, outputs=tensors)
    metadata = _get(f"What {model.name} takes and gives", told)
    ready = _get(f"Whether {model.name} answers", obj(name={"const": model.name}, ready={"const": True}))
    infer = _infer(model)
    in_parts, explain = _infer_stream(model, infer), _v2_explain(model, infer)
    paths: Schema = {}
    for base in _bases("v2", model, default=default):
        paths |= {base: {"get": metadata}, f"{base}/ready": {"get": ready}, f"{base}/infer": {"post": infer}}
        paths[f"{base}/infer_stream"] = {"post": in_parts}
        if explained:
            paths[f"{base}/explain"] = {"post": explain}
    return paths


def _infer(model: ModelMetadata) -> Schema:
    operation = _post(
        f"Inference with {model.name} (V2)",
        schemas.v2_request(model),
        schemas.v2_example(model),
        schemas.v2_response(model),
        schemas.v2_response_example(model),
    )
    operation["description"] = (
        "Tensors are JSON, or binary behind the JSON document (extension binary_tensor_data): an input has "
        "`binary_data_size` among its parameters in place of `data`, an output is asked for with `binary_data`."
    )
    operation["parameters"] = [JSON_LENGTH]
    operation["requestBody"]["content"][OCTETS] = BINARY
    if any(spec.datatype in schemas.BINARY_ONLY for spec in model.inputs):
        del operation["requestBody"]["content"][JSON]
    good = operation["responses"]["200"]
    good["content"][OCTETS] = BINARY
    good["headers"] = {
        **good["headers"],
        "Inference-Header-Content-Length": {"description": JSON_LENGTH["description"], "schema": JSON_LENGTH["schema"]},
    }
    return operation


def _infer_stream(model: ModelMetadata, infer: Schema) -> Schema:
    """As `infer`, with an answer of several."""
    kinds = {LINES: {"schema": STRING}, EVENTS: {"schema": STRING}, PARTS: BINARY}
    good = {"description": "Answers, each sent when it is there.", "headers": FIELDS, "content": kinds}
    return {
        **infer,
        "summary": f"Inference with {model.name} whose answer comes in parts (V2)",
        "description": f"The request is that of `infer`. Accept chooses JSON lines, {EVENTS} or {PARTS}.",
        "responses": {**infer["responses"], "200": good},
    }


def _v2_explain(model: ModelMetadata, infer: Schema) -> Schema:
    """As `infer`, with tensors of the explainer's in the answer."""
    answer = obj(model_name={"const": model.name}, outputs={"type": "array", "items": {"type": "object"}})
    good = {**infer["responses"]["200"], "content": {JSON: {"schema": answer}, OCTETS: BINARY}}
    return {
        **infer,
        "summary": f"Why {model.name} answers so (V2)",
        "responses": {**infer["responses"], **_errors(NOT_OFFERED), "200": good},
    }


def _v1_paths(model: ModelMetadata, *, default: bool, explained: bool) -> Schema:
    request, example = schemas.v1_request(model), schemas.v1_example(model)
    status = _get(f"Whether {model.name} answers", obj(name={"const": model.name}, ready={"type": "boolean"}))
    predict = _post(
        f"Inference with {model.name} (V1)", request, example, schemas.v1_response(), schemas.v1_response_example(model)
    )
    explain = _post(f"Why {model.name} answers so (V1)", request, example, obj(explanations={}))
    explain["responses"] |= _errors(NOT_OFFERED)
    paths: Schema = {}
    for base in _bases("v1", model, default=default):
        paths |= {base: {"get": status}, f"{base}:predict": {"post": predict}}
        if explained:
            paths[f"{base}:explain"] = {"post": explain}
    return paths


def _invocations(model: ModelMetadata | None) -> Schema:
    """MLflow's path, of the default model; None where it is not loaded."""
    known = model or ModelMetadata("", [], "", [], [])
    request, answer = schemas.invocation(known), obj(predictions={})
    operation = _post(
        "Inference by the default model (MLflow)",
        request,
        schemas.v1_example(known),
        answer,
        schemas.v1_response_example(known),
    )
    operation["description"] = "A table, or a request of V1. CSV begins with a line of the columns' names."
    operation["requestBody"]["content"][CSV] = {"schema": STRING}
    return operation


# ---- events


def _event() -> Schema:
    """POST / (CloudEvents 1.0, HTTP Protocol Binding)."""
    event = obj(specversion={"const": "1.0"}, id=STRING, source=STRING, type=STRING)
    event["properties"] |= {"datacontenttype": STRING, "data": {}, "data_base64": STRING}
    answer = obj(specversion={"const": "1.0"}, id=STRING, source=STRING, type=STRING)
    operation = _post("Inference by a CloudEvent", {"type": "object"}, None, {"type": "object"})
    operation["description"] = (
        "The event's data are a V1 or V2 request for the default model. In binary mode the attributes are headers "
        "`ce-…` and the body is the request. The answer is an event of the same mode."
    )
    operation["parameters"] = [
        {"name": f"ce-{name}", "in": "header", "description": "In binary mode.", "schema": schema}
        for name, schema in {"specversion": {"const": "1.0"}, "id": STRING, "source": STRING, "type": STRING}.items()
    ]
    events = {EVENT: {"schema": event}, BATCH: {"schema": {"type": "array", "items": event}}}
    answers = {EVENT: {"schema": answer}, BATCH: {"schema": {"type": "array", "items": answer}}, OCTETS: BINARY}
    operation["requestBody"]["content"] = events | operation["requestBody"]["content"]
    operation["responses"]["200"]["content"] |= answers
    return operation


# ---- parts


def _get(summary: str, schema: Schema) -> Schema:
    return {"summary": summary, "responses": {"200": _good(schema, None), **_errors(OF_ALL)}}


def _post(summary: str, schema: Schema, example: Any, answer: Schema, answer_example: Any = None) -> Schema:
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {JSON: _content(schema, example)}},
        "responses": {"200": _good(answer, answer_example), **_errors(OF_ALL | OF_BODIES)},
    }


def _good(schema: Schema, example: Any) -> Schema:
    return {"description": "The answer.", "headers": FIELDS, "content": {JSON: _content(schema, example)}}


def _content(schema: Schema, example: Any) -> Schema:
    return {"schema": schema} if example is None else {"schema": schema, "example": example}


def _errors(statuses: dict[int, str]) -> Schema:
    return {str(status): {"$ref": f"#/components/responses/error-{status}"} for status in sorted(statuses)}


def _error_responses() -> Schema:
    return {
        f"error-{status}": {
            "description": when,
            "content": {JSON: {"schema": obj(error=STRING), "example": {"error": HTTPStatus(status).phrase.lower()}}},
        }
        for status, when in (OF_ALL | OF_BODIES | NOT_OFFERED).items()
    }


def _identified(path: str, item: Schema) -> Schema:
    """Each operation with an id of its own: what made it may stand under several paths."""
    return {method: {"operationId": f"{method} {path}", **operation} for method, operation in item.items()}
