"""The reference of events: real ones, made by the logger's own writer, and what each attribute is."""

from typing import Any

import msgspec

from kfunc.logger_sidecar.event import EventWriter
from kfunc.logger_sidecar.record import REQUEST_REDACTED, RESPONSE_REDACTED, CallRecord, Origin, Payload

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
    "baggage": "the caller's (W3C), where `logger.headers` names it",
    "headers": "the header fields that `logger.headers` names, a JSON object as text",
    "metadata": "the same with KServe's names",
    "inferenceservicename": "the function's name, with KServe's names",
    "component": "always `predictor`, with KServe's names",
    "truncated": "the body is longer than `logger.max_body_bytes`",
    "bodydigest": "sha256 of the whole body, where not all of it is kept",
    "bodysize": "its bytes",
    "redacted": "values were taken out (`logger.redact`)",
    "contentencoding": "how the body is compressed",
    "inferenceheaderlen": "bytes of its JSON, behind which binary tensors follow",
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
        every = [*documents, *samples(compat, usual=False)]
        rows = ["| Attribute | | Example |", "|---|---|---|"]
        for name in MEANINGS:
            examples = [document[name] for document in every if name in document]
            if examples:
                rows.append(f"| `{name}` | {MEANINGS[name]}{occurrence(name, every)} | `{shortened(examples[0])}` |")
        shown = "\n".join(msgspec.json.format(msgspec.json.encode(document)).decode() for document in documents)
        parts += [f"## {title}", "\n".join(rows), f"```json\n{shown}\n```"]
    return "\n\n".join(parts) + "\n"


def samples(compat: str, *, usual: bool = True) -> list[dict[str, Any]]:
    """The two events of a call, whose trace and header fields are logged; or of one whose bodies need more words."""
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
        number=4096,
        end=5120,
    )
    for side in (call.request, call.response):
        side.size = len(side.body)
        if not usual:
            side.size, side.digest, side.coding, side.json_length = 2_400_000, b"sha256:9f86d0", b"gzip", b"118"
    if not usual:
        call.grpc_status = 0
        call.headers = b'{"baggage":"tier=gold"}'
        call.flags |= REQUEST_REDACTED | RESPONSE_REDACTED
    writer = EventWriter(Origin("b1946ac92492d234", "iris", "default", "iris-00003", "iris", "1"), compat)
    return [msgspec.json.decode(event.structured()) for event in writer.events(call)]


def occurrence(name: str, documents: list[dict[str, Any]]) -> str:
    """Which of the two events of a call has the attribute, if not both."""
    of_request = any(name in document for document in documents[::2])
    of_response = any(name in document for document in documents[1::2])
    return "" if of_request and of_response else " (response only)" if of_response else " (request only)"


def shortened(value: Any) -> str:
    """An example for a table."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}…"
