"""The batcher's proxy: inference requests are collected, everything else passes through untouched."""

import asyncio
import logging
from collections.abc import Hashable
from time import monotonic, perf_counter

import msgspec

from kfunc.batcher_sidecar.merge import Mergeable, merge, read_v1, read_v2, split
from kfunc.batcher_sidecar.policy import Batch, Policy
from kfunc.config.batcher import Batcher
from kfunc.errors import BadGateway, KfuncError
from kfunc.http.exchange import Exchange
from kfunc.http.proxy import STREAM_ABOVE, Forward, pass_on
from kfunc.http.upstream import ResponseHead, UpstreamConnection, UpstreamPool
from kfunc.http.wire import JSON, forwarded_headers, header_lines
from kfunc.protocol.messages import ModelMetadata
from kfunc.telemetry.metrics import SIZE_BUCKETS, Metrics
from kfunc.telemetry.requests import RequestRecorder

log = logging.getLogger("kfunc.batcher")

# A body with one of these is not the JSON that is merged here, or is an event's data and answered by an event of its own.
OPAQUE = frozenset((b"content-encoding", b"inference-header-content-length", b"ce-specversion"))
# The merged request's own: its body is JSON, and its answer is read here, so it must not come compressed.
OWN = frozenset((b"content-type", b"accept-encoding"))
METADATA_RETRY_S = 1.0
# Paths that are remembered, and their bytes: they are the clients', and are not to fill the memory.
MAX_PATHS = 10_000
MAX_PATH = 512


class Path:
    """A target of inference requests: whether they may be merged, and what of it is on its way.

    `busy` counts the requests that wait or are in flight, of those that may be merged. `alone` is one that was sent
    unread, because there was nothing to merge it with: it gets its group when a second one comes.
    """

    __slots__ = ("alone", "asked_at", "batched", "busy", "is_v1", "target")

    def __init__(self, target: bytes, *, is_v1: bool, known: bool) -> None:
        self.target = target
        self.is_v1 = is_v1
        # Does the first dimension take any size? V1's instances are rows by definition, until an answer says otherwise.
        self.batched: bool | None = (True if is_v1 else None) if known else False
        self.asked_at = -METADATA_RETRY_S  # in monotonic seconds
        self.busy = 0
        self.alone: Alone | None = None

    def read(self, body: bytes) -> Mergeable | None:
        """What can be merged of a request; None if nothing can."""
        return read_v1(self.target, body) if self.is_v1 else read_v2(self.target, body)


class Member:
    """An exchange that waits for its batch or is in one."""

    __slots__ = ("exchange", "key", "mergeable")

    def __init__(self, exchange: Exchange, mergeable: Mergeable) -> None:
        self.exchange = exchange
        self.mergeable = mergeable
        headers = exchange.headers
        # Requests are merged within one: never those of callers who show different credentials.
        self.key: Hashable = (mergeable.key, headers.get(b"authorization"), headers.get(b"cookie"))


class BatcherApplication:
    """Proxy with a queue. Whether V2 requests of a path may be merged is asked of the model's metadata once."""

    stream_above = STREAM_ABOVE

    def __init__(self, settings: Batcher, pool: UpstreamPool, metrics: Metrics, recorder: RequestRecorder) -> None:
        self._pool = pool
        self._recorder = recorder
        self._policy: Policy[Member] = Policy(settings.max_batch_size, settings.max_latency_ms / 1e3, settings.max_queue)
        self._timer: asyncio.TimerHandle | None = None
        self._paths: dict[bytes, Path] = {}
        self._sizes = metrics.histogram("kfunc_batch_size", "Requests in a call of the upstream.", SIZE_BUCKETS)
        self._rows = metrics.histogram("kfunc_batch_rows", "Rows in a call of several requests.", SIZE_BUCKETS)
        self._retries = metrics.counter("kfunc_batch_retries_total", "Requests sent again alone after their batch failed.")
        metrics.gauge("kfunc_batch_queue_length", "Requests that wait for a batch.", lambda: self._policy.queued)

    def handle(self, exchange: Exchange) -> None:
        """Collect what can be merged, forward the rest."""
        if exchange.method == b"POST":
            path = self._paths.get(exchange.target) or self._path(exchange.target)
            if path is not None:
                exchange.note = path
                if exchange.complete and OPAQUE.isdisjoint(exchange.headers) and self._may_merge(path):
                    if not path.busy:
                        self._sizes.observe(1)
                        Alone(self, exchange, path)
                        return
                    mergeable = path.read(exchange.body)
                    if mergeable is not None:
                        self._collect(path, Member(exchange, mergeable))
                        return
        pass_on(exchange, self._pool)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        self._recorder.record(exchange, exchange.note is not None)
        exchange.on_cancel = None  # it refers to the exchange: without it that is freed now

    # ---- collecting

    def _collect(self, path: Path, member: Member) -> None:
        if path.alone is not None:
            self._read_alone(path, path.alone)
        key, now = member.key, monotonic()
        self._policy.add(key, member, member.mergeable.rows, now)
        path.busy += 1
        batches = self._policy.take(key, now)
        if batches:
            for batch in batches:
                self._send(batch)
        else:
            member.exchange.on_cancel = lambda: self._cancel(path, member)
            if self._timer is None:
                self._arm(now)

    def _read_alone(self, path: Path, alone: "Alone") -> None:
        """The one in flight is not the only one any more: it holds up its group, as a batch would."""
        path.alone = None
        mergeable = path.read(alone.exchange.body)
        if mergeable is not None:
            member = Member(alone.exchange, mergeable)
            alone.batch = self._policy.adopt(member.key, member, mergeable.rows)

    def _cancel(self, path: Path, member: Member) -> None:
        if self._policy.cancel(member.key, member):
            path.busy -= 1

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

    def completed(self, path: Path, count: int, batch: Batch[Member] | None) -> None:
        """Requests have been answered together: send what was collected meanwhile."""
        path.busy -= count
        if batch is not None:
            self._policy.complete(batch)
            for next_batch in self._policy.take(batch.key, monotonic()):
                self._send(next_batch)

    def _send(self, batch: Batch[Member]) -> None:
        members = batch.items
        path: Path = members[0].exchange.note
        now = perf_counter()
        for member in members:
            member.exchange.batch_s = now - member.exchange.started_at
        self._sizes.observe(len(members))
        if len(members) == 1:
            path.busy -= 1
            Alone(self, members[0].exchange, path, batch)
            return
        self._rows.observe(batch.rows)
        try:
            body = merge([member.mergeable for member in members])
        except RecursionError:  # nested as deeply as can be read, but not be written
            self.completed(path, len(members), batch)
            self.send_alone(members)
        else:
            self._pool.send(Merged(self, path, batch, body))

    def send_alone(self, members: list[Member]) -> None:
        """The batch was refused as a whole: only the request that is wrong is to fail."""
        for member in members:
            if not member.exchange.cancelled:
                self._retries.add()
                Forward(member.exchange, self._pool)

    def forget(self, call: "Merged") -> None:
        """Drop a call that waits for a connection."""
        self._pool.forget(call)

    # ---- what may be merged

    def _path(self, target: bytes) -> Path | None:
        """The path of an inference request; None for any other."""
        is_v1 = target.endswith(b":predict")
        if not (is_v1 or target.endswith(b"/infer")):
            return None
        known = len(target) <= MAX_PATH and len(self._paths) < MAX_PATHS
        path = Path(target, is_v1=is_v1, known=known)
        if known:
            self._paths[target] = path
        return path

    def _may_merge(self, path: Path) -> bool:
        if path.batched is None:
            now = monotonic()
            if now - path.asked_at >= METADATA_RETRY_S:
                path.asked_at = now
                self._pool.send(MetadataCall(path))
            return False
        return path.batched

    def learn(self, target: bytes, *, batched: bool) -> None:
        """Whether requests to `target` may be merged."""
        path = self._paths.get(target) or self._path(target)
        if path is not None:
            path.batched = batched


class Alone(Forward):
    """One request that passes as it came: unread, or as a batch of one."""

    __slots__ = ("_application", "_open", "_path", "batch")

    def __init__(
        self, application: BatcherApplication, exchange: Exchange, path: Path, batch: Batch[Member] | None = None
    ) -> None:
        self._application = application
        self._path = path
        self._open = True
        self.batch = batch
        path.busy += 1
        if batch is None:
            path.alone = self
        super().__init__(exchange, application._pool)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self.passed_end(complete=True)
        self.exchange.relay(head.status, head.lines, body)

    def passed_end(self, *, complete: bool, error: KfuncError | None = None) -> None:
        """The upstream is free again."""
        if self._open:
            self._open = False
            if self._path.alone is self:
                self._path.alone = None
            self._application.completed(self._path, 1, self.batch)


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

    def __init__(self, application: BatcherApplication, path: Path, batch: Batch[Member], body: bytes) -> None:
        super().__init__()
        self._application = application
        self._path = path
        self._batch = batch
        self._body = body
        self._connection: UpstreamConnection | None = None
        for member in batch.items:
            member.exchange.on_cancel = self.on_cancel

    def on_cancel(self) -> None:
        """One of those who wait is gone. With the last of them goes the reason for the call."""
        if not all(member.exchange.cancelled for member in self._batch.items):
            return
        if self._connection is None:
            self._application.forget(self)
        else:
            self._connection.abort()
        self._application.completed(self._path, len(self._batch.items), self._batch)

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the merged request with the fields that all members agree on."""
        self._connection = connection
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
        self._application.completed(self._path, len(self._batch.items), self._batch)
        if head.status >= 400:
            self._application.send_alone(members)
            return
        try:
            parts = split([member.mergeable for member in members], body)
        except BadGateway as error:
            log.warning("%s: %s; not merged any more", self._path.target.decode("latin-1"), error.message)
            self._path.batched = False
            self._application.send_alone(members)
            return
        for member, part in zip(members, parts, strict=True):
            member.exchange.relay(head.status, head.lines, part)

    def on_failure(self, error: KfuncError) -> None:
        """The upstream is lost; what may have run is not sent again."""
        self._application.completed(self._path, len(self._batch.items), self._batch)
        for member in self._batch.items:
            member.exchange.fail(error)


class MetadataCall(WholeAnswer):
    """Asks whether a model takes any number of rows (Model Metadata)."""

    idempotent = True

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the request."""
        path = self._path.target.removesuffix(b"/infer")
        connection.transport.write(b"GET %b HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n" % path)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """Learn from metadata; a server that has none is not merged for."""
        if head.status != 200:
            if head.status in (400, 404, 405, 501):
                self._path.batched = False
            return
        try:
            metadata = msgspec.json.decode(body, type=ModelMetadata)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._path.batched = False
            return
        # An output whose first dimension is not the batch's may depend on all rows: then merging would show.
        tensors = [*metadata.inputs, *metadata.outputs]
        batched = bool(metadata.inputs) and all((*each.shape, 0)[0] == -1 for each in tensors)
        self._path.batched = batched

    def on_failure(self, error: KfuncError) -> None:
        """It is asked again with a later request."""
