"""Whether a call is sent again, and when. Sans-IO: outcomes in, seconds out.

Sent again is what cannot have run, and GETs: a POST whose answer is missing may have run.
"""

from collections.abc import Callable

from kfunc.client.errors import ClientError, ConnectionLost, NotConnected
from kfunc.client.wire import Answer, Request

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
TRANSIENT = frozenset((502, 503, 504))


class Retries:
    """At most `most` further tries; the pauses double, half of each by chance, so that clients do not come back as one."""

    def __init__(self, most: int, chance: Callable[[], float]) -> None:
        self._most = most
        self._chance = chance

    def pause(self, request: Request, tries: int, outcome: Answer | ClientError) -> float | None:
        """Seconds to wait before the next try after `tries` of them; None: it is the last one."""
        if tries > self._most or not _is_safe(request, outcome):
            return None
        backoff: float = min(FIRST_PAUSE_S * 2 ** (tries - 1), LONGEST_PAUSE_S)
        asked = retry_after(outcome) if isinstance(outcome, Answer) else None
        return (asked or 0.0) + backoff * (0.5 + 0.5 * self._chance())


def retry_after(answer: Answer) -> float | None:
    """The seconds of `Retry-After` (RFC 9110, 10.2.3); None without it, and for a date."""
    value = answer.headers.get("retry-after", "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else None


def _is_safe(request: Request, outcome: Answer | ClientError) -> bool:
    if isinstance(outcome, ClientError):
        return isinstance(outcome, NotConnected) or (request.method == "GET" and isinstance(outcome, ConnectionLost))
    if outcome.status == 503 and retry_after(outcome) is not None:
        return True
    return request.method == "GET" and outcome.status in TRANSIENT
