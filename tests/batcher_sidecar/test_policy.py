"""The batching policy under random arrivals, answers, times and cancellations, and its rules one by one."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kfunc.batcher_sidecar.policy import Batch, Policy
from kfunc.errors import Unavailable

MAX_ROWS = 8
LATENCY_S = 0.005
MAX_QUEUE = 6
KEYS = st.sampled_from(["a", "b"])


class PolicyMachine(RuleBasedStateMachine):
    """A model of the policy: who waits since when, what is in flight, and what has gone out."""

    def __init__(self) -> None:
        super().__init__()
        self.policy: Policy[int] = Policy(MAX_ROWS, LATENCY_S, MAX_QUEUE)
        self.now = 1000.1
        self.number = 0
        self.rows: dict[int, int] = {}
        self.waiting: dict[int, tuple[str, float]] = {}
        self.sent: list[int] = []
        self.cancelled: set[int] = set()
        self.in_flight: list[Batch[int]] = []

    def _sent(self, batches: list[Batch[int]]) -> None:
        for batch in batches:
            assert batch.items
            assert batch.rows == sum(self.rows[item] for item in batch.items)
            assert batch.rows <= MAX_ROWS or len(batch.items) == 1
            group = [item for item, (key, _) in self.waiting.items() if key == batch.key]
            assert batch.items == group[: len(batch.items)], "in the order of arrival"
            for item in batch.items:
                del self.waiting[item]
            self.sent += batch.items
            self.in_flight.append(batch)

    @rule(key=KEYS, rows=st.integers(1, MAX_ROWS + 3))
    def arrives(self, key: str, rows: int) -> None:
        item, self.number = self.number, self.number + 1
        if len(self.waiting) >= MAX_QUEUE:
            with pytest.raises(Unavailable):
                self.policy.add(key, item, rows, self.now)
            return
        self.policy.add(key, item, rows, self.now)
        self.rows[item] = rows
        self.waiting[item] = (key, self.now)
        self._sent(self.policy.take(key, self.now))

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def is_answered(self, data: st.DataObject) -> None:
        batch = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.policy.complete(batch)
        self._sent(self.policy.take(batch.key, self.now))

    @rule(seconds=st.floats(0, 0.01))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self._sent(self.policy.take_due(self.now))

    @precondition(lambda self: self.waiting)
    @rule()
    def the_timer_fires_exactly_when_it_is_due(self) -> None:
        due_at = self.policy.due_at()
        assert due_at is not None
        self.now = max(self.now, due_at)
        before = len(self.waiting)
        self._sent(self.policy.take_due(self.now))
        assert len(self.waiting) < before

    @precondition(lambda self: self.number)
    @rule(data=st.data())
    def is_cancelled(self, data: st.DataObject) -> None:
        item = data.draw(st.integers(0, self.number - 1))
        key = self.waiting[item][0] if item in self.waiting else "a"
        assert self.policy.cancel(key, item) == (item in self.waiting)
        if self.waiting.pop(item, None) is not None:
            self.cancelled.add(item)

    @invariant()
    def nothing_is_lost_and_nothing_sent_twice(self) -> None:
        assert self.policy.queued == len(self.waiting) <= MAX_QUEUE
        assert len(self.sent) == len(set(self.sent))
        assert set(self.sent) | self.cancelled | self.waiting.keys() == self.rows.keys()
        assert not set(self.sent) & self.cancelled

    @invariant()
    def who_waits_waits_for_a_batch_in_flight_and_not_longer_than_allowed(self) -> None:
        flying = {batch.key for batch in self.in_flight}
        assert {key for key, _ in self.waiting.values()} <= flying
        due_at = self.policy.due_at()
        if self.waiting:
            assert due_at == min(since for _, since in self.waiting.values()) + LATENCY_S
        else:
            assert due_at is None

    def teardown(self) -> None:
        while self.in_flight:
            batch = self.in_flight.pop()
            self.policy.complete(batch)
            self._sent(self.policy.take(batch.key, self.now))
        assert not self.waiting
        assert self.policy.queued == 0


TestPolicyUnderRandomUse = PolicyMachine.TestCase


def add_and_take(policy: Policy[str], item: str, rows: int = 1, now: float = 0.0) -> list[list[str]]:
    policy.add("key", item, rows, now)
    return [batch.items for batch in policy.take("key", now)]


def test_a_request_goes_out_at_once_while_nothing_is_in_flight() -> None:
    assert add_and_take(Policy(4, 1.0, 10), "first") == [["first"]]


def test_requests_are_collected_while_a_batch_is_in_flight_and_go_out_when_it_is_answered() -> None:
    policy: Policy[str] = Policy(4, 1.0, 10)
    policy.add("key", "first", 1, 0.0)
    (first,) = policy.take("key", 0.0)
    assert [add_and_take(policy, name) for name in ("second", "third")] == [[], []]
    policy.complete(first)
    assert [batch.items for batch in policy.take("key", 0.0)] == [["second", "third"]]


def test_a_full_batch_goes_out_though_another_is_in_flight() -> None:
    policy: Policy[str] = Policy(4, 1.0, 10)
    assert [add_and_take(policy, name, rows) for name, rows in (("first", 1), ("second", 3), ("third", 1))] == [
        [["first"]],
        [],
        [["second", "third"]],
    ]


def test_a_request_of_more_rows_than_a_batch_goes_out_alone() -> None:
    policy: Policy[str] = Policy(4, 1.0, 10)
    assert add_and_take(policy, "first") == [["first"]]
    assert add_and_take(policy, "small") == []
    assert add_and_take(policy, "large", 9) == [["small"], ["large"]]


def test_groups_do_not_wait_for_one_another() -> None:
    policy: Policy[str] = Policy(4, 1.0, 10)
    for key in ("a", "b"):
        policy.add(key, key, 1, 0.0)
        assert [batch.items for batch in policy.take(key, 0.0)] == [[key]]


def test_without_a_latency_requests_wait_for_the_batch_in_flight_only() -> None:
    policy: Policy[str] = Policy(4, 0.0, 10)
    assert add_and_take(policy, "first") == [["first"]]
    assert add_and_take(policy, "second") == []
    assert policy.due_at() is None
    assert policy.take_due(1e9) == []


def test_past_the_queue_the_caller_is_told_to_come_again() -> None:
    policy: Policy[str] = Policy(4, 1.0, 1)
    add_and_take(policy, "first")
    add_and_take(policy, "second")
    with pytest.raises(Unavailable, match="max_queue") as refused:
        policy.add("key", "third", 1, 0.0)
    assert refused.value.retry_after == 1


def test_a_request_that_is_in_flight_already_holds_up_its_group_until_it_is_answered() -> None:
    policy: Policy[str] = Policy(32, 0.0, 100)
    first = policy.adopt("key", "first", 1)
    policy.add("key", "second", 1, 0.0)
    assert policy.take("key", 0.0) == []
    policy.complete(first)
    assert [batch.items for batch in policy.take("key", 0.0)] == [["second"]]


def test_one_that_is_in_flight_already_does_not_count_as_waiting() -> None:
    policy: Policy[str] = Policy(32, 0.0, 1)
    policy.adopt("key", "first", 1)
    policy.add("key", "second", 1, 0.0)
    assert policy.queued == 1
