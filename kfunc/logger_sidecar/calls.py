"""Calls as they pass through the logger, whole or in parts, and when they are recorded: before their answer is complete."""

from collections.abc import Callable

from kfunc.errors import KfuncError, Unavailable
from kfunc.http.exchange import Exchange
from kfunc.http.pool import UpstreamPool
from kfunc.http.proxy import Forward
from kfunc.http.upstream import ResponseHead
from kfunc.http.wire import error_body
from kfunc.logger_sidecar.admission import GoOn, Waiter
from kfunc.logger_sidecar.capture import Capture
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import CUT_OFF
from kfunc.logger_sidecar.recording import CallWriter
from kfunc.telemetry.requests import CLIENT_GONE

CLOGGED = "the log of requests is full; try again later"

Append = Callable[[bytes, GoOn, Waiter | None], bool]
"""The way into the spool, `Admission.admit`."""


class CallLog:
    """Where calls are recorded: what writes them, and the way into the spool."""

    def __init__(self, writer: CallWriter, append: Append, notices: Notices) -> None:
        self.writer = writer
        self.append = append
        self._notices = notices

    def failed(self, error: Exception) -> None:
        """A call that cannot be written must not fail, nor stop those that follow."""
        self._notices.drop("failed")
        self._notices.say("failed call", "the events of a call could not be written: %s", _words(error))

    def turned_away(self, exchange: Exchange) -> None:
        """Record a call that was answered before it came to the application."""
        try:
            self.append(self.writer.write(TurnedAway(exchange), b"", exchange.status or CLIENT_GONE), _go_on, None)
        except Exception as error:
            self.failed(error)

    def broken(self, error: Exception) -> None:
        """Nor must one that the spool fails with; it may be in it."""
        self._notices.say("broken spool", "the spool failed when a call was appended: %s", _words(error))


class TurnedAway:
    """A call that was refused for its head, its size or its slowness: of its body the size is told, as far as it is known."""

    head: ResponseHead | None = None
    sent: Capture | None
    answer: Capture | None = None
    cut = 0

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.sent = sent = Capture(0)
        announced = exchange.headers.get(b"content-length", b"")
        sent.size = max(exchange.received, int(announced) if announced.isdigit() else 0)


class Unlogged(Forward):
    """A call that is counted, and not in the sample."""

    __slots__ = ()
    is_shadowed = False
    head: ResponseHead | None = None
    whole: bytes | None = None


class Shadowed(Unlogged):
    """A call that is not logged, and goes to the candidate when it is answered."""

    __slots__ = ("head", "whole")
    is_shadowed = True

    def __init__(self, exchange: Exchange, pool: UpstreamPool) -> None:
        self.head = self.whole = None
        super().__init__(exchange, pool)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self.head, self.whole = head, body
        self.exchange.relay(head.status, head.lines, body)

    def passed_head(self, head: ResponseHead) -> None:
        """An answer that is streamed begins."""
        self.head = head


class Logged(Unlogged):
    """A forwarded call that is recorded: whole bodies as they are, streamed ones as they pass."""

    __slots__ = ("_body", "_held", "_left", "_log", "answer", "cut", "head", "is_shadowed", "recorded", "sent", "whole")

    def __init__(self, exchange: Exchange, pool: UpstreamPool, log: CallLog) -> None:
        self._log = log
        self.head: ResponseHead | None = None
        self.whole: bytes | None = None
        self.is_shadowed = False
        self.sent: Capture | None = None
        self.answer: Capture | None = None
        self._body = b""
        self._held: list[Callable[[], None]] | None = None
        self._left = -1  # bytes of a streamed answer that are to come, if that is known
        self.recorded = False
        self.cut = 0
        exchange.note = self
        super().__init__(exchange, pool)

    # ---- what passes

    def sent_chunk(self, chunk: bytes) -> None:
        """Part of a request that is streamed."""
        sent = self.sent
        if sent is None:
            sent = self.sent = Capture(self._log.writer.max_request)
        sent.add(chunk)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self.head = head
        self._body = body
        if self.is_shadowed:
            self.whole = body
        if self.record(head.status, body, self._relay):
            self.exchange.relay(head.status, head.lines, body)

    def _relay(self) -> None:
        head = self.head
        if head is not None:
            self.exchange.relay(head.status, head.lines, self._body)

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """An answer that is streamed begins."""
        self.head = head
        self._left = -1 if length is None else length
        self.answer = Capture(self._log.writer.max_response)
        super().on_head(head, length)

    def on_chunk(self, chunk: bytes) -> None:
        """Part of an answer that is streamed; the last one passes when the call is recorded."""
        if self.answer is not None:
            self.answer.add(chunk)
        if self._left > 0:
            self._left -= len(chunk)
            if self._left <= 0:
                self._record_streamed()
        self._pass(lambda: super(Logged, self).on_chunk(chunk))

    def on_end(self) -> None:
        """The end of an answer that is streamed."""
        if not self.recorded:
            self._record_streamed()
        self._pass(super().on_end)

    def on_failure(self, error: KfuncError) -> None:
        """No answer, or not all of it."""
        if not self.recorded:
            begun = self.answer is not None and self.head is not None
            status = self.head.status if begun and self.head is not None else error.status
            self.cut = CUT_OFF if begun else 0
            if not self.record(status, b"" if begun else error_body(error.message), self._release):
                self._held = []
        self._pass(lambda: super(Logged, self).on_failure(error))

    def _record_streamed(self) -> None:
        status = self.head.status if self.head is not None else 0
        if not self.record(status, b"", self._release):
            self._held = []

    def _pass(self, step: Callable[[], None]) -> None:
        """Do it now, or when the call is recorded."""
        if self._held is None:
            step()
        else:
            self._held.append(step)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for step in held:
            step()

    # ---- the record

    def record(self, status: int, body: bytes, go_on: Callable[[], None]) -> bool:
        """Append the call to the spool; False: its answer has to wait for `go_on`."""
        self.recorded = True
        log = self._log
        try:
            record = log.writer.write(self, body, status)
        except Exception as error:
            log.failed(error)
            return True
        try:
            return log.append(record, go_on, self)
        except Exception as error:
            log.broken(error)
            return True

    def refuse(self) -> None:
        """There will be no room for its events (`on_full: block`): then there is no answer either."""
        self._held = None
        self.exchange.fail(Unavailable(CLOGGED))

    def record_end(self, status: int) -> None:
        """It was refused here, or its client is gone, maybe while the answer came."""
        if self.answer is not None:
            status, self.cut = CLIENT_GONE, CUT_OFF
        self.record(status, b"", _go_on)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"  # of text that is no UTF-8 the representation would hold all


def _go_on() -> None:
    """The exchange has ended: nothing waits."""
