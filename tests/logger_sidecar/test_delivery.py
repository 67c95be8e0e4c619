"""Delivery from the spool to brokers that fail in every way: nothing accepted is lost, order is kept, the rest is said."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kfunc.logger_sidecar.backoff import FIRST_PAUSE_S, LONGEST_PAUSE_S, Backoff
from kfunc.logger_sidecar.intake import left_intakes
from kfunc.logger_sidecar.lanes import take
from tests.logger_sidecar.broker import Broker, Fault
from tests.logger_sidecar.setups import Setup, forget_intake, is_so, running

pytestmark = pytest.mark.integration


def numbers(broker: Broker) -> list[int]:
    return [int(event.get("data_bytes") or event["data"]) for event in broker.events]


@pytest.mark.parametrize("content_mode", ["structured", "binary", "batched"])
@pytest.mark.parametrize("kind", ["500", "503", "429", "408", "404", "409", "reset", "garbage", "close"])
def test_through_faults_every_event_arrives_once_and_in_order(tmp_path: Path, kind: str, content_mode: str) -> None:
    async def main() -> None:
        async with Broker() as broker, running(tmp_path, sink=broker.url, content_mode=content_mode) as setup:
            broker.fault = Fault(kind, every=3, times=4)
            setup.add(*range(30))
            await setup.reaches("delivered", 30)
            assert numbers(broker) == list(range(30))
            assert broker.modes == {content_mode}
            assert (setup.count("dropped"), setup.count("refused")) == (0, 0)

    asyncio.run(main())


def test_an_outage_is_waited_out_and_told_apart_from_the_end_of_the_spool(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        broker = Broker()
        await broker.start(0)
        port = int(broker.url.rpartition(":")[2].partition("/")[0])
        async with running(tmp_path, sink=broker.url) as setup:
            setup.add(*range(5))
            await setup.reaches("delivered", 5)
            await broker.stop()
            setup.add(*range(5, 50))
            await setup.reaches("retried", 1)
            assert setup.count("waiting") == 45
            await broker.start(port)
            await setup.reaches("delivered", 50)
            assert (numbers(broker), setup.count("waiting")) == (list(range(50)), 0)
        await broker.stop()

    asyncio.run(main())
    assert "takes no events: " in caplog.text


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    async def main() -> float:
        async with Broker() as broker, running(tmp_path, sink=broker.url) as setup:
            broker.fault = Fault("429", times=1, retry_after="1")
            started = asyncio.get_running_loop().time()
            setup.add(1)
            await setup.reaches("delivered", 1)
            return asyncio.get_running_loop().time() - started

    assert 1.0 <= asyncio.run(main()) < 5


def test_pauses_grow_with_jitter_and_never_fall_below_what_was_asked_for() -> None:
    backoff = Backoff()
    pauses = [backoff.failure(0, 1.0) for _ in range(20)]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert backoff.failure(0, 0.0) == LONGEST_PAUSE_S / 2
    assert backoff.failure(100, 0.5) == 100
    backoff.success()
    assert backoff.failure(0, 1.0) == FIRST_PAUSE_S


@pytest.mark.parametrize("content_mode", ["structured", "batched"])
def test_an_event_that_is_refused_becomes_a_dead_letter_with_the_reason_and_holds_no_other_up(
    tmp_path: Path, content_mode: str
) -> None:
    dead = tmp_path / "dead.jsonl"

    async def main() -> None:
        settings: dict[str, Any] = {"content_mode": content_mode, "dead_letter": f"file:{dead}"}
        async with Broker() as broker, running(tmp_path, sink=broker.url, **settings) as setup:
            broker.poison = b'"data":3}'
            setup.add(*range(10))
            await setup.reaches("delivered", 9)
            await setup.reaches("dead_lettered", 1)
            assert numbers(broker) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
            (letter,) = [json.loads(line) for line in dead.read_text().splitlines()]
            assert (letter["data"], letter["knativeerrorcode"], letter["knativeerrordest"]) == (3, 400, broker.url)

    asyncio.run(main())


def test_a_dead_letter_that_its_place_refuses_too_is_lost_counted_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Broker() as broker, running(tmp_path, sink=broker.url, dead_letter=broker.url) as setup:
            broker.poison = b'"data":1}'
            setup.add(*range(3))
            await setup.reaches("delivered", 2)
            assert (setup.count("refused"), setup.count("dead_lettered")) == (1, 0)

    asyncio.run(main())
    assert "refuses them, too: HTTP 400; they are lost" in caplog.text


def test_without_a_place_for_dead_letters_they_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with Broker() as broker, running(tmp_path, sink=broker.url) as setup:
            broker.poison = b'"data":1}'
            setup.add(*range(3))
            await setup.reaches("delivered", 2)
            assert setup.count("refused") == 1

    asyncio.run(main())
    assert "set logger.dead_letter to keep them" in caplog.text


def test_with_a_bound_of_tries_an_event_that_is_never_taken_is_buried_at_last(tmp_path: Path) -> None:
    dead = tmp_path / "dead.jsonl"

    async def main() -> None:
        settings: dict[str, Any] = {"max_retries": 2, "dead_letter": f"file:{dead}"}
        async with Broker() as broker, running(tmp_path, sink=broker.url, **settings) as setup:
            broker.fault = Fault("500", times=3)
            setup.add(1, 2)
            await setup.reaches("dead_lettered", 1)
            await setup.reaches("delivered", 1)
            assert (numbers(broker), broker.requests) == ([2], 4)
        letter = json.loads(dead.read_text())
        assert (letter["knativeerrorcode"], letter["knativeerrordata"]) == (500, "HTTP 500, 3 times")

    asyncio.run(main())


def test_a_sink_that_cannot_be_reached_costs_no_tries(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, 0.1, sink="http://127.0.0.1:9/", max_retries=1) as setup:
            setup.add(1)
            await setup.reaches("retried", 4)
            assert setup.count("refused") == 0

    asyncio.run(main())


def test_without_order_a_sink_gets_events_over_several_connections_each_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with Broker() as broker, running(tmp_path, sink=broker.url, order="any", connections=4) as setup:
            broker.fault = Fault("503", every=7, times=20)
            setup.add(*range(500))
            await setup.reaches("delivered", 500)
            assert sorted(numbers(broker)) == list(range(500))
            assert broker.connections == 4

    asyncio.run(main())


def test_each_sink_has_its_own_progress(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            Broker() as broker,
            running(tmp_path, 0.1, sinks=[{"to": "http://127.0.0.1:9/"}, {"to": broker.url}]) as setup,
        ):
            setup.add(*range(20))
            await setup.reaches("delivered", 20)
            assert numbers(broker) == list(range(20))
            assert setup.count("waiting") == 20

    asyncio.run(main())


def test_what_a_sink_lacks_at_the_end_stays_and_is_sent_after_the_next_start_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        broker = Broker()
        await broker.start(0)
        url = broker.url
        port = int(url.rpartition(":")[2].partition("/")[0])
        one = Setup(tmp_path, sink=url)
        one.pipeline.start()
        one.add(*range(10))
        await one.reaches("delivered", 10)
        await broker.stop()
        one.add(*range(10, 30))
        await one.pipeline.flush(1.2)
        one.spool.lane.release()  # type: ignore[union-attr]
        await broker.start(port)
        async with running(tmp_path, sink=url) as other:
            await other.reaches("delivered", 20)
            assert (numbers(broker), broker.duplicates) == (list(range(30)), 0)
        await broker.stop()

    asyncio.run(main())
    assert "20 events for the sink http-127.0.0.1" in caplog.text
    assert "remain in" in caplog.text


def test_after_a_crash_what_was_delivered_is_not_sent_again_but_for_the_last_batch(tmp_path: Path) -> None:
    async def main() -> None:
        async with Broker() as broker:
            one = Setup(tmp_path, sink=broker.url)
            one.pipeline.start()
            one.add(*range(100))
            await one.reaches("delivered", 100)
            one.add(*range(100, 110))
            await one.crash()
            async with running(tmp_path, sink=broker.url) as other:
                await other.reaches("delivered", 10)
                assert (numbers(broker), broker.duplicates) == (list(range(110)), 0)

    asyncio.run(main())


@pytest.mark.parametrize("locked", [False, True], ids=["left behind", "of a process that lives"])
def test_on_a_shared_volume_another_process_delivers_what_a_pod_left(tmp_path: Path, locked: bool) -> None:
    async def main() -> None:
        async with Broker() as broker:
            gone = Setup(tmp_path, sink=broker.url)
            gone.add(*range(10))
            assert await gone.spool.close(5)
            held = take(str(tmp_path / "spool/n.f/0"), create=False) if locked else None
            if not locked:
                (tmp_path / "spool/n.f/0").rename(tmp_path / "spool/n.f/7")
            async with running(tmp_path, sink=broker.url) as other:
                other.add(100)
                await other.reaches("delivered", 1 if locked else 11)
                assert sorted(numbers(broker)) == ([100] if locked else [*range(10), 100])
                await asyncio.sleep(0.1)
                assert (tmp_path / "spool/n.f/7").exists() is False
            if held is not None:
                held.release()

    asyncio.run(main())


@pytest.mark.parametrize("lane", ["is gone", "is taken", "is free"])
def test_what_a_killed_process_had_accepted_outlives_the_takeover_of_its_lane(tmp_path: Path, lane: str) -> None:
    """The last calls are in shared memory, which the pod that takes the lane over does not see."""

    async def main() -> None:
        async with Broker() as broker:
            living = Setup(tmp_path, sink=broker.url) if lane == "is free" else None
            killed = Setup(tmp_path, sink=broker.url)
            killed.add(*range(5))
            await asyncio.sleep(0.1)  # these are on the disk
            killed.add(*range(5, 8))
            await killed.crash()
            path = killed.spool.lane.path  # type: ignore[union-attr]
            if lane == "is gone":
                shutil.rmtree(path)
            taken = take(path, create=False) if lane == "is taken" else None
            if living is not None:
                living.pipeline.start()
                await living.reaches("delivered", 8)
                await living.pipeline.flush(1)
            else:
                async with running(tmp_path, sink=broker.url) as again:
                    await again.reaches("delivered", 3)
            if taken is not None:
                taken.release()
            assert sorted(numbers(broker)) == list(range(0 if living is not None else 5, 8))
            assert not list(left_intakes("/dev/shm", lambda folder, key: folder.startswith(str(tmp_path))))

    asyncio.run(main())
    forget_intake(tmp_path)


def test_a_killed_process_that_starts_again_finds_its_records_though_its_lane_was_made_anew(tmp_path: Path) -> None:
    async def main() -> None:
        async with Broker() as broker:
            killed = Setup(tmp_path, sink=broker.url)
            killed.add(*range(3))
            await killed.crash()
            (tmp_path / "spool/n.f/0/lock").write_bytes(b"anewanew")
            async with running(tmp_path, sink=broker.url) as again:
                again.add(100)
                await again.reaches("delivered", 4)
                assert sorted(numbers(broker)) == [0, 1, 2, 100]

    asyncio.run(main())
    forget_intake(tmp_path)


def test_a_hanging_sink_ends_the_flush_at_its_grace(tmp_path: Path) -> None:
    async def main() -> float:
        async with Broker() as broker:
            broker.fault = Fault("hang")
            setup = Setup(tmp_path, sink=broker.url)
            setup.pipeline.start()
            setup.add(*range(5))
            await asyncio.sleep(0.1)
            started = asyncio.get_running_loop().time()
            await setup.pipeline.flush(1.5)
            forget_intake(tmp_path)
            return asyncio.get_running_loop().time() - started

    assert asyncio.run(main()) < 3


class Overflowing:
    """A sink that is down and an overflow that is a file."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.path = folder / "overflow.jsonl"
        self.settings = {"sink": "http://127.0.0.1:9/", "overflow": f"file:{self.path}", **settings}

    def numbers(self) -> list[int]:
        return [json.loads(line)["data"]["n"] for line in self.path.read_text().splitlines()]


def test_at_the_end_of_the_pod_what_the_sink_did_not_take_goes_to_the_overflow_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overflowing = Overflowing(tmp_path)

    async def main() -> None:
        setup = Setup(tmp_path, **overflowing.settings)
        setup.pipeline.start()
        for number in range(500):
            setup.add(number, body=b'{"n":%d}' % number)
        await setup.pipeline.flush(5)
        assert setup.spool.lagging() == []
        assert setup.count("overflowed") == 500

    asyncio.run(main())
    assert overflowing.numbers() == list(range(500))
    assert "500 events that sinks did not take before the end are in the overflow sink" in caplog.text


def test_when_the_spool_is_nearly_full_its_oldest_events_go_to_the_overflow(tmp_path: Path) -> None:
    overflowing = Overflowing(tmp_path, spool_max_bytes=1 << 20, spool_segment_bytes=65536, max_body_bytes=20_000)

    async def main() -> None:
        async with running(tmp_path, 0.1, **overflowing.settings) as setup:
            for number in range(150):
                setup.add(number, body=b'{"n":%d}' % number + b" " * 20_000)
                await asyncio.sleep(0.01)
            assert setup.count("dropped") == 0
            assert setup.count("overflowed") >= 80

    asyncio.run(main())


def test_what_is_on_its_way_to_the_overflow_when_the_end_begins_is_not_sent_twice(tmp_path: Path) -> None:
    async def main() -> None:
        async with Broker() as broker:
            broker.fault = Fault("slow", every=1, times=100, slow_s=0.02)
            setup = Setup(tmp_path, sink="http://127.0.0.1:9/", overflow=broker.url, spool_max_bytes=1 << 20)
            setup.pipeline.start()
            for number in range(20):
                setup.add(number, body=b"%d" % number + b" " * 40_000)
            await is_so(lambda: bool(broker.events))
            await setup.pipeline.flush(10)
            assert (sorted(numbers(broker)), broker.duplicates) == (list(range(20)), 0)

    asyncio.run(main())


def test_an_overflow_that_was_down_is_asked_again_at_the_end_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for bound in ("BEGIN_AT", "END_AT"):
        monkeypatch.setattr(f"kfunc.logger_sidecar.overflow.{bound}", 0.0)
    monkeypatch.setattr("kfunc.logger_sidecar.backoff.FIRST_PAUSE_S", 30.0)

    async def main() -> None:
        async with Broker() as broker:
            broker.fault = Fault("503")
            setup = Setup(tmp_path, sink="http://127.0.0.1:9/", overflow=broker.url)
            setup.pipeline.start()
            setup.add(1)
            await is_so(lambda: broker.requests == 1)
            broker.fault = None
            await setup.pipeline.flush(4)
            assert (numbers(broker), setup.count("overflowed")) == ([1], 1)

    asyncio.run(main())


def test_once_the_pod_is_to_end_the_overflow_gets_what_sinks_that_fail_lack_and_no_more(tmp_path: Path) -> None:
    overflowing = Overflowing(tmp_path)

    async def main() -> None:
        async with Broker() as broker:
            sinks = [{"to": "http://127.0.0.1:9/"}, {"to": broker.url}]
            setup = Setup(tmp_path, sinks=sinks, overflow=overflowing.settings["overflow"])
            setup.pipeline.start()
            for number in range(10):
                setup.add(number, body=b'{"n":%d}' % number)
            await setup.reaches("delivered", 10)
            setup.pipeline.hurry()
            await is_so(lambda: setup.count("overflowed") == 10)
            broker.fault = Fault("hang", times=1)
            setup.add(10, body=b'{"n":10}')  # a request was still in flight
            await is_so(lambda: setup.count("overflowed") == 11)
            assert len(setup.spool.lagging()) == 1, "the sink that hangs does not fail yet"
            await setup.pipeline.flush(1)

    asyncio.run(main())
    assert overflowing.numbers()[:11] == list(range(11))


def test_what_the_overflow_refuses_is_counted_as_lost_and_what_cannot_be_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.overflow.READ_AGAIN_S", 0.01)

    async def main() -> None:
        async with Broker() as broker:
            broker.fault = Fault("400", times=1)
            setup = Setup(tmp_path, sink="http://127.0.0.1:9/", overflow=broker.url)
            read, failures = setup.spool.read, [OSError(5, "Input/output error")]

            async def failing(*values: Any) -> Any:
                if failures:
                    raise failures.pop()
                return await read(*values)

            setup.pipeline.start()
            await asyncio.sleep(0)
            setup.spool.read = failing  # type: ignore[assignment,method-assign]
            setup.add(1, 2, 3)
            overflow = setup.pipeline._overflow
            assert overflow is not None
            assert await overflow.ship_rest(5)
            assert (numbers(broker), setup.count("dropped"), setup.count("overflowed")) == ([2, 3], 1, 2)
            await setup.pipeline.flush(1)

    asyncio.run(main())


def test_what_goes_to_the_overflow_counts_once_for_a_sink_that_had_some_of_it(tmp_path: Path) -> None:
    sinks = [{"to": f"http://127.0.0.1:9/{name}", "name": name} for name in ("one", "two")]

    async def main() -> None:
        setup = Setup(tmp_path, sinks=sinks, overflow=f"file:{tmp_path}/overflow")
        setup.add(*range(4))
        setup.spool.advance(setup.cursor("two"), setup.spool.position(), 4)
        setup.add(*range(4, 10))
        overflow, rounds = setup.pipeline._overflow, [True, False]
        assert overflow is not None
        overflow._max_events = 6
        assert await overflow._shipped(setup.spool.lagging, rounds.pop)
        assert (setup.count("overflowed"), [setup.cursor(name).calls for name in ("one", "two")]) == (6, [6, 6])
        await overflow.close()

    asyncio.run(main())


def test_a_sink_further_behind_that_begins_to_fail_while_the_overflow_ships_for_another_loses_nothing(tmp_path: Path) -> None:
    sinks = [{"to": f"http://127.0.0.1:9/{name}", "name": name} for name in ("one", "two")]

    async def main() -> None:
        setup = Setup(tmp_path, sinks=sinks, overflow=f"file:{tmp_path}/overflow")
        setup.add(*range(5))
        half = setup.spool.position()
        setup.spool.advance(setup.cursor("one"), half, 5)
        setup.add(*range(5, 10))
        overflow, failing = setup.pipeline._overflow, ["one"]
        assert overflow is not None
        deliver = overflow._sink.deliver

        async def delivered(*values: Any) -> Any:
            failing[:] = ["one", "two"]
            return await deliver(*values)

        overflow._sink.deliver = delivered  # type: ignore[assignment,method-assign]
        cursors = [setup.cursor(name) for name in ("one", "two")]
        lagging = lambda: [each for each in setup.spool.lagging() if each in cursors[: len(failing)]]  # noqa: E731
        assert await overflow._shipped(lagging)
        assert [cursor.position for cursor in cursors] == [setup.spool.position(), 0]
        assert await overflow._shipped(lagging)
        assert (setup.spool.lagging(), [cursor.calls for cursor in cursors]) == ([], [10, 10])
        await overflow.close()

    asyncio.run(main())
    assert {json.loads(line)["data"] for line in (tmp_path / "overflow").read_text().splitlines()} == set(range(10))


def test_a_delivery_that_fails_begins_again_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.pipeline.AGAIN_S", 0.01)

    async def main() -> None:
        async with Broker() as broker, running(tmp_path, sink=broker.url) as setup:
            delivery = setup.pipeline._routes[0].delivery
            take_up, failures = delivery._take_up, [RuntimeError("a fault of ours")]

            async def failing(*values: Any) -> None:
                if failures:
                    raise failures.pop()
                await take_up(*values)

            delivery._take_up = failing  # type: ignore[assignment,method-assign]
            setup.add(1, 2)
            await setup.reaches("delivered", 2)
            assert sorted(set(numbers(broker))) == [1, 2]

    asyncio.run(main())


def test_on_a_volume_that_outlives_the_pod_events_stay_there_and_do_not_overflow_at_the_end(tmp_path: Path) -> None:
    overflowing = Overflowing(tmp_path)

    async def main() -> None:
        setup = Setup(tmp_path, **overflowing.settings)
        setup.pipeline._settings = setup.pipeline._settings.__class__(spool="pvc://claim/x")
        setup.add(1)
        await setup.pipeline.flush(1.2)
        assert len(setup.spool.lagging()) == 1
        forget_intake(tmp_path)

    asyncio.run(main())
    assert overflowing.numbers() == []


def test_a_sink_that_wants_full_calls_gets_them_or_what_there_is_after_its_time(tmp_path: Path) -> None:
    sizes: list[int] = []

    async def main() -> None:
        async with Broker() as broker, running(tmp_path, sink=broker.url) as setup:
            sink = setup.pipeline._routes[0].delivery._sink
            sink.linger_s, sink.max_events = 1.0, 10
            deliver = sink.deliver

            async def counted(events: Any, in_order: bool) -> Any:
                sizes.append(len(events))
                return await deliver(events, in_order)

            sink.deliver = counted  # type: ignore[method-assign]
            for number in range(15):
                setup.add(number)
                await asyncio.sleep(0.01)
            await setup.reaches("delivered", 15)

    asyncio.run(main())
    assert sizes == [10, 5]
