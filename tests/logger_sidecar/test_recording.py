"""Calls as records: the same bytes on the short path and the long one, and what cannot be written stops nothing."""

import tracemalloc
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

import pytest

from kfunc.config.logger import Logger
from kfunc.http.upstream import ResponseHead
from kfunc.logger_sidecar.calls import CallLog, Logged
from kfunc.logger_sidecar.capture import Capture
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import CUT_OFF, CallRecord, decode_records
from kfunc.logger_sidecar.recording import CallWriter

LINES = b"content-type: text/plain\r\n"
HEAD: Any = SimpleNamespace(lines=LINES, headers=[(b"content-type", b"text/plain")])


def exchange(body: bytes = b"{}", **more: Any) -> Any:
    headers = {b"content-type": b"application/json", b"traceparent": b"00-1-2-01"}
    usual = {"memo": {}, "headers": headers, "target": b"/v1/models/m:predict", "request_id": b"id"}
    return SimpleNamespace(**{**usual, "body": body, "started_at": 0.0, "in_grpc": False, "error": None, **more})


def written(writer: CallWriter, passed: Any, body: bytes = b"ok", head: ResponseHead | None = HEAD, **more: Any) -> CallRecord:
    call = SimpleNamespace(**{"exchange": passed, "head": head, "sent": None, "answer": None, "cut": 0, **more})
    (record,) = decode_records(writer.write(call, body, 200), 0)
    record.time_us = record.duration_us = 0
    return record


@pytest.mark.parametrize("body", [b"{}", b"x" * 1000], ids=["kept", "cut"])
def test_the_second_call_with_the_same_heads_has_the_same_record(body: bytes) -> None:
    writer, passed = CallWriter(Logger(max_body_bytes=100)), exchange(body)
    first, second = written(writer, passed), written(writer, passed)
    assert first == second
    assert (second.request.body, second.request.size) == (body[:100], len(body))
    assert (second.response.body, second.response.content_type) == (b"ok", b"text/plain")
    assert (second.target, second.traceparent, second.correlation) == (b"/v1/models/m:predict", b"00-1-2-01", b"id")


def test_a_streamed_answer_is_what_was_captured_of_it_and_says_that_it_was_cut_off() -> None:
    writer, passed, capture = CallWriter(Logger()), exchange(), Capture(100)
    written(writer, passed)
    capture.add(b"half of")
    record = written(writer, passed, body=b"", answer=capture, cut=CUT_OFF)
    assert (record.response.body, record.flags & CUT_OFF) == (b"half of", CUT_OFF)


def test_where_the_mode_wants_no_bodies_only_their_sizes_are_kept() -> None:
    record = written(CallWriter(Logger(mode="metadata")), exchange())
    assert (record.request.body, record.request.size, record.response.size) == (b"", 2, 2)


def test_what_is_said_of_a_call_that_cannot_be_written_has_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    log = CallLog(CallWriter(Logger()), lambda record, go_on, waiter: True, Notices(lambda reason, calls: None))
    log.failed(UnicodeDecodeError("utf-8", b"hush \xff", 5, 6, "invalid start byte"))
    assert "UnicodeDecodeError" in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    ("target", "dropped", "said"),
    [
        (None, ["failed"], "the events of a call could not be written"),
        (b"/v1/models/m:predict", [], "the spool failed when a call"),
    ],
    ids=["not written", "not appended"],
)
def test_a_call_that_cannot_be_recorded_goes_on_and_it_is_said(
    target: bytes | None, dropped: list[str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def append(record: bytes, go_on: Any, waiter: Any) -> bool:
        raise ValueError("mmap closed")

    log = CallLog(CallWriter(Logger()), append, Notices(lambda reason, calls: told.append(reason)))
    passed = exchange(target=target)
    call: Any = SimpleNamespace(exchange=passed, head=HEAD, sent=None, answer=None, cut=0, _log=log)
    assert Logged.record(call, 200, b"ok", lambda: None)
    assert told == dropped
    assert said in caplog.text


def test_a_body_in_many_small_chunks_is_held_in_about_its_size() -> None:
    most = 64 * 1024
    chunks = [bytes((number % 251, number % 7)) for number in range(most)]  # twice as much as is kept
    tracemalloc.start()
    try:
        capture = Capture(most)
        for chunk in chunks:
            capture.add(bytes(bytearray(chunk)))  # as they come: each an object of its own
        held = tracemalloc.get_traced_memory()[0]
        payload = capture.payload()
    finally:
        tracemalloc.stop()
    assert held < 2 * most
    assert (payload.body, payload.size) == (b"".join(chunks)[:most], 2 * most)
    assert payload.digest == b"sha256:" + sha256(b"".join(chunks)).hexdigest().encode()
