"""What is logged of a call, and the CloudEvents made of it. Sans-IO: `encode` runs off the request's path."""

from kfunc.protocol.cloudevents import OCTETS, encode_event

REQUEST_TYPE = "io.kfunc.inference.request"
RESPONSE_TYPE = "io.kfunc.inference.response"


class CallRecord:
    """One side of a call, as it passed: kept as it is until its event is written."""

    __slots__ = (
        "body",
        "content_type",
        "correlation",
        "duration_s",
        "is_response",
        "size",
        "status",
        "target",
        "time_s",
        "traceparent",
    )

    def __init__(self, *, is_response: bool, correlation: str, target: bytes, time_s: float) -> None:
        self.is_response = is_response
        self.correlation = correlation
        self.target = target
        self.time_s = time_s
        self.body = b""
        self.size = 0
        self.content_type = b"application/json"
        self.status = 0
        self.duration_s = 0.0
        self.traceparent = b""


class EventWriter:
    """Makes events of one function; ids are `prefix-number`, unique as long as the prefix is."""

    def __init__(self, function: str, namespace: str, version: str, prefix: str) -> None:
        self._source = f"/namespaces/{namespace}/functions/{function}"
        self._fixed = {"function": function, "namespace": namespace}
        self._default_version = version
        self._prefix = prefix
        self._count = 0
        self._models: dict[bytes, tuple[str, str]] = {}

    def encode(self, record: CallRecord) -> bytes:
        """One structured event."""
        self._count += 1
        model, version = self._model(record.target)
        attributes: dict[str, str | int | bool] = {
            "id": f"{self._prefix}-{self._count}",
            "source": self._source,
            "type": RESPONSE_TYPE if record.is_response else REQUEST_TYPE,
            "time": rfc3339(record.time_s),
            "subject": model,
            **self._fixed,
            "model": model,
            "modelversion": version or self._default_version,
            "endpoint": record.target.decode("latin-1"),
            "correlationid": record.correlation,
        }
        if record.is_response:
            attributes["statuscode"] = record.status
            attributes["durationus"] = min(int(record.duration_s * 1e6), 2**31 - 1)
        if record.traceparent:
            attributes["traceparent"] = record.traceparent.decode("latin-1")
        body = record.body
        content_type = record.content_type.decode("latin-1")
        if record.size > len(body):
            attributes["truncated"] = True
            attributes["bodysize"] = min(record.size, 2**31 - 1)
            content_type = OCTETS  # a part of JSON is not JSON
        return encode_event(attributes, body, content_type)

    def _model(self, target: bytes) -> tuple[str, str]:
        """Model and version of an inference path."""
        known = self._models.get(target)
        if known is None:
            parts = target.partition(b"?")[0].decode("latin-1").split("/")
            name = parts[3].partition(":")[0] if len(parts) > 3 else ""
            known = (name, parts[5] if len(parts) > 6 and parts[4] == "versions" else "")
            if len(self._models) < 1024:
                self._models[target] = known
        return known


def rfc3339(time_s: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with microseconds (CloudEvents, 3.1.2: `time`)."""
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
