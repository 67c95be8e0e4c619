"""What is logged of a call, and the CloudEvents made of it. Sans-IO: `encode` runs off the request's path."""

from urllib.parse import unquote_to_bytes

import msgspec

from kfunc.protocol.cloudevents import OCTETS, encode_data, open_event

REQUEST_TYPE = "io.kfunc.inference.request"
RESPONSE_TYPE = "io.kfunc.inference.response"
MAX_OPENINGS = 1024
MAX_OPENING = 2048  # bytes: paths and types are the client's, and are not to fill the memory
MAX_INTEGER = 2**31 - 1  # CloudEvents, 3.2: Integer
CALLS = (b"/infer", b":predict", b":explain")


def is_call(target: bytes) -> bool:
    """Whether a POST to `target` is an inference call, however a server might read its path."""
    return target.endswith(CALLS) or b"/".join(_segments(target)).endswith(CALLS)


def _segments(target: bytes) -> list[bytes]:
    return [unquote_to_bytes(part) for part in target.partition(b"?")[0].strip(b"/").split(b"/")]


class CallRecord:
    """One side of a call, as it passed: kept as it is until its event is written."""

    # Class attributes are the defaults: two records are made for every call, and most stay as they are.
    body = b""
    size = 0
    content_type = b"application/json"
    status = 0
    duration_s = 0.0
    traceparent = b""

    def __init__(self, is_response: bool, correlation: str, target: bytes, time_s: float) -> None:
        self.is_response = is_response
        self.correlation = correlation
        self.target = target
        self.time_s = time_s


class EventWriter:
    """Makes events of one function; ids are `prefix-number`, unique as long as the prefix is.

    What is the same in all events of a path is encoded once.
    """

    def __init__(self, function: str, namespace: str, version: str, prefix: str) -> None:
        self._source = f"/namespaces/{namespace}/functions/{function}"
        self._fixed = {"function": function, "namespace": namespace}
        self._default_version = version
        self._prefix = prefix.encode()
        self._count = 0
        self._openings: dict[tuple[bytes, bool, str], bytes] = {}
        self._second = (-1, b"")

    def encode(self, record: CallRecord) -> bytes:
        """One structured event."""
        self._count += 1
        body, truncated = record.body, record.size > len(record.body)
        # A part of JSON is not JSON.
        kind, data = encode_data(body, OCTETS if truncated else record.content_type.decode("latin-1"))
        key = (record.target, record.is_response, kind)
        opening = self._openings.get(key) or self._open(key)
        correlation = record.correlation
        # Escapes are rare in what a caller names a request.
        safe = correlation.isascii() and correlation.isprintable() and '"' not in correlation and "\\" not in correlation
        whole = int(record.time_s)
        if self._second[0] != whole:
            self._second = (whole, _second(whole).encode())
        more = b""
        if record.is_response:
            duration_us = min(int(record.duration_s * 1e6), MAX_INTEGER)
            more = b',"statuscode":%d,"durationus":%d' % (record.status, duration_us)
        if record.traceparent:
            more += b',"traceparent":%b' % msgspec.json.encode(record.traceparent.decode("latin-1"))
        if truncated:
            more += b',"truncated":true,"bodysize":%d' % min(record.size, MAX_INTEGER)
        return b'%b,"id":"%b-%d","time":"%b.%06dZ","correlationid":"%b"%b%b}' % (
            *(opening, self._prefix, self._count, self._second[1], int((record.time_s - whole) * 1e6)),
            *(correlation.encode() if safe else msgspec.json.encode(correlation)[1:-1], more, data),
        )

    def _open(self, key: tuple[bytes, bool, str]) -> bytes:
        target, is_response, kind = key
        model, version = _model(target)
        opening = open_event(
            {
                "source": self._source,
                "type": RESPONSE_TYPE if is_response else REQUEST_TYPE,
                **({"subject": model} if model else {}),
                **self._fixed,
                "model": model,
                "modelversion": version or self._default_version,
                "endpoint": target.decode("latin-1"),
                "datacontenttype": kind,
            }
        )
        if len(self._openings) < MAX_OPENINGS and len(opening) <= MAX_OPENING:
            self._openings[key] = opening
        return opening


def _model(target: bytes) -> tuple[str, str]:
    """Model and version of v2/models/NAME[/versions/VERSION]/infer and v1/models/NAME[/versions/VERSION]:predict."""
    parts = [part.decode(errors="replace") for part in _segments(target)]
    parts[-1] = parts[-1].removesuffix(":predict").removesuffix(":explain")
    name = parts[2] if len(parts) > 2 and parts[1] == "models" else ""
    return name, parts[4] if len(parts) > 4 and parts[3] == "versions" else ""


def rfc3339(time_s: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with microseconds (CloudEvents, 3.1: `time`)."""
    whole = int(time_s)
    return f"{_second(whole)}.{int((time_s - whole) * 1e6):06}Z"


def _second(whole: int) -> str:
    days, rest = divmod(whole, 86_400)
    # Days since the epoch → year, month, day: eras of 400 years that begin on 1 March.
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    date = day - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year += era * 400 + (month <= 2)
    return f"{year:04}-{month:02}-{date:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
