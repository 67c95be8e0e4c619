"""The last requests of a pod: what its processes kept of each, joined by the request's id. Sans-IO."""

from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct, structs

from kfunc.telemetry.recent import Request

MOST = 50
MAX_TEXT = 300


class Pod(Struct, frozen=True):
    """What the outermost process can learn of its pod: metrics as text, the last requests of each process, its own first."""

    exposition: Callable[[], Awaitable[str]]
    requests: Callable[[], Awaitable[Sequence[Sequence[Request]]]]


def joined(processes: Sequence[Sequence[Request]]) -> list[Request]:
    """The outermost process's requests, newest first, each with what the inner ones know of its times.

    An inner process sees a batch as one request with an id of its own: the waiting before it is what is known then.
    """
    if not processes:
        return []
    outer, *inner = processes
    known: dict[str, list[Request]] = {}
    for request in (each for requests in inner for each in requests):
        known.setdefault(request.request_id, []).append(request)
    posted = [each for each in outer if each.method == "POST"][:MOST]
    return [_joined(each, known.get(each.request_id, [])) for each in posted]


def _joined(outer: Request, inner: list[Request]) -> Request:
    seen = [outer, *inner]
    return structs.replace(
        outer,
        path=outer.path[:MAX_TEXT],
        queue_ms=max(each.queue_ms for each in seen),
        batch_ms=max(each.batch_ms for each in seen),
        compute_ms=max(each.compute_ms for each in seen),
        trace_id=next((each.trace_id for each in seen if each.trace_id), ""),
    )
