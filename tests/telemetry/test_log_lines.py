"""Log lines in both forms: each JSON line is one object, whatever is logged."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from kfunc.http.exchange import Exchange
from kfunc.telemetry import log_lines
from kfunc.telemetry.current import CURRENT, trace_headers
from kfunc.telemetry.requests import access_line

log = logging.getLogger("kfunc.test")


class Nobody:
    """A transmitter that nothing is written to."""


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where lines go; the process's own logging is as it was afterwards."""
    root, stream = logging.getLogger(), io.StringIO()
    before, root.handlers = root.handlers, []
    log_lines.configure(stream)
    yield stream
    log_lines.use("text")
    root.handlers = before


def test_lines_are_text_at_first(stream: io.StringIO) -> None:
    log.warning("the model %s is slow", "iris")
    assert stream.getvalue() == "WARNING kfunc.test: the model iris is slow\n"


def test_a_json_line_has_time_level_logger_and_message(stream: io.StringIO) -> None:
    log_lines.use("json")
    log.warning("the model %s is slow", "iris")
    fields = json.loads(stream.getvalue())
    assert fields.pop("time").endswith("Z")
    assert fields == {"level": "warning", "logger": "kfunc.test", "message": "the model iris is slow"}


@pytest.mark.parametrize("message", ['a "quoted"\nsecond line', "\x00\x1b[31m", "\ud800", "é\u2028"])
def test_whatever_the_message_there_is_one_line(stream: io.StringIO, message: str) -> None:
    log_lines.use("json")
    log.warning("%s", message)
    (line,) = stream.getvalue().splitlines() if "\u2028" not in message else [stream.getvalue().rstrip("\n")]
    assert json.loads(line)["message"] == message.encode("utf-8", "replace").decode()


def test_a_traceback_is_a_field(stream: io.StringIO) -> None:
    log_lines.use("json")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("the model failed")
    assert json.loads(stream.getvalue())["exception"].endswith("ValueError: broken")


def test_what_keeps_a_process_from_starting_has_the_same_form(stream: io.StringIO) -> None:
    assert log_lines.error_line("no model") == "error: no model\n"
    log_lines.use("json")
    assert json.loads(log_lines.error_line("no model"))["message"] == "no model"


def test_an_access_line_in_json_has_no_header_and_no_body(stream: io.StringIO) -> None:
    log_lines.use("json")
    given: list[tuple[bytes, bytes]] = [(b"x-request-id", b"7")]
    target = b'/v2/models/"iris"/infer?a=\xff'
    exchange = Exchange(Nobody(), b"POST", target, given, dict(given), True)  # type: ignore[arg-type]
    fields = json.loads(access_line(exchange, 200, 0.0015))
    fields.pop("time")
    assert fields == {
        "level": "info",
        "logger": "kfunc.access",
        "method": "POST",
        "path": '/v2/models/"iris"/infer?a=ÿ',
        "status": 200,
        "duration_ms": 1.5,
        "bytes": 0,
        "request_id": "7",
    }


def test_times_are_utc_with_milliseconds() -> None:
    assert log_lines.timestamp(1_795_262_400.1239) == "2026-11-21T12:00:00.123Z"


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def request() -> Exchange:
    given = [(b"x-request-id", b"7"), (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())]
    return Exchange(Nobody(), b"POST", b"/", given, dict(given), True)  # type: ignore[arg-type]


def test_a_line_about_a_request_has_its_ids(stream: io.StringIO) -> None:
    log_lines.use("json")
    log.warning("failed", extra={"exchange": request()})
    fields = json.loads(stream.getvalue())
    assert (fields["request_id"], fields["trace_id"]) == ("7", TRACE)


def test_a_line_of_a_models_code_has_those_of_the_request_that_it_works_for(stream: io.StringIO) -> None:
    log_lines.use("json")
    token = CURRENT.set(request())
    log.warning("odd input")
    CURRENT.reset(token)
    log.warning("idle")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["request_id"], first["trace_id"]) == ("7", TRACE)
    assert second.keys() == {"time", "level", "logger", "message"}


def test_headers_for_another_service_are_those_of_the_request() -> None:
    assert trace_headers() == {}
    token = CURRENT.set(request())
    assert trace_headers() == {"traceparent": f"00-{TRACE}-{SPAN}-01", "x-request-id": "7"}
    CURRENT.reset(token)
