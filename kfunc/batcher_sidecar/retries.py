"""The requests of a batch that failed as a whole, sent again alone."""

from time import monotonic
from typing import TYPE_CHECKING

from kfunc.batcher_sidecar.paths import Path
from kfunc.batcher_sidecar.queues import Batch, Part
from kfunc.errors import DeadlineExceeded, KfuncError
from kfunc.http.exchange import Exchange
from kfunc.http.proxy import Forward
from kfunc.http.upstream import ResponseHead

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.application import BatcherApplication
    from kfunc.batcher_sidecar.calls import Member

NOT_THE_REQUEST = (408, 429, 502, 504)
UNAVAILABLE = 503
NO_TURN = "the batch of this request failed, and the time for its requests alone ran out before this one's turn"


def may_go_again(head: ResponseHead) -> bool:
    """Whether the requests of a batch with this answer, which is not 200, may be sent again, each alone.

    Not where the answer has another cause than a request in it, nor where the batch may still run: a proxy's 502 and
    504, the handler's own 504, a 503 that does not say when to come again.
    """
    if head.status == UNAVAILABLE:
        return any(name == b"retry-after" for name, _ in head.headers)
    return head.status not in NOT_THE_REQUEST


class Retries:
    """In the place of their batch, one after the other: no more calls are in flight than without the failure.

    `batch` None: it has been completed, and its place was taken anew. What has not been sent within the time of one
    call is 504: each may take as long.
    """

    def __init__(
        self, application: "BatcherApplication", path: Path, batch: "Batch[Member] | None", parts: "list[Part[Member]]"
    ) -> None:
        self.application = application
        self.path = path
        self._batch = batch
        self._left = parts[::-1]
        self._runs = self._starting = False
        self._ends_at = monotonic() + application.pool.timeout_s

    def start(self) -> None:
        """Send the next."""
        if self._starting:
            return
        self._starting = True
        while self._left and not self._runs:
            part = self._left.pop()
            member = part.ticket.item
            if member.exchange.cancelled:
                continue
            for call in member.calls:  # of the parts of one that was cut: it goes whole
                call.member_gone()
            if monotonic() > self._ends_at:
                member.exchange.fail(DeadlineExceeded(NO_TURN))
                continue
            self._runs = True
            self.application.records.retries.add()
            if part.rows == member.request.rows and not member.request.altered:
                Again(self, member.exchange)
            else:
                self.application.send_again(self, self._batch, part)
        self._starting = False
        if not self._left and not self._runs:
            self.application.completed(self.path, self._batch, 0, retried=True)

    def ended(self) -> None:
        """One of them is answered, or has failed."""
        self._runs = False
        self.start()


class Again(Forward):
    """A request whose batch failed, sent as it came."""

    __slots__ = ("_open", "_retries")

    def __init__(self, retries: Retries, exchange: Exchange) -> None:
        self._retries = retries
        self._open = True
        super().__init__(exchange, retries.application.pool)

    def passed_end(self, *, complete: bool, error: KfuncError | None = None) -> None:
        """The next may go."""
        if self._open:
            self._open = False
            self._retries.ended()
