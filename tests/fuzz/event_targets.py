"""Targets: CloudEvents in each mode, and the request that they carry."""

from kfunc.errors import KfuncError
from kfunc.protocol import cloudevents, either, incoming_events
from kfunc.protocol.incoming_events import Event
from tests.fuzz.engine import Target

BOTH = ("v1", "v2")


def carried(event: Event) -> str:
    """An event that was read can be written, and is read as the same; then what it carries is decoded."""
    attributes = {**event.attributes, "datacontenttype": "application/octet-stream"}
    written = cloudevents.close_event(attributes, event.data)
    assert incoming_events.decode_structured(written) == Event(attributes, event.data)
    fields = dict(cloudevents.header_fields(event.attributes))
    again = incoming_events.decode_binary(fields, event.data).attributes
    expected = {name: value for name, value in event.attributes.items() if name != "datacontenttype"}
    assert {name: text(value) for name, value in expected.items()} == again
    try:
        request = either.decode_request(event.data, BOTH)
    except KfuncError as error:
        return f"refused {error.status}"
    return type(request).__name__


def text(value: str | int | bool) -> str:
    return str(value).lower() if type(value) is bool else str(value)


def call_structured(content: bytes) -> str:
    return carried(incoming_events.decode_structured(content))


def call_binary(content: bytes) -> str:
    """Lines of header fields, an empty line, the body."""
    head, _, body = content.partition(b"\n\n")
    fields = [line.partition(b":") for line in head.split(b"\n")]
    headers = {name.lower(): value.strip() for name, _, value in fields}
    incoming_events.media_type(headers.get(b"content-type", b""))
    incoming_events.trace(event := incoming_events.decode_binary(headers, body), headers)
    incoming_events.integer(event, "number")
    return carried(event)


def call_batch(content: bytes) -> str:
    events = incoming_events.split_batch(content)
    return str({carried(incoming_events.decode_structured(bytes(each))) for each in events[:20]})


V1 = b'{"instances":[[1.5,2]]}'
V2 = b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT64","data":[1]}]}'
REQUIRED = b'"specversion":"1.0","id":"7","source":"/a","type":"t"'
STRUCTURED = [
    b'{%b,"data":%b}' % (REQUIRED, V1),
    b'{%b,"datacontenttype":"application/json","time":"2026-11-21T08:30:00.5+01:00","number":5,"flag":true,"data":%b}'
    % (REQUIRED, V2),
    b'{%b,"datacontenttype":"text/plain","subject":"\\u00e9","data":"a"}' % REQUIRED,
    b'{%b,"datacontenttype":"application/octet-stream","data_base64":"eyJpbnN0YW5jZXMiOlsxXX0="}' % REQUIRED,
]
TRACE = b"ce-traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nce-tracestate: a=b\n"
FIELDS = b"ce-specversion: 1.0\nce-id: 7\nce-source: /a%20b\nce-type: t\nce-number: 5\n"
BINARY = [
    b"%bcontent-type: application/json\n\n%b" % (FIELDS, V1),
    b'%b%bce-subject: "%%E2%%82%%AC \\"q\\""\n\n%b' % (FIELDS, TRACE, V2),
]
BATCH = [b"[%b]" % b",".join(STRUCTURED), b"[%b,%b]" % (STRUCTURED[0], STRUCTURED[0]), b"[]"]

TARGETS = [
    Target("event", STRUCTURED, call_structured),
    Target("event_head", BINARY, call_binary),
    Target("event_batch", BATCH, call_batch),
]
