"""The request that a model's code runs for: by it log lines have their ids, and calls that the code makes their trace."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kfunc.protocol.contract import Context

CURRENT: "ContextVar[Context | None]" = ContextVar("kfunc_request", default=None)
PASSED = (b"traceparent", b"tracestate", b"baggage", b"x-request-id")


def trace_headers() -> dict[str, str]:
    """The header fields for a call to another service on behalf of the current request; none outside of one."""
    context = CURRENT.get()
    if context is None:
        return {}
    given = context.headers
    return {name.decode(): given[name].decode("latin-1") for name in PASSED if name in given}
