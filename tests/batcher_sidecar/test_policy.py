"""The batching policy's rules, one by one."""

from typing import Any

import pytest

from kfunc.batcher_sidecar.policy import MAX_IDLE_GROUPS, Bounds, Policy
from kfunc.batcher_sidecar.queues import Batch, Flow, Ticket
from kfunc.errors import DeadlineExceeded, Unavailable


class Driver:
    """A policy with one flow, driven by hand; `now` is 0 unless it is moved."""

    def __init__(self, **bounds: Any) -> None:
        self.policy: Policy[str] = Policy(Bounds(**{"max_rows": 4, "max_latency_s": 1.0, "max_queue": 10, **bounds}))
        self.flow = self.policy.flow()
        self.now = 0.0
        self.batches: list[Batch[str]] = []

    def add(self, item: str, rows: int = 1, *, flow: Flow[str] | None = None, key: str = "k", **more: Any) -> Ticket[str]:
        return self.policy.add(flow or self.flow, key, item, rows, self.now, **more)

    def sent(self) -> list[list[str]]:
        """What goes out now."""
        batches = self.policy.take(self.now)
        self.batches += batches
        return [[part.ticket.item for part in batch.parts] for batch in batches]

    def add_and_take(self, item: str, rows: int = 1, **more: Any) -> list[list[str]]:
        self.add(item, rows, **more)
        return self.sent()

    def complete(self) -> list[list[str]]:
        """The oldest batch in flight is answered."""
        self.policy.complete(self.batches.pop(0), self.now)
        return self.sent()


def test_a_request_goes_out_at_once_while_nothing_is_in_flight() -> None:
    assert Driver().add_and_take("first") == [["first"]]


def test_requests_are_collected_while_a_batch_is_in_flight_and_go_out_when_it_is_answered() -> None:
    driver = Driver()
    assert [driver.add_and_take(name) for name in ("first", "second", "third")] == [[["first"]], [], []]
    assert driver.complete() == [["second", "third"]]


def test_a_full_batch_goes_out_though_another_is_in_flight() -> None:
    driver = Driver()
    assert driver.add_and_take("first") == [["first"]]
    assert driver.add_and_take("second", 3) == []
    assert driver.add_and_take("third") == [["second", "third"]]


def test_the_oldest_request_waits_no_longer_than_it_may() -> None:
    driver = Driver()
    driver.add_and_take("first")
    driver.now = 5.0
    driver.add_and_take("second")
    assert driver.policy.due_at() == 6.0
    driver.now = 5.9
    assert driver.add_and_take("third") == []
    driver.now = 6.0
    assert driver.sent() == [["second", "third"]]


def test_no_more_batches_of_a_group_are_in_flight_than_may_be() -> None:
    driver = Driver(max_in_flight=2)
    assert driver.add_and_take("a", 4) == [["a"]]
    assert driver.add_and_take("b", 4) == [["b"]]
    assert driver.add_and_take("c", 4) == []
    driver.now = 100.0
    assert driver.sent() == []
    assert driver.policy.due_at() is None
    assert driver.complete() == [["c"]]


def test_a_request_of_more_rows_than_a_batch_is_cut_and_its_rest_travels_with_others() -> None:
    driver = Driver()
    driver.add("large", 9)
    assert driver.sent() == [["large"], ["large"]]
    assert [(part.start, part.rows) for batch in driver.batches for part in batch.parts] == [(0, 4), (4, 4)]
    assert driver.add_and_take("small", 3) == [["large", "small"]]
    assert [(part.start, part.rows) for part in driver.batches[-1].parts] == [(8, 1), (0, 3)]


def test_what_waits_of_a_request_in_parts_can_be_dropped() -> None:
    driver = Driver(max_in_flight=1)
    ticket = driver.add("large", 9)
    assert driver.sent() == [["large"]]
    assert not driver.policy.cancel(ticket)
    assert driver.complete() == []
    assert driver.policy.queued == 0


def test_a_batch_has_no_more_bytes_than_it_may() -> None:
    driver = Driver(max_batch_bytes=10)
    driver.add_and_take("first")
    driver.add("a", size=6)
    driver.add("b", size=6)
    assert driver.sent() == [["a"]]


@pytest.mark.parametrize(("rows", "sent"), [(1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (7, 4), (8, 8)])
def test_a_batch_is_cut_to_the_largest_preferred_size_that_fits(rows: int, sent: int) -> None:
    driver = Driver(max_rows=10, preferred=(8, 2, 4), max_in_flight=2)
    driver.add_and_take("first")
    for number in range(rows):
        driver.add(str(number))
    batches = driver.sent() or driver.complete()
    assert len(batches[0]) == sent


def test_levels_go_first_by_number_then_by_arrival() -> None:
    driver = Driver()
    driver.add_and_take("first")
    for item, level in (("c", 2), ("a", 1), ("b", 1), ("d", 3)):
        driver.add(item, level=level)
    assert driver.sent() == [["a", "b", "c", "d"]]


def test_who_is_late_is_turned_away_and_does_not_run() -> None:
    driver = Driver()
    driver.add_and_take("first")
    driver.add("late", expires_at=0.5)
    driver.add("patient")
    assert driver.sent() == []
    assert driver.policy.due_at() == 0.5
    driver.now = 0.5
    assert driver.sent() == []
    ((item, error),) = driver.policy.turned_away()
    assert (item, type(error), error.status) == ("late", DeadlineExceeded, 504)
    assert driver.policy.turned_away() == []
    assert driver.complete() == [["patient"]]


def test_a_cancelled_request_frees_its_place_in_the_batch() -> None:
    driver = Driver()
    driver.add_and_take("first")
    tickets = [driver.add(item) for item in "abc"]
    assert driver.policy.cancel(tickets[1])
    assert not driver.sent()
    assert driver.add_and_take("d") == []
    assert driver.complete() == [["a", "c", "d"]]
    assert not driver.policy.cancel(tickets[0])


def test_groups_do_not_wait_for_one_another() -> None:
    driver = Driver()
    assert [driver.add_and_take(key, key=key) for key in "ab"] == [[["a"]], [["b"]]]


def test_without_a_latency_requests_wait_for_the_batch_in_flight_only() -> None:
    driver = Driver(max_latency_s=0.0)
    assert driver.add_and_take("first") == [["first"]]
    assert driver.add_and_take("second") == []
    assert driver.policy.due_at() is None
    driver.now = 1e9
    assert driver.sent() == []


def test_past_the_queue_the_caller_is_told_to_come_again() -> None:
    driver = Driver(max_queue=1)
    driver.add_and_take("first")
    driver.add_and_take("second")
    with pytest.raises(Unavailable, match="max_queue") as refused:
        driver.add("third")
    assert refused.value.retry_after == 1


def test_past_the_bytes_of_the_queue_too() -> None:
    driver = Driver(max_queue_bytes=10)
    driver.add_and_take("first")
    driver.add_and_take("second", size=20)  # a single one always has a place
    with pytest.raises(Unavailable, match="max_queue_bytes"):
        driver.add("third", size=1)


def test_a_full_queue_takes_from_the_model_that_fills_it() -> None:
    driver = Driver(max_queue=4)
    driver.add_and_take("first")
    for number in range(3):
        driver.add(f"flood-{number}")
    other = driver.policy.flow()
    driver.add("x", flow=other)
    driver.policy.take(driver.now)
    driver.add("another", flow=driver.flow)
    driver.add("y", flow=other, key="z")
    ((item, error),) = driver.policy.turned_away()
    assert (item, type(error)) == ("another", Unavailable)
    assert driver.policy.queued == 4
    with pytest.raises(Unavailable):
        driver.add("more")


def test_models_take_turns_by_the_time_that_their_batches_take() -> None:
    driver = Driver(max_in_flight=4, max_in_flight_total=1, max_queue=100)
    slow, fast = driver.policy.flow(), driver.policy.flow()
    for flow, name in ((slow, "s"), (fast, "f")):
        for number in range(40):
            driver.add(name, flow=flow, key=str(number % 10))
    counts = {"s": 0, "f": 0}
    driver.sent()
    while counts["s"] < 4:
        name = driver.batches[0].parts[0].ticket.item
        counts[name] += 1
        driver.now += 0.08 if name == "s" else 0.01
        driver.complete()
    assert counts["f"] >= 10, "eight of the fast model's take as long as one of the slow one's"


def test_a_flood_on_one_model_does_not_keep_another_waiting() -> None:
    driver = Driver(max_in_flight=2, max_in_flight_total=2, max_queue=100)
    for number in range(60):
        driver.add(f"flood-{number}", key=str(number))
    driver.sent()
    for _ in range(5):
        driver.now += 0.01
        driver.complete()
    driver.add("quiet", flow=driver.policy.flow())
    driver.now += 0.01
    assert driver.complete() == [["quiet"]]


def test_a_request_that_is_in_flight_already_holds_up_its_group_until_it_is_answered() -> None:
    driver = Driver(max_latency_s=0.0)
    driver.policy.enter()
    driver.batches.append(driver.policy.adopt(driver.flow, "k", "first", 1, 0.0))
    assert driver.policy.in_flight == 1
    assert driver.add_and_take("second") == []
    assert driver.complete() == [["second"]]


def test_what_is_in_flight_unread_takes_one_of_the_places() -> None:
    driver = Driver(max_in_flight_total=1)
    driver.policy.enter()
    assert driver.add_and_take("first") == []
    driver.policy.leave()
    assert driver.sent() == [["first"]]


def test_groups_that_are_idle_are_forgotten_but_for_some() -> None:
    driver = Driver()
    for number in range(1000):
        driver.add_and_take("x", key=str(number))
        driver.complete()
    assert len(driver.flow.groups) <= 65


def test_groups_whose_requests_were_late_while_they_waited_for_their_turn_are_forgotten_too() -> None:
    driver = Driver(max_in_flight_total=1, max_queue=1000)
    driver.add_and_take("first", key="first")
    for number in range(500):
        driver.add_and_take("late", key=str(number), expires_at=0.5)
    driver.now = 1.0
    assert driver.sent() == []
    driver.complete()
    assert len(driver.flow.groups) <= MAX_IDLE_GROUPS


def test_what_has_gone_out_is_not_kept_until_its_deadline_or_its_latency_would_have_passed() -> None:
    driver = Driver(max_latency_s=60.0, max_queue=1000)
    for number in range(5000):
        driver.add("first", key=str(number), expires_at=3600.0)
        driver.sent()
        driver.add("second", key=str(number), expires_at=3600.0)
        assert driver.sent() == []
        driver.complete()
        driver.complete()
    policy: Any = driver.policy
    assert len(policy._alarms.deadlines) + len(policy._alarms.timers) < 300
