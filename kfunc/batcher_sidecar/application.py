"""The batcher's proxy: inference requests are collected, everything else passes through untouched."""

import asyncio
from collections.abc import Hashable, Mapping
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from kfunc.batcher_sidecar import v1_rows, v2_requests
from kfunc.batcher_sidecar.calls import Alone, Member, Merged
from kfunc.batcher_sidecar.models import Model, name_and_version
from kfunc.batcher_sidecar.paths import CREDENTIALS, MAX_PATH, MAX_PATHS, MetadataCall, Path
from kfunc.batcher_sidecar.policy import Bounds, Policy
from kfunc.batcher_sidecar.queues import NEVER, Batch, Part, Ticket
from kfunc.batcher_sidecar.records import Records
from kfunc.batcher_sidecar.retries import Retries
from kfunc.batcher_sidecar.tuning import FIRST_ROWS
from kfunc.batcher_sidecar.v1_rows import V1Request
from kfunc.batcher_sidecar.v2_requests import V2Request
from kfunc.config.batcher import Batcher
from kfunc.errors import DeadlineExceeded, InvalidRequest, KfuncError, Unavailable
from kfunc.http.exchange import Exchange
from kfunc.http.pool import UpstreamPool
from kfunc.http.proxy import STREAM_ABOVE, pass_on
from kfunc.protocol.json_length import JSON_LENGTH, json_length_of
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.tracing import BatchTracer

# A body with one of these is not what is merged here, or is an event's data and answered by an event of its own.
OPAQUE = frozenset((b"content-encoding", b"ce-specversion"))


class BatcherApplication:
    """Proxy with a queue. Whether V2 requests of a path may be merged is asked of the model's metadata."""

    def __init__(
        self, settings: Batcher, pool: UpstreamPool, metrics: Metrics, recorder: RequestRecorder, max_body_bytes: int = 1 << 26
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.stream_above = STREAM_ABOVE if settings.merge == "never" else settings.max_body_bytes
        self.records = Records(metrics)
        self.tracer: BatchTracer | None = None  # where traces are sent
        self._recorder = recorder
        self._keeps = recorder.recent is not None
        self._bounds = bounds = bounds_of(settings, max_body_bytes)
        self._policy: Policy[Member] = Policy(bounds)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._advancing = self._again = False
        self._paths: dict[bytes, Path] = {}
        self._models: dict[tuple[bytes, bytes], Model] = {}
        self._last: Path | None = None
        self._levels = settings.priority_levels if settings.priority_levels > 1 else 0
        self._default_level = settings.default_priority
        self._group_headers = (*CREDENTIALS, *(name.encode() for name in settings.group_headers))
        policy = self._policy
        self.records.watch(
            metrics,
            queue_length=lambda: policy.queued,
            queue_bytes=lambda: policy.queued_bytes,
            in_flight=lambda: policy.in_flight,
            max_rows=lambda: self._last.model.flow.max_rows if self._last is not None else bounds.max_rows,
        )

    def handle(self, exchange: Exchange) -> None:
        """Collect what can be merged, forward the rest."""
        if exchange.method == b"POST":
            path = self._paths.get(exchange.target) or self._path(exchange.target, exchange.headers)
            if path is not None:
                exchange.note = path
                headers = exchange.headers
                if (path.batched or self._may_merge(path, headers)) and exchange.complete and OPAQUE.isdisjoint(headers):
                    if self._passes(path, exchange):
                        self.records.requests.observe(1)
                        self._policy.enter()
                        Alone(self, exchange, path)
                        return
                    read = self._read(path, exchange)
                    if read is not None:
                        self._collect(path, exchange, *read)
                        return
        pass_on(exchange, self.pool)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        note = exchange.note
        self._recorder.record(exchange, note is not None)
        # What refers to the exchange and back: without it all of that is freed now.
        exchange.on_cancel = None
        if type(note) is Member:
            if len(note.calls) > 1:  # it was cut: some of its parts may be on their way, and it has failed
                for call in note.calls:
                    call.member_gone()
            exchange.note = None
            note.ticket = None
            note.calls = ()

    # ---- collecting

    def _passes(self, path: Path, exchange: Exchange) -> bool:
        """Whether a request may go unread: nothing to merge it with, and not too large for one call."""
        model = path.model
        flow = model.flow
        if model.alone is not None or flow.in_flight or flow.queued or (path.padding and path.padding.mask):
            return False
        if flow.hold_until:
            if monotonic() < flow.hold_until:
                return False
            flow.hold_until = 0.0
        if self._policy.in_flight >= self._bounds.max_in_flight_total:
            return False
        return not path.may_have_more_rows(exchange.body, JSON_LENGTH in exchange.headers)

    def _read(self, path: Path, exchange: Exchange) -> tuple[V1Request | V2Request, Hashable] | None:
        """What can be merged of a request; None if nothing can."""
        headers = exchange.headers
        if path.is_v1:
            read: tuple[V1Request | V2Request, Hashable] | None = v1_rows.read(exchange.body)
        else:
            given, length = headers.get(JSON_LENGTH), None
            if given is not None and (length := json_length_of(given, len(exchange.body))) is None:
                return None
            read = v2_requests.read(exchange.body, length, path.padding)
        if read is None:
            return None
        # Requests are merged within one: never those of callers who show different credentials.
        key = (path.target, read[1], *map(headers.get, self._group_headers))
        if path.unmerged and not path.is_merged(key, monotonic()):
            return None
        return read[0], key

    def _collect(self, path: Path, exchange: Exchange, request: V1Request | V2Request, key: Hashable) -> None:
        alone = path.model.alone
        if alone is not None:
            self._read_alone(alone)
        now = monotonic()
        member = Member(exchange, path, request, request.rows)
        level, expires_at = self._default_level, NEVER
        if request.level is not None and request.level <= self._levels:
            level = request.level
        if request.timeout_s is not None:
            expires_at = now + request.timeout_s
        policy = self._policy
        try:
            member.ticket = policy.add(path.model.flow, key, member, request.rows, now, len(exchange.body), level, expires_at)
        except Unavailable:
            self.records.rejected.add()
            raise
        exchange.note = member
        exchange.on_cancel = lambda: self._cancel(member)
        if policy.stirred:
            self.advance()

    def _read_alone(self, alone: Alone) -> None:
        """The one in flight is not the only one any more: it holds up its group, as a batch would."""
        path = alone.path
        path.model.alone = None
        exchange = alone.exchange
        read = self._read(path, exchange)
        if read is not None:
            request, key = read
            member = Member(exchange, path, request, request.rows)
            sent_at = monotonic() - (perf_counter() - exchange.started_at)
            alone.batch = self._policy.adopt(path.model.flow, key, member, request.rows, sent_at)

    def _cancel(self, member: Member) -> None:
        """A client is gone."""
        if member.ticket is not None and self._policy.cancel(member.ticket):
            self.records.cancelled.add()
        for call in member.calls:
            call.member_gone()

    # ---- sending

    def advance(self) -> None:
        """Send what is due, fail what is late, and see to it that this happens again in time."""
        if self._advancing:
            self._again = True
            return
        self._advancing = True
        policy = self._policy
        try:
            while True:
                self._again = False
                now = monotonic()
                for batch in policy.take(now):
                    self._send(batch)
                for member, error in policy.turned_away():
                    self._turn_away(member, error)
                if not self._again:
                    break
        finally:
            self._advancing = False
        if policy.queued:
            due_at = policy.due_at()
            if due_at is not None and (self._timer is None or due_at < self._timer_at):
                self._arm(due_at, now)

    def _arm(self, due_at: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due_at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, due_at - now), self._due)

    def _due(self) -> None:
        self._timer = None
        self.advance()

    def _turn_away(self, member: Member, error: KfuncError) -> None:
        counter = self.records.expired if isinstance(error, DeadlineExceeded) else self.records.rejected
        counter.add()
        member.exchange.fail(error)

    def completed(self, path: Path, batch: Batch[Member] | None, status: int, *, retried: bool = False) -> None:
        """A call is answered with `status`, or has failed (0): send what was collected meanwhile."""
        policy = self._policy
        if batch is None:
            policy.leave()
        else:
            now = monotonic()
            policy.complete(batch, now)
            tuner = path.model.tuner
            if tuner is not None and not retried:
                tuner.answered(batch, now, good=status == 200)
        if policy.queued:
            self.advance()

    def _send(self, batch: Batch[Member]) -> None:
        first = batch.parts[0]
        member = first.ticket.item
        self._last = path = member.path
        self.records.sent(batch, path.model.flow.max_rows, perf_counter())
        if len(batch.parts) == 1 and first.rows == member.request.rows and not member.request.altered:
            Alone(self, member.exchange, path, batch)
            return
        for part in batch.parts:
            if part.start == 0 and part.rows < part.ticket.rows:
                self.records.splits.add()
        self.send_merged(Merged(self, path, batch, batch.parts))

    def send_merged(self, call: Merged) -> None:
        """Send several requests as one, or each alone where they have no common form."""
        if call.prepare():
            if self._keeps:
                call.take_id()
            calls = (call,)
            for part in call.parts:
                member = part.ticket.item
                member.calls = member.calls + calls if member.calls else calls
            if self.tracer is not None:
                call.span = self.tracer.begin(call.parts)
            self.pool.send(call)
        else:
            call.again_or_fail(InvalidRequest("the values of an input are none of its datatype, or nested too deeply"))

    def send_again(self, retries: Retries, batch: Batch[Member] | None, part: Part[Member]) -> None:
        """Send a part of a batch that failed, or a request to which something is added, in a call of its own."""
        self.send_merged(Merged(self, retries.path, batch, [part], retries))

    def drop(self, ticket: Ticket[Member]) -> None:
        """What waits of a request is not to be sent."""
        self._policy.cancel(ticket)

    def send_alone(self, path: Path, parts: list[Part[Member]]) -> None:
        """Merged, the answers of these had no form that their callers can read."""
        self._policy.enter()
        Retries(self, path, None, [Part(part.ticket, 0, part.ticket.rows) for part in parts]).start()

    # ---- what may be merged

    def _path(self, target: bytes, headers: Mapping[bytes, bytes]) -> Path | None:
        """The path of an inference request; None for any other."""
        if not (target.endswith(b":predict") or (target.endswith(b"/infer") and b"/v2/models/" in target)):
            return None
        if len(self._paths) >= MAX_PATHS:  # a request has its own, and a model with requests must keep their count
            self._paths = {}
            self._models = {name: model for name, model in self._models.items() if not model.is_idle}
        model = self._models.get(name := name_and_version(target)) or Model(self.settings, self._policy)
        path = Path(target, self.settings, model)
        if len(target) > MAX_PATH:
            return path
        self._models[name] = model
        self._paths[target] = path
        if path.batched:  # without having been asked, which V2 models still are for what else they tell
            self.ask(path, headers)
        return path

    def _may_merge(self, path: Path, headers: Mapping[bytes, bytes]) -> bool:
        """As long as the model has not said yes it is asked, now and then."""
        self.ask(path, headers)
        return bool(path.batched)

    def ask(self, path: Path, headers: Mapping[bytes, bytes]) -> None:
        """Ask a model for its metadata as the caller of a request with `headers`, unless that was just done."""
        now = monotonic()
        if path.wants_metadata(now):
            path.asked_at = now
            self.pool.send(MetadataCall(path, headers))

    def learn(self, target: bytes, *, batched: bool) -> None:
        """Whether requests to `target` may be merged, for who knows it without asking."""
        path = self._paths.get(target) or self._path(target, {})
        if path is not None:
            path.batched = batched


def bounds_of(settings: Batcher, max_body_bytes: int) -> Bounds:
    """The policy's, from the settings; a batch is no larger than what a server takes."""
    size = settings.max_batch_size
    return Bounds(
        max_rows=FIRST_ROWS if size == "auto" else size,
        max_latency_s=settings.max_latency_ms / 1e3,
        preferred=tuple(settings.preferred_batch_sizes),
        max_in_flight=settings.max_in_flight,
        max_in_flight_total=settings.max_in_flight_total,
        max_queue=settings.max_queue,
        max_queue_bytes=settings.max_queue_bytes,
        max_batch_bytes=max_body_bytes,
    )
