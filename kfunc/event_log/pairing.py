"""Requests with the answers that they got, from events in the order of a log. Sans-IO."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from kfunc.event_log.stored import REQUEST, RESPONSE, Stored

MOST_WAITING = 10_000
"""Requests whose answers have not come yet, and answers without their requests: past it the oldest goes without."""


class Exchange(Struct, frozen=True):
    """A request as it was logged, and its answer, if that was."""

    request: Stored
    response: Stored | None = None


def pair(events: Iterable[Stored]) -> Iterator[Exchange]:
    """Each request once, when its answer is read, or at the end; an answer without a request is left out."""
    waiting: dict[tuple[str, str], Stored] = {}
    early: dict[tuple[str, str], Stored] = {}  # answers that a retry has put before their requests
    seen: set[int] = set()  # hashes: a log may be long
    for event in events:
        identity = hash(event.identity)
        if event.kind not in (REQUEST, RESPONSE) or identity in seen:
            continue
        seen.add(identity)
        call = (event.source, _call(event))
        if event.kind == REQUEST and (response := early.pop(call, None)) is not None:
            yield Exchange(event, response)
        elif event.kind == REQUEST:
            waiting[call] = event
            if len(waiting) > MOST_WAITING:
                yield Exchange(waiting.pop(next(iter(waiting))))
        elif (request := waiting.pop(call, None)) is not None:
            yield Exchange(request, event)
        else:
            early[call] = event
            if len(early) > MOST_WAITING:
                del early[next(iter(early))]
    for request in waiting.values():
        yield Exchange(request)


def _call(event: Stored) -> str:
    number = event.call_number
    return f"{number[0]}-{number[1]}" if number else event.correlation
