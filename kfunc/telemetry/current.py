"""The request that a model's code runs for: by it log lines have their ids, and calls that the code makes their trace."""

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from kfunc.protocol.contract import Context


class TraceIds(Struct):
    """A request's span here."""

    trace_id: bytes
    span_id: bytes


class Passed(Struct):
    """A request as the process of its model knows it: what log lines and calls of other services need of it."""

    headers: dict[bytes, bytes]
    request_id: bytes = b""
    trace: TraceIds | None = None


CURRENT: "ContextVar[Context | Passed | None]" = ContextVar("kfunc_request", default=None)
PASSED = (b"traceparent", b"tracestate", b"baggage", b"x-request-id")


def trace_headers() -> dict[str, str]:
    """The header fields for a call to another service on behalf of the current request; none outside of one."""
    context = CURRENT.get()
    if context is None:
        return {}
    given = context.headers
    return {name.decode(): given[name].decode("latin-1") for name in PASSED if name in given}


def passed() -> Passed | None:
    """The current request, for another process."""
    context: Any = CURRENT.get()
    if context is None:
        return None
    trace = getattr(context, "trace", None)
    return Passed(
        {name: context.headers[name] for name in PASSED if name in context.headers},
        getattr(context, "request_id", b""),
        None if trace is None else TraceIds(trace.trace_id, trace.span_id),
    )
