"""Events of a function that come back to it, as a Trigger without a filter brings them. Sans-IO.

Who answered them, or logged them, would make new ones of each, without an end.
"""

from collections.abc import Mapping

EVENTS = b"application/cloudevents"


def source_of(namespace: str, function: str) -> str:
    """The `source` of all events that a function makes."""
    return f"/namespaces/{namespace}/functions/{function}"


def comes_back(source: str, headers: Mapping[bytes, bytes], body: bytes) -> bool:
    """Whether a message is an event with this source, or a batch with one; `body` may be its beginning only."""
    given = headers.get(b"ce-source")
    if given is not None:
        return given == source.encode()
    if not headers.get(b"content-type", b"").lower().startswith(EVENTS):
        return False
    if not source:
        return False
    escaped = source.replace("/", "\\/")  # as some write every slash
    return (source.encode() in body or escaped.encode() in body) and _names(source, body)


def _names(source: str, body: bytes) -> bool:
    """Whether it is the source, and not only a word in the data; what is no whole event is taken at its word."""
    from kfunc.errors import InvalidRequest
    from kfunc.protocol.incoming_events import decode_structured, split_batch

    try:
        documents = [bytes(each) for each in split_batch(body)] if body.lstrip()[:1] == b"[" else [body]
        return any(decode_structured(document).attributes["source"] == source for document in documents)
    except InvalidRequest:
        return True
