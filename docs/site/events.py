"""The reference of events: real ones, made by the logger's own writer, and what each attribute is."""

from typing import Any

import msgspec

from kfunc.logger_sidecar.event import EventWriter
from kfunc.logger_sidecar.record import CallRecord, Origin, Payload

MEANINGS = {
    "specversion": "CloudEvents' version",
    "id": "unique in `source`, and the same at each try; with KServe's names both events of a call have one",
    "source": "the function",
    "type": "what happened",
    "subject": "the model",
    "time": "when the request arrived",
    "datacontenttype": "of `data`",
    "function": "the function's name",
    "namespace": "its namespace",
    "revision": "its revision, on a cluster",
    "model": "the model that was asked",
    "modelversion": "its version",
    "endpoint": "the path",
    "correlationid": "the call's `x-request-id`: both events of a call have it",
    "nextid": "the id of the request of the next call that the process accepted: a gap is a loss",
    "traceparent": "the caller's trace (W3C)",
    "tracestate": "what belongs to it",
    "statuscode": "the answer's status",
    "grpcstatus": "the code that a gRPC call ended with",
    "durationus": "from the request's arrival to its answer, µs",
    "headers": "the header fields that `logger.headers` names, a JSON object as text",
    "metadata": "the same with KServe's names",
    "inferenceservicename": "the function's name, with KServe's names",
    "component": "always `predictor`, with KServe's names",
    "truncated": "the body is longer than `logger.max_body_bytes`",
    "bodydigest": "sha256 of the whole body, where not all of it is kept",
    "bodysize": "its bytes",
    "redacted": "values were taken out (`logger.redact`)",
    "data": "the body, or `data_base64` where it is not JSON",
}
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def page() -> str:
    """Markdown."""
    parts = [
        "# Events",
        "What the logger sends for each call: CloudEvents 1.0, here in structured mode. "
        "[logger.md](../logger.md) says where to and when.",
    ]
    for title, compat in (("kfunc's names", "none"), ("KServe's names (`logger.compat: kserve`)", "kserve")):
        documents = samples(compat)
        rows = ["| Attribute | | Example |", "|---|---|---|"]
        for name in dict.fromkeys(key for document in documents for key in document):
            example = next(document[name] for document in documents if name in document)
            of = occurrence(name, documents)
            rows.append(f"| `{name}` | {MEANINGS[name]}{of} | `{shortened(example)}` |")
        shown = "\n".join(msgspec.json.format(msgspec.json.encode(document)).decode() for document in documents)
        parts += [f"## {title}", "\n".join(rows), f"```json\n{shown}\n```"]
    return "\n\n".join(parts) + "\n"


def samples(compat: str) -> list[dict[str, Any]]:
    """The two events of a call, whose trace and header fields are logged."""
    call = CallRecord(
        b"/v2/models/iris/infer",
        b"6f1c0a-1",
        1_782_000_000_000_000,
        1_840,
        200,
        Payload(b'{"inputs":[{"name":"input","datatype":"FP32","shape":[1,4],"data":[5.1,3.5,1.4,0.2]}]}'),
        Payload(b'{"model_name":"iris","outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[0]}]}'),
        TRACE,
        b"vendor=1",
        b'{"x-tenant":"garden"}',
    )
    for side in (call.request, call.response):
        side.size = len(side.body)
    writer = EventWriter(Origin("b1946ac92492d234", "iris", "default", "iris-00003", "iris", "1"), compat)
    return [msgspec.json.decode(event.structured()) for event in writer.events(call)]


def occurrence(name: str, documents: list[dict[str, Any]]) -> str:
    """Which of the two events has the attribute, if not both."""
    if all(name in document for document in documents):
        return ""
    return " (response only)" if name in documents[1] else " (request only)"


def shortened(value: Any) -> str:
    """An example for a table."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}…"
