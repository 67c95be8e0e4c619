"""A logged event as it was read back, under kfunc's names or KServe's. Sans-IO."""

import re
from typing import Any

import msgspec

from kfunc.errors import InvalidRequest
from kfunc.protocol.cloudevents import close_event
from kfunc.protocol.incoming_events import Event, decode_structured

REQUEST, RESPONSE = "request", "response"
NUMBERS = ("statuscode", "durationus", "inferenceheaderlen")
NUMBERED = re.compile(r"(.+)-([0-9]+)")


class Stored:
    """One event. `text` is its line of JSON, if it was read from one."""

    __slots__ = ("_text", "attributes", "data", "kind")

    def __init__(self, event: Event, text: bytes = b"") -> None:
        self.attributes: dict[str, Any] = event.attributes
        self.data = event.data
        self._text = text
        self.kind = str(self.attributes["type"]).rpartition(".")[2]

    @property
    def id(self) -> str:
        """Unique in its source; both events of a call share it under KServe's names."""
        return str(self.attributes["id"])

    @property
    def source(self) -> str:
        """Who wrote it."""
        return str(self.attributes["source"])

    @property
    def correlation(self) -> str:
        """What the two events of a call have in common."""
        return str(self.attributes.get("correlationid") or self.id)

    @property
    def identity(self) -> tuple[str, str, str]:
        """What no other event has: one that has it too is the same again."""
        return self.source, self.id, self.kind

    @property
    def call_number(self) -> tuple[str, int] | None:
        """The run of a logger and the number of the call in it, from the id; None for what others wrote."""
        match = NUMBERED.fullmatch(self.id)
        return (match[1], int(match[2]) // 2) if match else None

    @property
    def next_number(self) -> int:
        """The number of the call that follows this one in its run; -1 where it is not told."""
        match = NUMBERED.fullmatch(str(self.attributes.get("nextid", "")))
        return int(match[2]) // 2 if match else -1

    @property
    def time(self) -> str:
        """RFC 3339, in UTC."""
        return str(self.attributes.get("time", ""))

    @property
    def status(self) -> int:
        """The HTTP status of a response, 0 where none is told."""
        return int(self.attributes.get("statuscode", 0))

    @property
    def model(self) -> str:
        """The model that was called."""
        return str(self.attributes.get("model") or self.attributes.get("inferenceservicename") or "")

    @property
    def endpoint(self) -> str:
        """The path that was called; empty where it is not told."""
        endpoint = str(self.attributes.get("endpoint", ""))
        return endpoint if endpoint.startswith("/") else ""

    @property
    def is_whole(self) -> bool:
        """Whether the data are all that passed: nothing cut, redacted or left out."""
        told = self.attributes.get
        return not (told("truncated") or told("redacted") or (told("bodysize") and not self.data))

    @property
    def json_length(self) -> int:
        """Bytes of JSON before binary tensors, 0 without such."""
        return int(self.attributes.get("inferenceheaderlen", 0))

    @property
    def text(self) -> bytes:
        """The structured event: one line of JSON."""
        if not self._text:
            attributes = self.attributes | {"datacontenttype": self.content_type}
            self._text = close_event(attributes, self.data) if self.data else self._bare()
        return self._text

    @property
    def content_type(self) -> str:
        """The type of the data."""
        return str(self.attributes.get("datacontenttype", "application/json"))

    def _bare(self) -> bytes:
        return msgspec.json.encode({"specversion": "1.0", **self.attributes})


def read_line(line: bytes) -> Stored:
    """The event of a line of JSON. Raises InvalidRequest."""
    event = decode_structured(line)
    try:
        for name in NUMBERS:
            int(event.attributes.get(name, 0))
    except (ValueError, TypeError):
        raise InvalidRequest(f"{', '.join(NUMBERS)} of an event are numbers") from None
    return Stored(event, line)
