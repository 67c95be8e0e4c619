"""Where a request's time went: its spans in the pod's processes, by what each kept of it. Sans-IO.

All processes are on one machine, so that one clock tells when each of them had the request.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from kfunc.telemetry.recent import Request

MOST = 40
LEAST_MS = 0.001
WAIT, DECODE, QUEUE, MODEL, ENCODE = "wait for batch", "decode", "queue", "model", "encode"


class Span(Struct, frozen=True):
    """A part of a request; `at_ms` is since the request's arrival. `depth` 0 is a process, 1 what it did.

    `requests`: how many were in the call that it is of, where that was a batch.
    """

    process: str
    name: str
    at_ms: float
    duration_ms: float
    depth: int = 0
    requests: int = 0


def spans(outer: Request, inner: Sequence[tuple[Request, int]]) -> list[Span]:
    """The spans of a request, as a waterfall has them; `inner` are the processes behind, each with its batch's requests."""
    began_s = _began_s(outer)
    made: list[Span] = []
    for request, requests in [(outer, 0), *inner]:
        at_ms = (_began_s(request) - began_s) * 1e3
        made += _within(request, max(0.0, at_ms), requests)
    return made[:MOST]


def _began_s(request: Request) -> float:
    return request.at_s - request.duration_ms / 1e3


def _within(request: Request, at_ms: float, requests: int) -> Iterator[Span]:
    def span(name: str, begin_ms: float, end_ms: float, depth: int = 1) -> Span:
        return Span(request.process, name, round(at_ms + begin_ms, 3), round(end_ms - begin_ms, 3), depth, requests)

    yield span("", 0.0, request.duration_ms, 0)
    if request.batch_ms:
        yield span(WAIT, 0.0, request.batch_ms)
    if not request.compute_at_ms:
        return
    queued_ms = max(0.0, request.compute_at_ms - request.queue_ms)
    computed_ms = request.compute_at_ms + request.compute_ms
    steps = [
        (DECODE, 0.0, queued_ms),
        (QUEUE, queued_ms, request.compute_at_ms),
        (MODEL, request.compute_at_ms, computed_ms),
        (ENCODE, computed_ms, request.duration_ms),
    ]
    for name, begin_ms, end_ms in steps:
        if end_ms - begin_ms > LEAST_MS or name == MODEL:
            yield span(name, begin_ms, end_ms)
