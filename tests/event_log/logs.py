"""Logs for tests: the events of calls, as the logger writes them, as lines or as they are read back."""

from pathlib import Path
from typing import Any

from kfunc.event_log.stored import Stored, read_line
from kfunc.logger_sidecar.event import EventWriter
from kfunc.logger_sidecar.record import CallRecord, Origin, Payload, encode_block_head, encode_record, encode_segment_head

START_US = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
ORIGIN = Origin(run="run", function="iris", namespace="team", model="iris", version="1")


def call(number: int = 0, *, target: bytes = b"/v1/models/iris:predict", status: int = 200, **fields: Any) -> CallRecord:
    """A call of the model `iris`; bodies are `request` and `response`, bytes or payloads."""
    bodies = {
        "request": fields.pop("request", b'{"instances":[[%d]]}' % number),
        "response": fields.pop("response", b'{"predictions":[%d]}' % number),
    }
    payloads = {name: Payload(each, len(each)) if isinstance(each, bytes) else each for name, each in bodies.items()}
    usual = {"correlation": b"call-%d" % number, "traceparent": b"", "tracestate": b""}
    times = {"time_us": START_US + number * 1_000_000, "duration_us": 1500}
    return CallRecord(
        **{"target": target, "status": status, "number": number, "end": number + 1, **usual, **times, **payloads, **fields}
    )


def lines(*calls: CallRecord, compat: str = "none", origin: Origin = ORIGIN) -> list[bytes]:
    """Both events of each call as lines."""
    writer = EventWriter(origin, compat)
    return [event.structured() for each in calls for event in writer.events(each)]


def stored(*calls: CallRecord, compat: str = "none", origin: Origin = ORIGIN) -> list[Stored]:
    """The events of calls as they are read back."""
    return [read_line(line) for line in lines(*calls, compat=compat, origin=origin)]


def write(path: Path, *calls: CallRecord, **more: Any) -> Path:
    """A file of JSON lines."""
    path.write_bytes(b"".join([line + b"\n" for line in lines(*calls, **more)]))
    return path


def write_spool(folder: Path, *calls: CallRecord) -> Path:
    """A spool with one lane and one segment."""
    records = b"".join([encode_record(each) for each in calls])
    lane = folder / "lane"
    lane.mkdir(parents=True)
    (lane / f"{0:020d}.seg").write_bytes(encode_segment_head(ORIGIN) + encode_block_head(0, records) + records)
    return folder
