"""Calls of the upstream for one request or several, and what becomes of their answers."""

import logging
from time import monotonic
from typing import TYPE_CHECKING

from msgspec import Struct

from kfunc.batcher_sidecar import v1_rows, v2_answers, v2_merging
from kfunc.batcher_sidecar.paths import Path
from kfunc.batcher_sidecar.queues import Batch, Part, Ticket
from kfunc.batcher_sidecar.retries import Retries, may_go_again
from kfunc.batcher_sidecar.tensor_rows import Unrepresentable
from kfunc.batcher_sidecar.v1_rows import V1Answer, V1Request
from kfunc.batcher_sidecar.v2_answers import V2Answer
from kfunc.batcher_sidecar.v2_requests import V2Request
from kfunc.batcher_sidecar.whole_answer import WholeAnswer
from kfunc.errors import BadGateway, KfuncError
from kfunc.http.exchange import Exchange
from kfunc.http.head_lines import REQUEST_ID
from kfunc.http.identity import new_request_id
from kfunc.http.proxy import Forward
from kfunc.http.upstream import ResponseHead, UpstreamConnection
from kfunc.http.wire import JSON, LEAST_CODED, Headers, end_to_end, forwarded_headers, header_lines
from kfunc.protocol.json_length import JSON_LENGTH, json_length_of

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.application import BatcherApplication
    from kfunc.batcher_sidecar.tracing import BatchSpan

log = logging.getLogger("kfunc.batcher")

BINARY = b"application/octet-stream"
# The merged request's own: its form is decided here, and its answer is read here, so it must not come compressed.
OWN = frozenset((b"content-type", b"accept-encoding", b"grpc-timeout", JSON_LENGTH))
# Of those that differ the first request's are sent: the calls behind belong to its trace.
TRACE = (b"traceparent", b"tracestate")
# Said anew for each caller's part of an answer.
FORM = frozenset((b"content-type", JSON_LENGTH))


class Member(Struct, eq=False):
    """An exchange that waits for its batch, is in one, or in several as parts.

    `sent_at` is in seconds of perf_counter, as the exchange's `started_at`; `batches` are the numbers of its batches,
    `missing` the rows without an answer, `sources` the answers so far, with the first row of each part. `is_whole`: it
    was cut, and goes as it came all the same: nobody waits for its parts any more.
    """

    exchange: Exchange
    path: Path
    request: V1Request | V2Request
    missing: int
    ticket: "Ticket[Member] | None" = None
    sources: list[tuple[int, V1Answer | V2Answer, int, int]] | None = None
    sent_at: float = 0.0
    batches: tuple[int, ...] = ()
    calls: "tuple[Merged, ...]" = ()
    is_whole: bool = False

    def awaits(self, part: Part["Member"]) -> bool:
        """Whether what becomes of a part is this request's affair."""
        return not self.exchange.cancelled and (not self.is_whole or part.rows == self.request.rows)

    def uncut(self) -> None:
        """Begin anew, without the answers to parts."""
        self.is_whole, self.missing, self.sources = True, self.request.rows, None

    def take(self, part: Part["Member"], answer: V1Answer | V2Answer, start: int, head: ResponseHead) -> bool:
        """Rows from `start` of an answer are this part's; false where they have no form that the caller wants."""
        if not self.awaits(part):
            return True
        self.missing -= part.rows
        sources = [(answer, start, start + part.rows)]
        if self.missing or self.sources:
            self.sources = kept = self.sources or []
            kept.append((part.start, *sources[0]))
            if self.missing:
                return True
            sources = [source[1:] for source in sorted(kept, key=lambda source: source[0])]
        json_length, lines = 0, head.lines
        if isinstance(self.request, V1Request):
            body = V1Answer.part(sources)  # type: ignore[arg-type]
        else:
            try:
                body, json_length = v2_answers.part(self.request, sources)  # type: ignore[arg-type]
            except Unrepresentable:
                self.uncut()
                return False
            if json_length or not answer.all_json or (self.sources and not all(each[0].all_json for each in sources)):  # type: ignore[union-attr]
                lines = form_lines(head, json_length)
        give(self.exchange, lines, body)
        return True


def give(exchange: Exchange, lines: bytes, body: bytes) -> None:
    """Answer with a part of a batch's answer: that came without a content coding, and the caller may want one."""
    accepted = exchange.headers.get(b"accept-encoding")
    if accepted and (len(body) >= LEAST_CODED or b";" in accepted):
        from kfunc.http.coding import choose, deflate, is_plain_refused

        coding = choose(accepted)
        if coding is not None and (len(body) >= LEAST_CODED or is_plain_refused(accepted)):
            body = deflate(body, coding)
            lines += b"content-encoding: %b\r\nvary: accept-encoding\r\n" % coding
    exchange.relay(200, lines, body)


def form_lines(head: ResponseHead, json_length: int) -> bytes:
    """The fields of an answer whose form is not that of the batch's."""
    fields = [field for field in forwarded_headers(head.headers) if field[0] not in FORM and field[0] != REQUEST_ID]
    if json_length:
        return header_lines([*fields, (b"content-type", BINARY), (JSON_LENGTH, b"%d" % json_length)])
    return header_lines([*fields, (b"content-type", JSON)])


class Alone(Forward):
    """One request that passes as it came: unread, or as a batch of one."""

    __slots__ = ("_application", "_open", "batch", "path")

    def __init__(
        self, application: "BatcherApplication", exchange: Exchange, path: Path, batch: Batch[Member] | None = None
    ) -> None:
        self._application = application
        self.path = path
        self._open = True
        self.batch = batch
        if batch is None:
            path.model.alone = self
        super().__init__(exchange, application.pool)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self._end(head.status)
        self.exchange.relay(head.status, head.lines, body)

    def passed_end(self, *, complete: bool, error: KfuncError | None = None) -> None:
        """The end of an answer that came in parts, or there is none."""
        self._end(self.exchange.status if complete else 0)

    def _end(self, status: int) -> None:
        """The upstream is free again."""
        if self._open:
            self._open = False
            model = self.path.model
            if model.alone is self:
                model.alone = None
            self._application.completed(self.path, self.batch, status)


class Merged(WholeAnswer):
    """Parts of requests as one call: those of a batch, or with `retries` one of them, tried again."""

    def __init__(
        self,
        application: "BatcherApplication",
        path: Path,
        batch: Batch[Member] | None,
        parts: list[Part[Member]],
        retries: Retries | None = None,
    ) -> None:
        super().__init__()
        self.application = application
        self.path = path
        self.parts = parts
        self._batch = batch
        self._retries = retries
        self._rows = sum(part.rows for part in parts)
        self._body = b""
        self._json_length = 0
        self._lengths: dict[str, int] | None = None
        self._connection: UpstreamConnection | None = None
        self._open = True
        self.span: BatchSpan | None = None  # where traces are sent
        self._own_id = b""  # where the last requests are kept

    def prepare(self) -> bool:
        """Write the body; false where the requests have no common form."""
        pieces = [(part.ticket.item.request, part.start, part.start + part.rows) for part in self.parts]
        try:
            if self.path.is_v1:
                self._body = v1_rows.merge(pieces)  # type: ignore[arg-type]
            else:
                self._body, self._json_length, self._lengths = v2_merging.merge(pieces, self.path.padding)  # type: ignore[arg-type]
        except (RecursionError, Unrepresentable):
            return False
        return True

    def take_id(self) -> None:
        """Be known behind by an id of its own, which its requests keep."""
        self._own_id = new_request_id()
        own = ((self._own_id, len(self.parts)),)
        for part in self.parts:
            part.ticket.item.exchange.batches += own

    # ---- request

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the merged request with the fields that all members agree on."""
        self._connection = connection
        body, self._body = self._body, b""
        fields = self._fields()
        if self._json_length:
            fields += [(b"content-type", BINARY), (JSON_LENGTH, b"%d" % self._json_length)]
        else:
            fields.append((b"content-type", JSON))
        head = b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (self.path.target, header_lines(fields), len(body))
        connection.transport.write(head + body)

    def _fields(self) -> Headers:
        first, *others = [part.ticket.item.exchange for part in self.parts]
        common = set(first.header_list)
        for exchange in others:
            if exchange.header_list is not first.header_list:
                named = b"connection" in exchange.headers  # it may name fields that are not to be passed on
                common.intersection_update(end_to_end(exchange.header_list) if named else exchange.header_list)
        kept = [field for field in first.header_list if (field in common or field[0] in TRACE) and field[0] not in OWN]
        fields = forwarded_headers(kept)
        if self.span is not None:
            own = [(TRACE[0], self.span.traceparent), *([(TRACE[1], self.span.state)] if self.span.state else ())]
            fields = [field for field in fields if field[0] not in TRACE] + own
        if self._own_id:
            fields = [field for field in fields if field[0] != REQUEST_ID] + [(REQUEST_ID, self._own_id)]
        if (b"host", first.headers.get(b"host", b"")) not in fields:
            fields.append((b"host", first.headers.get(b"host", b"localhost")))
        return fields

    def member_gone(self) -> None:
        """A request does not wait for its part any more: if it was the last, so is the reason for the call."""
        if self._open and not self._members():
            if self._connection is not None and self._connection.call is self:
                self._connection.abort()
            else:
                self.application.pool.forget(self)
            self._end_span(0)
            self._close()

    def _end_span(self, status: int, error: str = "") -> None:
        span, self.span = self.span, None
        if span is not None and self.application.tracer is not None:
            self.application.tracer.end(span, status, error)

    # ---- answer

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """Give each member its part."""
        if self.span is not None:
            self._end_span(head.status)
        if head.status != 200:
            self._refused(head, body)
            return
        try:
            answer = self._read(head, body)
        except BadGateway as error:
            self._unmergeable(error)
            return
        unlike, start = [], 0
        if self._retries is None:
            self._close(200)
        plain = type(answer) is V2Answer and answer.all_json and not answer.ragged
        lines = head.lines
        for part in self.parts:
            member, end = part.ticket.item, start + part.rows
            request = member.request
            if plain and part.rows == request.rows and request.wanted is False:  # what nearly all are
                give(member.exchange, lines, answer.part_json(request.id, start, end))  # type: ignore[union-attr]
            elif not member.take(part, answer, start, head):
                unlike.append(part)
            start = end
        if unlike:
            self._send_alone(unlike)
        self._close(200)

    def _send_alone(self, unlike: list[Part[Member]]) -> None:
        """The answer had no form that these callers can read."""
        if self._retries is None:
            self.application.send_alone(self.path, unlike)
            return
        for part in unlike:
            part.ticket.item.exchange.fail(BadGateway("the upstream's answer has no form that its caller can read"))

    def _unmergeable(self, error: BadGateway) -> None:
        """Merging, or the cutting of a request, shows in the answer."""
        path = self.path
        if self._batch is not None and path.part_from_others(self._batch.group.key, monotonic()):
            log.warning("%s: %s; such requests are not merged for a while", path.target.decode("latin-1"), error.message)
        self.again_or_fail(error)

    def _read(self, head: ResponseHead, body: bytes) -> V1Answer | V2Answer:
        if self.path.is_v1:
            return V1Answer(body, self._rows)
        given, length, path = dict(head.headers).get(JSON_LENGTH), None, self.path
        if given is not None and (length := json_length_of(given, len(body))) is None:
            raise BadGateway("the upstream's answer to a batch is not as long as it says")
        return V2Answer(body, length, self._rows, path.fixed, path.padding, self._lengths, path.rowed)

    def _refused(self, head: ResponseHead, body: bytes) -> None:
        """An answer, and not the one that was hoped for: it is each member's, or that of the one with the bad row."""
        if len(self.parts) > 1 and self.application.settings.retry_alone and may_go_again(head):
            self.application.ask(self.path, self.parts[0].ticket.item.exchange.headers)  # another model may be loaded by now
            self._again()
            return
        self._drop_rest()
        self._close(head.status)
        for member in self._members():
            member.exchange.relay(head.status, head.lines, body)

    def again_or_fail(self, error: KfuncError) -> None:
        """Send each request alone; one that was sent so is answered with the error."""
        if self._retries is None:
            self._again()
        else:
            self.on_failure(error)

    def _again(self) -> None:
        """Send each request as it came, in a call of its own."""
        self._open = False
        Retries(self.application, self.path, self._batch, self._whole()).start()

    def _whole(self) -> list[Part[Member]]:
        """Its requests, but for those that go alone already; those that were cut are whole again."""
        parts = []
        for part in self.parts:
            member = part.ticket.item
            if part.rows < member.request.rows:
                if member.is_whole:
                    continue
                self.application.drop(part.ticket)
                member.uncut()
                part = Part(part.ticket, 0, part.ticket.rows)
            parts.append(part)
        return parts

    def _members(self) -> list[Member]:
        """Those that wait for this call."""
        return [part.ticket.item for part in self.parts if part.ticket.item.awaits(part)]

    def on_failure(self, error: KfuncError) -> None:
        """The upstream is lost; what may have run is not sent again."""
        self._end_span(error.status, error.message)
        self._drop_rest()
        try:
            self._close()
        finally:  # what others send next is no reason to let these wait for ever
            for member in self._members():
                member.exchange.fail(error)

    def _drop_rest(self) -> None:
        """The requests have failed: what waits of those that were cut is not sent."""
        for part in self.parts:
            if part.ticket.waits:
                self.application.drop(part.ticket)

    def _close(self, status: int = 0) -> None:
        if self._open:
            self._open = False
            if self._retries is not None:
                self._retries.ended()
            else:
                self.application.completed(self.path, self._batch, status)
