"""The batcher's proxy: inference requests are collected, everything else passes through untouched."""

import asyncio
import logging
from collections.abc import Hashable
from time import monotonic

import msgspec

from kfunc.batcher_sidecar.merge import Mergeable, merge, read_v1, read_v2, split
from kfunc.batcher_sidecar.policy import Batch, Policy
from kfunc.config.inference import Batcher
from kfunc.errors import BadGateway, KfuncError
from kfunc.http.exchange import Exchange
from kfunc.http.proxy import STREAM_ABOVE, Forward, pass_on
from kfunc.http.upstream import ResponseHead, UpstreamConnection, UpstreamPool
from kfunc.http.wire import JSON, forwarded_headers, header_lines
from kfunc.protocol.messages import ModelMetadata
from kfunc.telemetry.metrics import SIZE_BUCKETS, Metrics
from kfunc.telemetry.requests import RequestRecorder

log = logging.getLogger("kfunc.batcher")

# A body with one of these is not the JSON that is merged here.
OPAQUE = frozenset((b"content-encoding", b"inference-header-content-length"))
# The merged request's own: its body is JSON, and its answer is read here, so it must not come compressed.
OWN = frozenset((b"content-type", b"accept-encoding"))
METADATA_RETRY_S = 1.0
# Paths that are remembered, and their bytes: they are the clients', and are not to fill the memory.
MAX_PATHS = 10_000
MAX_PATH = 512


class Member:
    """An exchange that waits for its batch or is in one."""

    __slots__ = ("exchange", "mergeable")

    def __init__(self, exchange: Exchange, mergeable: Mergeable) -> None:
        self.exchange = exchange
        self.mergeable = mergeable

    @property
    def key(self) -> Hashable:
        """Requests are merged within one: never those of callers who show different credentials."""
        headers = self.exchange.headers
        return self.mergeable.key, headers.get(b"authorization"), headers.get(b"cookie")


class BatcherApplication:
    """Proxy with a queue. Whether V2 requests of a path may be merged is asked of the model's metadata once."""

    stream_above = STREAM_ABOVE

    def __init__(self, settings: Batcher, pool: UpstreamPool, metrics: Metrics, recorder: RequestRecorder) -> None:
        self._pool = pool
        self._recorder = recorder
        self._policy: Policy[Member] = Policy(settings.max_batch_size, settings.max_latency_ms / 1e3, settings.max_queue)
        self._timer: asyncio.TimerHandle | None = None
        self._batched: dict[bytes, bool] = {}  # by the target: does the first dimension take any size?
        self._asked_at: dict[bytes, float] = {}  # by the target, in monotonic seconds
        self._sizes = metrics.histogram("kfunc_batch_size", "Rows in a call of the upstream.", SIZE_BUCKETS)
        self._retries = metrics.counter("kfunc_batch_retries_total", "Requests sent again alone after their batch failed.")
        metrics.gauge("kfunc_batch_queue_length", "Requests that wait for a batch.", lambda: self._policy.queued)

    def handle(self, exchange: Exchange) -> None:
        """Collect what can be merged, forward the rest."""
        if exchange.method == b"POST":
            target = exchange.target
            is_v1 = target.endswith(b":predict")
            if is_v1 or target.endswith(b"/infer"):
                exchange.note = target
                if exchange.complete and OPAQUE.isdisjoint(exchange.headers) and self._may_merge(target, is_v1):
                    mergeable = read_v1(target, exchange.body) if is_v1 else read_v2(target, exchange.body)
                    if mergeable is not None:
                        self._collect(Member(exchange, mergeable))
                        return
        pass_on(exchange, self._pool)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        self._recorder.record(exchange, exchange.note is not None)

    # ---- collecting

    def _collect(self, member: Member) -> None:
        key, now = member.key, monotonic()
        self._policy.add(key, member, member.mergeable.rows, now)
        batches = self._policy.take(key, now)
        if batches:
            for batch in batches:
                self._send(batch)
        else:
            member.exchange.on_cancel = lambda: self._cancel(member)
            if self._timer is None:
                self._arm(now)

    def _cancel(self, member: Member) -> None:
        self._policy.cancel(member.key, member)

    def _arm(self, now: float) -> None:
        due_at = self._policy.due_at()
        if due_at is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, due_at - now), self._due)

    def _due(self) -> None:
        self._timer = None
        now = monotonic()
        for batch in self._policy.take_due(now):
            self._send(batch)
        self._arm(now)

    def completed(self, batch: Batch[Member]) -> None:
        """A batch has been answered: send what was collected meanwhile."""
        self._policy.complete(batch)
        for next_batch in self._policy.take(batch.key, monotonic()):
            self._send(next_batch)

    def _send(self, batch: Batch[Member]) -> None:
        self._sizes.observe(batch.rows)
        if len(batch.items) == 1:
            Single(self, batch)
            return
        try:
            body = merge([member.mergeable for member in batch.items])
        except RecursionError:  # nested as deeply as can be read, but not be written
            self.completed(batch)
            self.send_alone(batch.items)
        else:
            self._pool.send(Merged(self, batch, body))

    def send_alone(self, members: list[Member]) -> None:
        """The batch was refused as a whole: only the request that is wrong is to fail."""
        for member in members:
            if not member.exchange.cancelled:
                self._retries.add()
                Forward(member.exchange, self._pool, b"")

    # ---- what may be merged

    def _may_merge(self, target: bytes, is_v1: bool) -> bool:
        if len(target) > MAX_PATH:
            return False
        known = self._batched.get(target)
        if is_v1:  # instances are rows by definition, until an answer says otherwise
            return known is not False
        if known is None:
            now = monotonic()
            if now - self._asked_at.get(target, -METADATA_RETRY_S) >= METADATA_RETRY_S and len(self._asked_at) < MAX_PATHS:
                self._asked_at[target] = now
                self._pool.send(MetadataCall(self, target))
        return bool(known)

    def learn(self, target: bytes, *, batched: bool) -> None:
        """Whether requests to `target` may be merged."""
        self._batched[target] = batched


class Single(Forward):
    """A batch of one: it passes as it came."""

    __slots__ = ("_application", "_batch", "_open")

    def __init__(self, application: BatcherApplication, batch: Batch[Member]) -> None:
        self._application = application
        self._batch = batch
        self._open = True
        super().__init__(batch.items[0].exchange, application._pool, b"")

    def passed_end(self, *, complete: bool, error: KfuncError | None = None) -> None:
        """The upstream is free again."""
        if self._open:
            self._open = False
            self._application.completed(self._batch)


class WholeAnswer:
    """A Call that wants its answer in one piece, however large."""

    idempotent = False
    bodiless = False

    def __init__(self) -> None:
        self._head: ResponseHead | None = None
        self._parts: list[bytes] = []

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """A large answer begins."""
        self._head = head

    def on_chunk(self, chunk: bytes) -> None:
        """Part of it."""
        self._parts.append(chunk)

    def on_end(self) -> None:
        """All of it."""
        if self._head is not None:
            self.on_response(self._head, b"".join(self._parts))

    def on_pressure(self, paused: bool) -> None:
        """What is sent is in memory already."""

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """The answer."""
        raise TypeError("a subclass takes the answer")


class Merged(WholeAnswer):
    """Several requests as one call."""

    def __init__(self, application: BatcherApplication, batch: Batch[Member], body: bytes) -> None:
        super().__init__()
        self._application = application
        self._batch = batch
        self._body = body

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the merged request with the fields that all members agree on."""
        members = self._batch.items
        first = members[0].exchange
        common = set(first.header_list).intersection(*(member.exchange.header_list for member in members[1:]))
        fields = forwarded_headers([field for field in first.header_list if field in common and field[0] not in OWN])
        if (b"host", first.headers.get(b"host", b"")) not in fields:
            fields.append((b"host", first.headers.get(b"host", b"localhost")))
        fields.append((b"content-type", JSON))
        body = self._body
        head = b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (first.target, header_lines(fields), len(body))
        connection.transport.write(head + body)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """Give each member its part."""
        members = self._batch.items
        self._application.completed(self._batch)
        if head.status >= 400:
            self._application.send_alone(members)
            return
        try:
            parts = split([member.mergeable for member in members], body)
        except BadGateway as error:
            log.warning("%s: %s; not merged any more", members[0].exchange.target.decode("latin-1"), error.message)
            self._application.learn(members[0].exchange.target, batched=False)
            self._application.send_alone(members)
            return
        for member, part in zip(members, parts, strict=True):
            member.exchange.relay(head.status, head.lines, part)

    def on_failure(self, error: KfuncError) -> None:
        """The upstream is lost; what may have run is not sent again."""
        self._application.completed(self._batch)
        for member in self._batch.items:
            member.exchange.fail(error)


class MetadataCall(WholeAnswer):
    """Asks whether a model takes any number of rows (Model Metadata)."""

    idempotent = True

    def __init__(self, application: BatcherApplication, target: bytes) -> None:
        super().__init__()
        self._application = application
        self._target = target

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the request."""
        path = self._target.removesuffix(b"/infer")
        connection.transport.write(b"GET %b HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n" % path)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """Learn from metadata; a server that has none is not merged for."""
        if head.status != 200:
            if head.status in (400, 404, 405, 501):
                self._application.learn(self._target, batched=False)
            return
        try:
            metadata = msgspec.json.decode(body, type=ModelMetadata)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._application.learn(self._target, batched=False)
            return
        # An output whose first dimension is not the batch's may depend on all rows: then merging would show.
        tensors = [*metadata.inputs, *metadata.outputs]
        batched = bool(metadata.inputs) and all((*each.shape, 0)[0] == -1 for each in tensors)
        self._application.learn(self._target, batched=batched)

    def on_failure(self, error: KfuncError) -> None:
        """It is asked again with a later request."""
