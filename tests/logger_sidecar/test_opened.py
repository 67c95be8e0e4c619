"""A sink that fails: what is held of its events, who closes it, which tries count, how long is waited."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

import pytest

from kfunc.config.logger import Logger, SinkSettings, sinks_of
from kfunc.logger_sidecar.backoff import Backoff
from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry
from kfunc.logger_sidecar.delivery import N_BEYOND, SinkDelivery
from kfunc.logger_sidecar.event import CallEvent, event_maker
from kfunc.logger_sidecar.feed import Feed, Item
from kfunc.logger_sidecar.log import Chunk, Cursor, LogReader
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.opened import N_ALONE, OpenedSink
from kfunc.logger_sidecar.record import HAS_REQUEST, HAS_RESPONSE, Origin, encode_record
from kfunc.logger_sidecar.sink_metrics import SinkMetrics
from kfunc.telemetry.metrics import Metrics
from tests.logger_sidecar.setups import call, events, is_so

NOTICES = Notices(lambda reason, calls: None)


class Endless:
    """A log of calls with bodies of 100 kB."""

    record = encode_record(call(1, b"x" * 100_000))
    end = len(record) * 1000

    def cursor(self, name: str) -> Cursor:
        return Cursor(name, 1)

    def position(self) -> int:
        return self.end

    def advance(self, cursor: Cursor, position: int, calls: int) -> None:
        cursor.position = position

    async def read(self, reader: LogReader, position: int, most: int) -> Chunk | None:
        return Chunk(position, position + len(self.record), self.record, Origin("r"))


class Failing:
    """A sink that answers as it is told, and notes what it was asked."""

    max_events = 10_000
    max_bytes = 1024 * 1024
    linger_s = 0.0

    def __init__(self, *answers: Outcome) -> None:
        self.answers = list(answers)
        self.sizes: list[int] = []
        self.counts: list[int] = []
        self.opened = self.closed = 0

    async def open(self) -> None:
        self.opened += 1

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        self.sizes.append(sum(len(event.data) for event in events))
        self.counts.append(len(events))
        return list(self.answers)

    async def close(self) -> None:
        self.closed += 1


class Poisoned(Failing):
    """One whose library raises for one event."""

    poisons: ClassVar[set[int]] = {5}
    error: Exception = ValueError("not this one")

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        await super().deliver(events, in_order)
        if any(event.id == f"r-{2 * poison}" for event in events for poison in self.poisons):
            raise self.error
        return [None] * len(events)


class Patience(Backoff):
    """Pauses of one length, and what sinks asked for."""

    def __init__(self, pause_s: float) -> None:
        super().__init__()
        self.pause_s = pause_s
        self.asked: list[float] = []

    def failure(self, asked_s: float, random: float) -> float:
        self.asked.append(asked_s)
        return self.pause_s


async def _bury(item: Item, reason: str, code: int) -> bool:
    return True


def delivery(sink: Failing, order: str) -> SinkDelivery:
    (settings,) = sinks_of(Logger(sinks=[SinkSettings(to="s3://b/p", order=order)]))  # type: ignore[arg-type]
    log = Endless()
    feed = Feed(log, log.cursor("s"), event_maker("none"), NOTICES)
    metrics = SinkMetrics(Metrics("logger"), "s")
    return SinkDelivery(
        "s",
        settings,
        sink,
        [feed],
        relax=lambda: False,
        metrics=metrics,
        bury=_bury,
        set_aside=_bury,
        way_bytes=1e9,
        notices=NOTICES,
    )


@pytest.mark.parametrize("order", ["strict", "any"])
def test_however_often_a_sink_fails_no_more_is_held_than_goes_into_one_call(order: str) -> None:
    sink = Failing(Retry("down", answered=False))

    async def main() -> None:
        under_test = delivery(sink, order)
        under_test.backoff = Patience(0.0)
        task = asyncio.create_task(under_test.run())
        while len(sink.sizes) < 12:  # noqa: ASYNC110 (a counter tells nobody)
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(main())
    assert max(sink.sizes) < sink.max_bytes + 300_000


def test_the_longest_pause_that_a_sink_asks_for_is_kept_whatever_is_answered_after_it() -> None:
    patience = Patience(60.0)

    async def main() -> None:
        under_test = delivery(Failing(Retry("429", 30.0), Retry("no answer", answered=False)), "any")
        under_test.backoff = patience
        task = asyncio.create_task(under_test.run())
        while not patience.asked:  # noqa: ASYNC110 (a list tells nobody)
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(main())
    assert patience.asked == [30.0]


class Unreadable(Endless):
    """What another process left, on a disk that fails."""

    reads = 0

    async def read(self, reader: LogReader, position: int, most: int) -> Chunk | None:
        self.reads += 1
        raise OSError(5, "Input/output error")


def test_what_another_process_left_and_cannot_be_read_does_not_hold_up_our_own_events() -> None:
    left, sink = Unreadable(), Failing(None)

    async def main() -> None:
        under_test = delivery(sink, "strict")
        under_test.feeds.insert(0, Feed(left, left.cursor("s"), event_maker("none"), NOTICES))
        task = asyncio.create_task(under_test.run())
        while len(sink.counts) < 5:  # noqa: ASYNC110 (a list tells nobody)
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(main())
    assert left.reads == 1


async def deliver_all(opened: OpenedSink, left: list[CallEvent], rounds: int) -> list[list[Any]]:
    """The outcomes of each round; those that are taken do not come again."""
    told = []
    for _ in range(rounds):
        outcomes = await opened.deliver(left, True)
        told.append(outcomes)
        taken = [number for number, outcome in enumerate(outcomes) if outcome is None]
        left = [event for number, event in enumerate(left) if number not in taken]
    return told


def test_an_event_that_a_library_cannot_send_is_found_and_holds_no_other_up() -> None:
    sink = Poisoned()
    told = asyncio.run(deliver_all(OpenedSink(sink), events(*range(10)), 9))
    assert sink.counts == [10, 1, 2, 4, 1, 2, 1, 2, 1]
    assert not any(outcomes[0] and outcomes[0].answered for outcomes in told)
    assert (sink.opened, sink.closed) == (5, 5)


def test_a_lost_connection_costs_neither_tries_nor_size_and_the_sink_is_opened_again() -> None:
    sink = Poisoned()
    sink.error = ConnectionResetError("gone")
    (first, second) = asyncio.run(deliver_all(OpenedSink(sink), events(5, 6), 2))
    assert sum(sink.counts) == 4
    assert not any(outcome.answered for outcome in first + second)
    assert (sink.opened, sink.closed) == (2, 2)


class FailingOnce(Endless):
    """A disk that cannot be read once, behind two calls."""

    end = len(Endless.record) * 4
    reads = 0

    async def read(self, reader: LogReader, position: int, most: int) -> Chunk | None:
        self.reads += 1
        if self.reads == 3:
            raise OSError(5, "Input/output error")
        return await super().read(reader, position, most) if position < self.end else None


@pytest.mark.parametrize("linger_s", [0.0, 0.05])
def test_what_was_read_before_the_disk_failed_is_delivered_and_then_the_rest(linger_s: float) -> None:
    disk, sink = FailingOnce(), Poisoned()
    sink.linger_s = linger_s

    async def main() -> None:
        under_test = delivery(sink, "strict")
        feed = Feed(disk, disk.cursor("s"), event_maker("none"), NOTICES)
        under_test.feeds[:] = [feed]
        task = asyncio.create_task(under_test.run())
        while not feed.ended:  # noqa: ASYNC110 (a number tells nobody)
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(main())
    assert sum(sink.counts) == 4


def test_an_event_that_cannot_be_sent_is_refused_after_a_few_tries_if_the_next_one_is_taken() -> None:
    told = asyncio.run(deliver_all(OpenedSink(Poisoned(), is_patient=True), events(5, 6), N_ALONE + 2))
    assert [type(outcomes[0]) for outcomes in told] == [Retry] * (N_ALONE + 1) + [Refused]
    assert told[-2][1] is None


def test_of_two_that_cannot_be_sent_the_first_is_refused_when_one_behind_them_is_taken() -> None:
    sink = Poisoned()
    sink.poisons = {5, 6}  # type: ignore[misc]
    told = asyncio.run(deliver_all(OpenedSink(sink), events(5, 6, 7), N_ALONE + 3))
    assert [type(outcomes[0]) for outcomes in told] == [Retry] * (N_ALONE + 2) + [Refused]
    assert [type(outcome) for outcome in told[-2]] == [Retry, Retry, type(None)]


def test_without_order_another_one_is_tried_at_once_and_then_tries_count() -> None:
    sink = Poisoned()
    opened = OpenedSink(sink)

    async def main() -> list[Outcome]:
        await opened.deliver(events(5, 6), False)
        second = await opened.deliver(events(5, 6), False)
        return [*second, *await opened.deliver(events(5, 7), False)]

    first, other, again = asyncio.run(main())
    assert isinstance(first, Retry)
    assert isinstance(again, Retry)
    assert (first.answered, other, again.answered) == (False, None, True)


def raising(sink: Failing, calls: int) -> Callable[..., Coroutine[Any, Any, list[Outcome]]]:
    """Its `deliver`, which fails so many times with whatever it is asked for."""
    left = [RuntimeError("can't start new thread")] * calls

    async def deliver(events: Sequence[Event], in_order: bool) -> list[Outcome]:
        if left:
            raise left.pop()
        return [None] * len(events)

    return deliver


@pytest.mark.parametrize("in_order", [True, False])
def test_an_outage_that_raises_no_oserror_costs_no_event(in_order: bool) -> None:
    sink = Failing()
    sink.deliver = raising(sink, 60)  # type: ignore[method-assign]

    async def main() -> None:
        opened, left = OpenedSink(sink, is_patient=True), events(*range(20))
        while left:
            outcomes = await opened.deliver(left, in_order)
            assert not any(isinstance(outcome, Refused) for outcome in outcomes)
            assert not any(isinstance(outcome, Retry) and outcome.answered for outcome in outcomes)
            left = [event for number, event in enumerate(left) if number >= len(outcomes) or outcomes[number] is not None]

    asyncio.run(main())


@pytest.mark.parametrize(("is_patient", "end"), [(True, Retry), (False, Refused)])
def test_one_that_is_alone_is_refused_only_where_no_other_comes_while_it_waits(is_patient: bool, end: type) -> None:
    told = asyncio.run(deliver_all(OpenedSink(Poisoned(), is_patient=is_patient), events(5), N_ALONE))
    assert type(told[-1][0]) is end


def test_in_order_one_that_is_alone_gets_another_as_witness_when_one_comes() -> None:
    log, sink = Short(), Poisoned()
    sink.poisons = {0}  # type: ignore[misc]
    log.end = len(Endless.record)

    async def main() -> None:
        under_test = delivery(sink, "strict")
        under_test.backoff = Patience(0.0)
        feed = Feed(log, log.cursor("s"), event_maker("none"), NOTICES)
        under_test.feeds[:] = [feed]
        task = asyncio.create_task(under_test.run())
        await is_so(lambda: len(sink.counts) > 2 * N_ALONE)
        assert not feed.ended
        log.end = 2 * len(Endless.record)
        await is_so(lambda: feed.ended)
        task.cancel()

    asyncio.run(main())


class Growing(Endless):
    """A log of small calls with both events each."""

    def __init__(self, calls: int) -> None:
        self.record = encode_record(call(1, b"x" * 100, flags=HAS_REQUEST | HAS_RESPONSE))
        self.end = calls * len(self.record)

    async def read(self, reader: LogReader, position: int, most: int) -> Chunk | None:
        return Chunk(position, position + len(self.record), self.record, Origin("r")) if position < self.end else None


class PoisonedCalls(Failing):
    """One whose library can send neither event of the first calls."""

    def __init__(self, log: Growing, calls: int) -> None:
        super().__init__()
        self.first = calls * len(log.record) * 2
        self.taken: set[int] = set()

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        await super().deliver(events, in_order)
        numbers = [int(event.id.removeprefix("r-")) for event in events]
        if min(numbers) < self.first:
            raise ValueError("not this one")
        self.taken.update(numbers)
        return [None] * len(events)


@pytest.mark.parametrize("bounds", [(10_000, 1 << 20), (1, 1 << 20), (10_000, 50)], ids=["large", "one event", "few bytes"])
@pytest.mark.parametrize("order", ["strict", "any"])
@pytest.mark.parametrize("poisons", [1, 3])
def test_calls_of_which_neither_event_can_be_sent_hold_up_none_of_those_that_come(
    order: str, bounds: tuple[int, int], poisons: int
) -> None:
    log = Growing(1)
    sink, buried = PoisonedCalls(log, poisons), []
    sink.max_events, sink.max_bytes = bounds

    async def bury(item: Item, reason: str, code: int) -> bool:
        buried.append(item.event.id)
        return True

    async def main() -> None:
        under_test = delivery(sink, order)
        under_test.backoff, under_test._bury = Patience(0.0), bury
        under_test.feeds[:] = [feed] = [Feed(log, log.cursor("s"), event_maker("none"), NOTICES)]
        task = asyncio.create_task(under_test.run())
        await is_so(lambda: len(sink.counts) > 3 * N_ALONE)
        assert not buried, "that may be an outage"
        log.end = 12 * len(log.record)
        under_test.wake()
        await is_so(lambda: feed.ended)
        task.cancel()

    asyncio.run(main())
    assert (len(buried), len(sink.taken)) == (2 * poisons, 2 * (12 - poisons))


def test_an_outage_that_raises_fills_the_memory_with_no_more_than_some_events_beyond_a_call() -> None:
    sink, reached = Failing(), []
    sink.max_events = 1

    async def down(events: Sequence[Event], in_order: bool) -> list[Outcome]:
        reached.append(events)
        raise RuntimeError("can't start new thread")

    sink.deliver = down  # type: ignore[method-assign]

    async def main() -> None:
        under_test = delivery(sink, "strict")
        under_test.backoff = Patience(0.0)
        task = asyncio.create_task(under_test.run())
        await is_so(lambda: len(reached) > 300)
        task.cancel()
        assert len(under_test._pending) <= sink.max_events + N_BEYOND

    asyncio.run(main())


def test_what_was_dropped_to_make_room_is_tried_no_longer_and_holds_up_nothing() -> None:
    log = Growing(1)
    sink, buried = PoisonedCalls(log, 1), []

    async def bury(item: Item, reason: str, code: int) -> bool:
        buried.append(item.event.id)
        return True

    async def main() -> None:
        under_test = delivery(sink, "strict")
        under_test.backoff, under_test._bury = Patience(0.0), bury
        under_test.feeds[:] = [feed] = [Feed(log, log.cursor("s"), event_maker("none"), NOTICES)]
        task = asyncio.create_task(under_test.run())
        await is_so(lambda: len(sink.counts) > 3)
        feed.cursor.position, log.end = log.end, 2 * log.end
        await is_so(lambda: feed.ended)
        task.cancel()

    asyncio.run(main())
    assert (buried, len(sink.taken)) == ([], 2)


@pytest.mark.parametrize("is_patient", [True, False])
def test_of_some_that_all_raise_none_is_refused_while_more_may_come_else_the_first(is_patient: bool) -> None:
    sink = Poisoned()
    sink.poisons = {5, 6, 7}  # type: ignore[misc]
    opened = OpenedSink(sink, is_patient=is_patient)
    told = asyncio.run(deliver_all(opened, events(5, 6, 7), 20))
    assert any(isinstance(outcomes[0], Refused) for outcomes in told) == (not is_patient)
    assert opened.lacks_witness == is_patient


class Short(Endless):
    """A log of ten calls."""

    end = len(Endless.record) * 10

    async def read(self, reader: LogReader, position: int, most: int) -> Chunk | None:
        return await super().read(reader, position, most) if position < self.end else None


@pytest.mark.parametrize(("order", "before"), [("strict", 5), ("any", 9)], ids=["with one behind it as witness", "all"])
def test_what_a_library_cannot_send_is_buried_and_without_order_all_others_go_before(order: str, before: int) -> None:
    log, sink = Short(), Poisoned()
    sink.poisons = {4 * len(Endless.record)}  # type: ignore[misc]
    delivered_when_buried: list[int] = []

    async def main() -> None:
        under_test = delivery(sink, order)
        under_test.backoff = Patience(0.0)
        feed = Feed(log, log.cursor("s"), event_maker("none"), NOTICES)
        under_test.feeds[:] = [feed]
        taken = SinkMetrics(Metrics("logger"), "t")
        counts: list[int] = []
        taken.delivered = counts.append  # type: ignore[method-assign, assignment]
        under_test._metrics = taken

        async def bury(item: Item, reason: str, code: int) -> bool:
            delivered_when_buried.append(sum(counts))
            return True

        under_test._bury = bury
        task = asyncio.create_task(under_test.run())
        async with asyncio.timeout(10):
            while not feed.ended:  # noqa: ASYNC110 (a number tells nobody)
                await asyncio.sleep(0.001)
        assert sum(counts) == 9
        task.cancel()

    asyncio.run(main())
    assert delivered_when_buried == [before]


def test_a_connection_that_was_lost_between_two_calls_is_opened_again_at_once() -> None:
    sink = Poisoned()

    async def main() -> list[Outcome]:
        opened = OpenedSink(sink)
        await opened.deliver(events(1), True)
        sink.deliver = lost_once(sink)  # type: ignore[method-assign]
        return await opened.deliver(events(2), True)

    assert asyncio.run(main()) == [None]
    assert (sink.opened, sink.closed) == (2, 1)


def lost_once(sink: Poisoned) -> Any:
    """Its `deliver`, which finds that the connection was lost, once."""
    deliver, lost = sink.deliver, [ConnectionError("gone")]

    async def first_lost(events: Sequence[Event], in_order: bool) -> list[Outcome]:
        if lost:
            raise lost.pop()
        return await deliver(events, in_order)

    return first_lost


def test_only_what_was_tried_is_counted_as_tried_again() -> None:
    counts: list[int] = []

    async def main() -> None:
        under_test = delivery(Failing(None, Retry("down")), "strict")
        under_test.backoff = Patience(0.0)
        under_test._metrics.retried = counts.append  # type: ignore[method-assign, assignment]
        task = asyncio.create_task(under_test.run())
        while not counts:  # noqa: ASYNC110 (a list tells nobody)
            await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(main())
    assert counts[0] == 1
