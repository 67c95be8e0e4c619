"""When which requests are sent together. Sans-IO: `now` comes in as seconds, batches go out.

Adaptive: a group with nothing in flight is sent at once (but see holding.py); while a batch of it is in
flight, what arrives is collected until that batch is answered, the next one is full or its oldest request
has waited for the longest time that is allowed. Where too much is in flight, models take turns (turns.py).
"""

from collections import deque
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

from msgspec import Struct

from kfunc.batcher_sidecar.alarms import Alarms
from kfunc.batcher_sidecar.queues import NEVER, Batch, Flow, Group, Part, Ticket
from kfunc.batcher_sidecar.turns import Turns
from kfunc.errors import DeadlineExceeded, KfuncError, Unavailable

T = TypeVar("T")

MAX_IDLE_GROUPS = 64
LEARN = 0.2
"""Weight of the newest batch in the mean time of a flow's."""


class Bounds(Struct, frozen=True):
    """What the policy keeps to; sizes in rows, times in seconds."""

    max_rows: int = 32
    max_latency_s: float = 0.005
    preferred: tuple[int, ...] = ()
    max_in_flight: int = 4
    max_in_flight_total: int = 16
    max_queue: int = 1_000
    max_queue_bytes: int = 64 * 1024 * 1024
    max_batch_bytes: int = 64 * 1024 * 1024


class Policy(Generic[T]):
    """Collects requests into batches.

    The driver adds requests, sends what `take` gives, fails what `turned_away` gives, calls `complete` for each
    batch once, and calls `take` again after each of these and at `due_at`.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.queued = 0
        self.queued_bytes = 0
        self.in_flight = 0
        self._waiting: set[Flow[T]] = set()
        self._idle: dict[Group[T], None] = {}  # in the order in which they became so
        self._preferred = sorted(bounds.preferred)
        self._full_rows = max(bounds.preferred, default=0)  # at which a batch is full; 0: as its flow says
        self._touched: list[Group[T]] = []
        self._turns: Turns[T] = Turns()
        self._ready = self._turns.flows  # the same list: it is looked at for every request
        self._alarms: Alarms[T] = Alarms()
        self.due_at = self._alarms.next_at  # when `take` next has something to do that no call brings
        self._turned_away: list[tuple[T, KfuncError]] = []

    # ---- in

    def flow(self) -> Flow[T]:
        """A model's, to be kept by the caller."""
        return Flow(self.bounds.max_rows)

    def add(
        self,
        flow: Flow[T],
        key: Hashable,
        item: T,
        rows: int,
        now: float,
        size: int = 0,
        level: int = 0,
        expires_at: float = NEVER,
    ) -> Ticket[T]:
        """Take up a request of `rows` rows. Raises Unavailable when too many wait, of this model and group too."""
        bounds = self.bounds
        group = flow.groups.get(key) or self._group(flow, key)
        if self.queued >= bounds.max_queue or (self.queued and self.queued_bytes + size > bounds.max_queue_bytes):
            try:
                self._make_room(group, size)
            except Unavailable:
                self._drop_if_idle(group)
                raise
        ticket = Ticket(item, group, rows, size, level, now, expires_at)
        waiting = group.levels.get(level)
        if waiting is None:
            waiting = group.levels[level] = deque()
            if not flow.queued:
                self._waiting.add(flow)
        waiting.append(ticket)
        group.count += 1
        group.rows += rows
        group.bytes += size
        flow.queued += 1
        self.queued += 1
        self.queued_bytes += size
        if now <= group.holding.watch_until:
            group.holding.arrived(now)
        if expires_at != NEVER:
            self._alarms.give_up(ticket, expires_at, self.queued)
            self._touch(group)
        elif group.in_flight < bounds.max_in_flight and (group.is_touched or not self._rests(group)):
            self._touch(group)
        return ticket

    @property
    def stirred(self) -> bool:
        """Whether `take` may have something to do that it had not when it was called last, or `due_at` to say."""
        return bool(self._touched or self._turned_away)

    def enter(self) -> None:
        """Something is in flight of which no more is known than that."""
        self.in_flight += 1

    def leave(self) -> None:
        """It is answered."""
        self.in_flight -= 1

    def adopt(self, flow: Flow[T], key: Hashable, item: T, rows: int, sent_at: float) -> Batch[T]:
        """What has entered is a batch of one request: its group waits for it too."""
        group = flow.groups.get(key) or self._group(flow, key)
        ticket = Ticket(item, group, rows, 0, 0, sent_at, NEVER)
        ticket.waits = False
        ticket.taken = rows
        self.in_flight -= 1
        return self._sent(group, [Part(ticket, 0, rows)], rows, sent_at)

    def cancel(self, ticket: Ticket[T]) -> bool:
        """Drop what waits of a request; whether nothing of it has been given out."""
        if ticket.waits:
            self._drop(ticket)
        return ticket.taken == 0

    def complete(self, batch: Batch[T], now: float) -> None:
        """A batch has been answered, or has failed."""
        group = batch.group
        flow = group.flow
        seconds = now - batch.sent_at
        flow.used_s += seconds - batch.charged_s
        flow.mean_s += LEARN * (seconds - flow.mean_s)
        flow.in_flight -= 1
        group.in_flight -= 1
        self.in_flight -= 1
        if not group.in_flight:
            holding = group.holding
            holding.answered(len(batch.parts), batch.rows, batch.sent_at, now)
            self._hold(group, now)
        if group.count:
            self._touch(group)
        else:
            self._drop_if_idle(group)

    # ---- out

    def turned_away(self) -> list[tuple[T, KfuncError]]:
        """Requests that are to fail without having run, each once."""
        result = self._turned_away
        if result:
            self._turned_away = []
        return result

    def take(self, now: float) -> list[Batch[T]]:
        """The batches that are to be sent now."""
        alarms = self._alarms
        if alarms.deadlines and alarms.deadlines[0][0] <= now:
            self._expire(now)
        if alarms.timers and alarms.timers[0][0] <= now:
            for group in alarms.due(now):
                self._touch(group)
        batches: list[Batch[T]] = []
        touched = self._touched
        if touched:
            self._touched = []
            for group in touched:
                group.is_touched = False
                self._offer(group, now, batches)
        if self._ready:
            self._serve(now, batches)
        return batches

    # ---- what is due

    def _is_due(self, group: Group[T], now: float) -> bool:
        if group.in_flight >= self.bounds.max_in_flight:
            return False
        if group.rows >= (self._full_rows or group.flow.max_rows) or group.bytes >= self.bounds.max_batch_bytes:
            return True
        if group.in_flight == 0:
            return now >= group.hold_until or group.rows >= group.hold_rows
        latency_s = self.bounds.max_latency_s
        return latency_s > 0 and now >= group.oldest_at + latency_s

    def _rests(self, group: Group[T]) -> bool:
        """Whether one request more changes nothing: its group waits for an answer, or for a time that is known."""
        if group.rows >= (self._full_rows or group.flow.max_rows) or group.bytes >= self.bounds.max_batch_bytes:
            return False
        if group.in_flight == 0:
            return group.rows < group.hold_rows and group.armed_at <= group.hold_until
        return group.armed_at != NEVER or not self.bounds.max_latency_s

    def _hold(self, group: Group[T], now: float) -> None:
        """Nothing is in flight any more: decide whether to wait for those who are about to come back."""
        group.hold_until = group.flow.hold_until = 0.0
        latency_s = self.bounds.max_latency_s
        if not latency_s:
            return
        more, wait_s = group.holding.wait_for(group.count)
        if more:
            until = now + min(wait_s, latency_s)
            if group.count and self.bounds.max_in_flight > 1:  # else they waited for their turn, and not for others
                until = min(until, group.oldest_at + latency_s)
            group.hold_until = group.flow.hold_until = until
            group.hold_rows = group.rows + more

    def _offer(self, group: Group[T], now: float, batches: list[Batch[T]]) -> None:
        """Send what is due of a group, or let it wait for its turn."""
        while group.count and not group.is_ready and self._is_due(group, now):
            if self._ready or self.in_flight >= self.bounds.max_in_flight_total:
                self._turns.enqueue(group)
                return
            batches.append(self._next(group, now))
        self._arm(group)

    def _serve(self, now: float, batches: list[Batch[T]]) -> None:
        """Send what is due of those who wait for their turn, as far as that much more may be in flight."""
        turns = self._turns
        while turns.flows and self.in_flight < self.bounds.max_in_flight_total:
            group = turns.next_group()
            if group.count and self._is_due(group, now):
                turns.served(group.flow)
                batches.append(self._next(group, now))
            if group.count and self._is_due(group, now):
                turns.again(group)
            elif group.count:
                self._arm(group)
            else:  # those who waited for their turn are gone
                self._drop_if_idle(group)
            turns.ended(group.flow)

    def _arm(self, group: Group[T]) -> None:
        """Look at a group again when its time has come, if nothing else happens before."""
        if not group.count or group.in_flight >= self.bounds.max_in_flight or group.is_ready:
            return
        if group.in_flight == 0:
            at = group.hold_until
        elif self.bounds.max_latency_s:
            at = group.oldest_at + self.bounds.max_latency_s
        else:
            return
        if at < group.armed_at:
            self._alarms.arm(group, at, self.queued)

    def _next(self, group: Group[T], now: float) -> Batch[T]:
        flow = group.flow
        rows = limit = self._full_rows or flow.max_rows
        if self._preferred and group.rows < limit:
            rows = next((size for size in reversed(self._preferred) if size <= group.rows), limit)
        parts, total = group.next_parts(rows, limit, self.bounds.max_batch_bytes)
        gone = [part.ticket for part in parts if not part.ticket.waits]
        if gone:
            self._forget(flow, len(gone), sum([ticket.size for ticket in gone]))
        return self._sent(group, parts, total, now)

    def _sent(self, group: Group[T], parts: list[Part[T]], rows: int, now: float) -> Batch[T]:
        flow = group.flow
        group.hold_until = flow.hold_until = 0.0
        group.in_flight += 1
        flow.in_flight += 1
        self.in_flight += 1
        flow.used_s += flow.mean_s
        return Batch(group, parts, rows, now, flow.mean_s)

    # ---- leaving the queue

    def _forget(self, flow: Flow[T], requests: int, size: int) -> None:
        """Requests of a flow wait no more."""
        flow.queued -= requests
        if not flow.queued:
            self._waiting.discard(flow)
        self.queued -= requests
        self.queued_bytes -= size

    def _drop(self, ticket: Ticket[T]) -> None:
        group = ticket.group
        group.remove(ticket)
        self._forget(group.flow, 1, ticket.size)
        self._drop_if_idle(group)

    def _expire(self, now: float) -> None:
        message = "the request's timeout passed before it could run (parameters.timeout)"
        for ticket in self._alarms.expired(now):
            self._drop(ticket)
            self._turned_away.append((ticket.item, DeadlineExceeded(message)))

    def _make_room(self, group: Group[T], size: int) -> None:
        """The queue is full: the longest gives, the newest request of its last level, unless it is the one that asks."""
        flow = max(self._waiting, key=lambda each: each.queued)
        if flow.queued <= group.flow.queued + (flow is not group.flow):
            flow = group.flow
        longest = max(flow.groups.values(), key=lambda each: each.count)
        full = Unavailable("too many requests wait for a batch (batcher.max_queue, max_queue_bytes); try again later")
        if longest is group or (flow is group.flow and longest.count <= group.count + 1):
            raise full
        newest = longest.levels[max(longest.levels)][-1]
        if newest.taken or self.queued_bytes - newest.size + size > self.bounds.max_queue_bytes:
            raise full
        self._drop(newest)
        self._turned_away.append((newest.item, full))

    def _drop_if_idle(self, group: Group[T]) -> None:
        """Forget a group that holds nothing; some are kept, since the next request is likely to be of theirs."""
        if not group.count and not group.in_flight and not group.is_ready:
            self._idle.pop(group, None)
            self._idle[group] = None
            if len(self._idle) > MAX_IDLE_GROUPS:
                oldest = next(iter(self._idle))
                del self._idle[oldest]
                if not oldest.count and not oldest.in_flight and not oldest.is_ready:
                    oldest.armed_at = NEVER
                    del oldest.flow.groups[oldest.key]

    # ---- small things

    def _group(self, flow: Flow[T], key: Hashable) -> Group[T]:
        group: Group[Any] = Group(key, flow)
        flow.groups[key] = group
        return group

    def _touch(self, group: Group[T]) -> None:
        if not group.is_touched:
            group.is_touched = True
            self._touched.append(group)
