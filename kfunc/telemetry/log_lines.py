"""Log lines as people read them, or as JSON objects, which Fluent Bit, Fluentd and others read. One form for a process."""

import logging
import sys
import time
from typing import Any, TextIO

import msgspec

from kfunc.telemetry.current import CURRENT
from kfunc.telemetry.trace_context import ids_of

PROGRESS = "kfunc.progress"  # what takes long, and what has changed: said without anything being wrong
TEXT = "%(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """A record as a JSON object on one line: time, level, logger, message and, of an exception, its traceback.

    One that is about a request has the request's ids: `exchange` among its extras says so, or model code that logs.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        exchange = getattr(record, "exchange", None) or CURRENT.get()
        if exchange is not None:
            fields |= ids(exchange)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return line(record.created, fields)


class _Form:
    """The form of this process's lines; text until its settings are known."""

    json = False


def use(form: str) -> None:
    """From now on lines are `text` or `json`."""
    _Form.json = form == "json"
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines() if _Form.json else logging.Formatter(TEXT))


def configure(stream: TextIO | None = None) -> None:
    """Warnings and errors go to standard error, in the form that is used."""
    logging.basicConfig(format=TEXT, level=logging.WARNING, stream=stream or sys.stderr)
    logging.getLogger(PROGRESS).setLevel(logging.INFO)
    use("json" if _Form.json else "text")


def is_json() -> bool:
    """Whether lines are JSON objects."""
    return _Form.json


def line(at_s: float, fields: dict[str, Any]) -> str:
    """One object, its time first (RFC 3339, UTC); text that is not UTF-8 is shown as far as it can be."""
    clean = {key: _clean(value) if isinstance(value, str) else value for key, value in fields.items()}
    return msgspec.json.encode({"time": timestamp(at_s), **clean}).decode()


def ids(exchange: Any) -> dict[str, str]:
    """What log lines, spans and events of one request have in common; a trace where it belongs to one."""
    trace_id, span_id = ids_of(exchange)
    request_id = getattr(exchange, "request_id", b"").decode("latin-1")
    found = {"request_id": request_id, "trace_id": trace_id, "span_id": span_id}
    return {name: value for name, value in found.items() if value}


def timestamp(at_s: float) -> str:
    """`2026-11-21T12:00:00.123Z`."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_s))}.{int(at_s % 1 * 1000):03}Z"


def error_line(message: str) -> str:
    """What keeps a process from starting, with its line end."""
    if not _Form.json:
        return f"error: {message}\n"
    return line(time.time(), {"level": "error", "logger": "kfunc", "message": message}) + "\n"


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
