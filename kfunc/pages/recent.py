"""The last requests of a pod: what its processes kept of each, joined by the ids that it had in them. Sans-IO."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct, structs

from kfunc.pages.waterfall import Span, spans
from kfunc.telemetry.recent import Request

MOST = 50
MAX_TEXT = 300
SLACK_S = 0.05  # processes note the end of a request when they get to it


class Pod(Struct, frozen=True):
    """What the outermost process can learn of its pod: metrics as text, the last requests of each process, its own first."""

    exposition: Callable[[], Awaitable[str]]
    requests: Callable[[], Awaitable[Sequence[Sequence[Request]]]]


class Shown(Request, frozen=True, gc=False):
    """A request as the outermost process saw it, with the longest times of all and the spans in each."""

    spans: list[Span] = []


Known = dict[str, list[Request]]


def joined(processes: Sequence[Sequence[Request]]) -> list[Shown]:
    """The outermost process's requests, newest first, each with what the inner ones know of its times.

    Behind the batcher a request has its own id, or its batch's, which the batcher tells.
    """
    if not processes:
        return []
    outer, *inner = processes
    known: list[Known] = []
    for requests in inner:
        by_id: Known = {}
        for request in requests:
            by_id.setdefault(request.request_id, []).append(request)
        known.append(by_id)
    posted = [each for each in outer if each.method == "POST"][:MOST]
    return [_joined(each, known) for each in posted]


def _joined(outer: Request, known: list[Known]) -> Shown:
    def found(request_id: str, requests: int) -> list[tuple[Request, int]]:
        of_each = [by_id.get(request_id, []) for by_id in known]
        return [(each, requests) for same in of_each for each in same if len(same) == 1 or _within(each, outer)]

    behind = found(outer.request_id, 0)
    batches = [batch for request, _ in [(outer, 0), *behind] for batch in request.batches]
    for batch in batches:
        behind += found(batch.request_id, batch.requests)
    seen = [outer, *[request for request, _ in behind]]
    own = structs.asdict(outer) | {
        "path": outer.path[:MAX_TEXT],
        "queue_ms": max(each.queue_ms for each in seen),
        "batch_ms": max(each.batch_ms for each in seen),
        "compute_ms": max(each.compute_ms for each in seen),
        "trace_id": next((each.trace_id for each in seen if each.trace_id), ""),
    }
    return Shown(**own, spans=spans(outer, behind))


def _within(inner: Request, outer: Request) -> bool:
    """Whether one can be a part of the other: callers may use an id again."""
    began_s, outer_began_s = (each.at_s - each.duration_ms / 1e3 for each in (inner, outer))
    return began_s >= outer_began_s - SLACK_S and inner.at_s <= outer.at_s + SLACK_S
