"""The batching policy under random arrivals, answers, times, deadlines and cancellations, beside a model of it.

No request is lost, none given out or turned away twice, no row twice; no bound is exceeded; nothing that is late
goes out, and nothing that is due stays.
"""

from typing import Any, NamedTuple

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kfunc.batcher_sidecar.alarms import MAX_DEAD
from kfunc.batcher_sidecar.policy import MAX_IDLE_GROUPS, Bounds, Policy
from kfunc.batcher_sidecar.queues import NEVER, Batch, Flow, Ticket
from kfunc.errors import DeadlineExceeded, Unavailable

ROUNDING_S = 1e-9


class Waiting(NamedTuple):
    """What the model knows of a request."""

    item: int
    flow: int
    key: str
    rows: int
    size: int
    level: int
    added_at: float
    expires_at: float
    ticket: Ticket[int]


class PolicyMachine(RuleBasedStateMachine):
    """A model of the policy: who waits since when, which rows have gone out, what is in flight."""

    @initialize(
        rows=st.integers(1, 8),
        latency_s=st.sampled_from([0.0, 0.005]),
        preferred=st.sets(st.integers(1, 8), max_size=2),
        in_flight=st.integers(1, 3),
        total=st.integers(0, 3),
        queue=st.integers(1, 8),
        size=st.integers(20, 60),
    )
    def begin(
        self, rows: int, latency_s: float, preferred: set[int], in_flight: int, total: int, queue: int, size: int
    ) -> None:
        self.bounds = Bounds(
            max_rows=rows,
            max_latency_s=latency_s,
            preferred=tuple(each for each in preferred if each <= rows),
            max_in_flight=in_flight,
            max_in_flight_total=in_flight + total,
            max_queue=queue,
            max_queue_bytes=size,
            max_batch_bytes=40,
        )
        self.policy: Policy[int] = Policy(self.bounds)
        self.flows: list[Flow[int]] = [self.policy.flow() for _ in range(2)]
        self.now = 1000.1
        self.requests: dict[int, Waiting] = {}
        self.taken: dict[int, int] = {}  # rows that have gone out
        self.ended: dict[int, str] = {}  # cancelled or turned away
        self.in_flight: list[Batch[int]] = []
        self.entered = 0
        self.answered_at = 0.0

    # ---- what the policy says

    def act(self) -> None:
        """What the driver does after every call."""
        for batch in self.policy.take(self.now):
            self._went_out(batch)
        for item, error in self.policy.turned_away():
            assert item not in self.ended, "turned away twice"
            assert not self.taken[item], "it has run"
            late = self.requests[item].expires_at <= self.now
            assert isinstance(error, DeadlineExceeded if late else Unavailable)
            self.ended[item] = "turned away"
        assert self.policy.take(self.now) == [], "all at once"

    def _went_out(self, batch: Batch[int]) -> None:
        assert batch.parts
        assert batch.rows == sum(part.rows for part in batch.parts) <= self.bounds.max_rows
        queue = [
            each for each in self._waiting() if self._group(each) == self._group(self.requests[batch.parts[0].ticket.item])
        ]
        queue.sort(key=lambda each: (each.level, each.item))
        for part, expected in zip(batch.parts, queue, strict=False):
            item = part.ticket.item
            request = self.requests[item]
            assert item == expected.item, "by level, then in the order of arrival"
            assert item not in self.ended, "it was cancelled or turned away"
            assert self.taken[item] or request.expires_at > self.now, "it was late"
            assert part.start == self.taken[item], "each row once, in order"
            assert part.rows == request.rows or request.rows > self.limit, "cut without need"
            self.taken[item] += part.rows
            assert self.taken[item] <= request.rows
        assert len(batch.parts) <= len(queue)
        self.in_flight.append(batch)

    @property
    def limit(self) -> int:
        return max(self.bounds.preferred, default=self.bounds.max_rows)

    def _group(self, request: Waiting) -> tuple[int, str]:
        return request.flow, request.key

    def _waiting(self) -> list[Waiting]:
        return [each for item, each in self.requests.items() if item not in self.ended and self.taken[item] < each.rows]

    # ---- what happens

    @rule(
        flow=st.integers(0, 1),
        key=st.sampled_from("ab"),
        rows=st.integers(1, 11),
        size=st.integers(0, 12),
        level=st.integers(1, 3),
        timeout_s=st.sampled_from([NEVER, NEVER, 0.0, 0.002, 0.02]),
    )
    def arrives(self, flow: int, key: str, rows: int, size: int, level: int, timeout_s: float) -> None:
        item = len(self.requests)
        waiting, expires_at = self._waiting(), self.now + timeout_s
        full = len(waiting) >= self.bounds.max_queue or sum(each.size for each in waiting) + size > self.bounds.max_queue_bytes
        try:
            ticket = self.policy.add(self.flows[flow], key, item, rows, self.now, size=size, level=level, expires_at=expires_at)
        except Unavailable:
            assert full
            return
        self.requests[item] = Waiting(item, flow, key, rows, size, level, self.now, expires_at, ticket)
        self.taken[item] = 0
        self.act()

    @precondition(lambda self: self.policy.in_flight < self.bounds.max_in_flight_total and not self.flows[0].in_flight)
    @rule()
    def one_enters_unread(self) -> None:
        self.policy.enter()
        self.entered += 1

    @precondition(lambda self: self.entered)
    @rule()
    def one_that_is_unread_is_answered(self) -> None:
        self.entered -= 1
        self.policy.leave()
        self.act()

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def is_answered(self, data: st.DataObject) -> None:
        batch = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.policy.complete(batch, self.now)
        self.answered_at = self.now
        self.act()

    @rule(seconds=st.floats(0, 0.01))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.act()

    @rule()
    def the_timer_fires(self) -> None:
        due_at = self.policy.due_at()
        if due_at is not None:
            assert due_at > self.now, "a timer in the past would never rest"
            self.now = due_at
            self.act()

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def is_cancelled(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(sorted(self.requests)))
        waited = item not in self.ended and not self.taken[item]
        assert self.policy.cancel(self.requests[item].ticket) == (self.taken[item] == 0)
        if waited or self.taken[item] < self.requests[item].rows:
            self.ended.setdefault(item, "cancelled")
        self.act()

    # ---- what holds

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "policy"):
            return
        waiting = self._waiting()
        assert self.policy.queued == len(waiting) <= self.bounds.max_queue
        assert self.policy.queued_bytes == sum(each.size for each in waiting)
        assert self.policy.queued_bytes <= self.bounds.max_queue_bytes or len(waiting) == 1
        assert [flow.queued for flow in self.flows] == [sum(each.flow == number for each in waiting) for number in (0, 1)]

    @invariant()
    def no_bound_is_exceeded(self) -> None:
        if not hasattr(self, "policy"):
            return
        groups = [batch.group for batch in self.in_flight]
        assert max(map(groups.count, groups), default=0) <= self.bounds.max_in_flight
        assert self.policy.in_flight == len(groups) + self.entered <= self.bounds.max_in_flight_total

    @invariant()
    def a_group_that_holds_nothing_will_be_forgotten(self) -> None:
        if not hasattr(self, "policy"):
            return
        policy: Any = self.policy
        groups = [group for flow in self.flows for group in flow.groups.values()]
        assert all(group.count or group.in_flight or group.is_ready or group in policy._idle for group in groups)
        assert len(policy._idle) <= MAX_IDLE_GROUPS
        assert len(policy._alarms.timers) <= 2 * policy.queued + MAX_DEAD + len(groups)

    @invariant()
    def nothing_that_is_due_stays(self) -> None:
        if not hasattr(self, "policy"):
            return
        due_at = self.policy.due_at()
        waiting = self._waiting()
        assert all(each.expires_at > self.now or self.taken[each.item] for each in waiting)
        expiries = [each.expires_at for each in waiting if not self.taken[each.item]]
        assert min(expiries, default=NEVER) >= (self.now if due_at is None else min(due_at, min(expiries, default=NEVER)))
        if self.policy.in_flight >= self.bounds.max_in_flight_total:
            return
        for key in {self._group(each) for each in waiting}:
            members = [each for each in waiting if self._group(each) == key]
            flying = sum(batch.group is members[0].ticket.group for batch in self.in_flight)
            if flying >= self.bounds.max_in_flight:
                continue
            assert sum(each.rows - self.taken[each.item] for each in members) < self.limit, "a full batch"
            since = min(each.added_at for each in members)
            if self.bounds.max_in_flight == 1:  # they may have waited for their turn, which is not for their batch to fill
                since = max(since, self.answered_at)
            latest = since + self.bounds.max_latency_s
            if not flying or self.bounds.max_latency_s:
                assert self.now < latest + ROUNDING_S, "longer than allowed"
                assert due_at is not None
                assert due_at <= latest + ROUNDING_S

    def teardown(self) -> None:
        if not hasattr(self, "policy"):
            return
        self.now += 1.0
        self.act()
        while self.in_flight or self.entered:
            if self.entered:
                self.entered -= 1
                self.policy.leave()
            else:
                self.policy.complete(self.in_flight.pop(), self.now)
            self.act()
            self.now += 1.0
            self.act()
        assert not self._waiting()
        assert self.policy.queued == self.policy.queued_bytes == self.policy.in_flight == 0


TestPolicyUnderRandomUse = PolicyMachine.TestCase
TestPolicyUnderRandomUse.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
