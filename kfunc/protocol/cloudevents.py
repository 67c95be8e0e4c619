"""CloudEvents 1.0 written: structured in JSON, one or a batch, or as header fields. Sans-IO; the caller brings id and time.

The cloudevents SDK costs 36 µs an event; tests hold what is written here against it. `incoming_events.py` reads.
"""

import re
from base64 import b64encode

import msgspec

CONTENT_TYPE = b"application/cloudevents+json; charset=utf-8"
BATCH_CONTENT_TYPE = b"application/cloudevents-batch+json; charset=utf-8"

JSON = "application/json"
OCTETS = "application/octet-stream"

_RAW = msgspec.json.Decoder(msgspec.Raw)


def open_event(attributes: dict[str, str | int | bool]) -> bytes:
    """An event without its data and its closing brace: further members may follow, each after a comma."""
    return msgspec.json.encode({"specversion": "1.0", **attributes})[:-1]


def encode_data(body: bytes, content_type: str) -> tuple[str, bytes]:
    """The `datacontenttype` and the member that carries a body: a JSON one as it came, any other as base64.

    Bodies are looked at, not only their type: clients that send JSON call it a form, or nothing.
    """
    if body and content_type != OCTETS and is_json(body):
        kind = content_type if content_type == JSON or is_json_type(content_type) else JSON
        # An event is one line in a file: line ends between JSON's tokens are only white space.
        return kind, b',"data":' + (body.translate(LINE_ENDS) if b"\n" in body or b"\r" in body else body)
    return content_type or OCTETS, b',"data_base64":"%b"' % b64encode(body) if body else b""


def encode_part(body: bytes, content_type: str) -> tuple[str, bytes]:
    """The same of a body that was cut: always base64, and where it was JSON not called so, since it is none now.

    Who turns an event from one mode into another copies what is called JSON into the document as it is.
    """
    kind = OCTETS if not content_type or is_json_type(content_type) else content_type
    return kind, b',"data_base64":"%b"' % b64encode(body)


# In valid JSON these bytes are only between tokens: in strings they are escaped.
LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")


def is_json(body: bytes) -> bool:
    """Whether the bytes are one JSON value in UTF-8."""
    try:
        if not body.isascii():
            body.decode()
        _RAW.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_json_type(content_type: str) -> bool:
    """Whether data of this `datacontenttype` are JSON (JSON Event Format, 3.1.1)."""
    if content_type == JSON:
        return True
    media_type = content_type.partition(";")[0].strip().lower()
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


def close_event(attributes: dict[str, str | int | bool], data: bytes) -> bytes:
    """A structured event whose `data` are known: JSON by its `datacontenttype`, else bytes for base64."""
    opening = open_event(attributes)
    if is_json_type(str(attributes["datacontenttype"])):
        return b'%b,"data":%b}' % (opening, data)
    return b'%b,"data_base64":"%b"}' % (opening, b64encode(data))


# Visible ASCII but for the quotation mark and the percent sign (HTTP Protocol Binding, 3.1.3.2).
SAFE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
UNSAFE = re.compile(f"[^{re.escape(SAFE)}]")


def header_fields(attributes: dict[str, str | int | bool]) -> list[tuple[bytes, bytes]]:
    """The attributes as fields of an HTTP message, `datacontenttype` left out: it is the Content-Type (binary mode)."""
    fields = [(b"ce-specversion", b"1.0")]
    for name, value in attributes.items():
        if name != "datacontenttype":
            text = str(value).lower() if type(value) is bool else str(value)
            if UNSAFE.search(text):
                from urllib.parse import quote  # here: few need it, and it costs 2 ms of every start

                text = quote(text, safe=SAFE)
            fields.append((b"ce-" + name.encode(), text.encode()))
    return fields
