"""Delivery to HTTP sinks that fail in every way: what is sent again, in which order, and what is given up."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from kfunc.config.logger import Logger
from kfunc.logger_sidecar.delivery import Delivery
from kfunc.logger_sidecar.events import CallRecord, EventWriter, Payload
from kfunc.logger_sidecar.http_sink import HttpSink
from kfunc.logger_sidecar.sinks import open_sink
from kfunc.telemetry.metrics import Metrics

pytestmark = pytest.mark.integration

EVENTS = [b'{"n":%d}' % number for number in range(10)]


class Broker:
    """An HTTP sink that answers each POST as the next of `verdicts` says, the last one for ever.

    A verdict is a status, raw bytes, "reset" or "hang".
    """

    def __init__(self, *verdicts: int | bytes | str) -> None:
        self.verdicts = list(verdicts)
        self.taken: list[bytes] = []
        self.posts = 0
        self.heads: list[bytes] = []
        self.connections = 0
        self.received: list[bytes] = []
        self.poison = b"\0"
        self.verdict_on_poison = 500

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Coroutine[Any, Any, None]:
        return self._serve(reader, writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                self.posts += 1
                self.heads.append(head)
                verdict = self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]
                if self.poison in body:
                    verdict = self.verdict_on_poison
                if verdict == "reset":
                    break
                if verdict == "hang":
                    await reader.read()
                    break
                self.received.append(body)
                if isinstance(verdict, bytes):
                    writer.write(verdict)
                    if b"content-length: 0" in verdict and b"close" not in verdict:
                        continue
                    break
                if isinstance(verdict, int) and verdict < 300:
                    self.taken.append(body)
                writer.write(f"HTTP/1.1 {verdict} X\r\ncontent-length: 0\r\n\r\n".encode())
        writer.close()


class Ended:
    """A call that has been answered."""

    def __init__(self, record: CallRecord) -> None:
        self._record = record

    def record(self, clock_s: float) -> CallRecord:
        return self._record


class Setup:
    """A delivery to a broker."""

    def __init__(self, url: str, settings: Logger) -> None:
        self.metrics = Metrics("logger")
        self.delivery = Delivery(
            settings, open_sink(url, settings), EventWriter("f", "n", "1", "p", mode="request"), self.metrics
        )

    def add(self, count: int) -> None:
        for number in range(count):
            body = b"%d" % number
            record = CallRecord(b"/v2/models/m/infer", body, b"", 0.0, 0.0, 200, Payload(body, len(body)), Payload())
            self.delivery.add(Ended(record))

    def count(self, name: str) -> int:
        line = next(each for each in self.metrics.exposition().splitlines() if each.startswith(f"kfunc_events_{name}"))
        return int(float(line.split()[-1]))

    async def reaches(self, name: str, count: int) -> None:
        async with asyncio.timeout(30):
            while self.count(name) < count:  # noqa: ASYNC110 (a counter tells nobody)
                await asyncio.sleep(0.005)


def with_broker(broker: Broker, test: Callable[[Setup], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        server = await asyncio.start_server(broker, "127.0.0.1", 0)
        setup = Setup(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/path?q=1", Logger(**settings))
        try:
            await test(setup)
        finally:
            await setup.delivery.flush(0.2)
            server.close()
            await asyncio.sleep(0.05)

    asyncio.run(main())


def numbers(broker: Broker) -> list[int]:
    return [json.loads(event)["data"] for event in broker.taken]


@pytest.mark.parametrize(
    "fault",
    [500, 503, 429, 408, 404, "reset", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"],
    ids=str,
)
def test_after_a_fault_that_may_pass_every_event_is_sent_again_until_it_is_taken(fault: int | str | bytes) -> None:
    broker = Broker(fault, fault, fault, 202)

    async def test(setup: Setup) -> None:
        setup.add(20)
        await setup.reaches("delivered", 20)
        assert setup.count("dropped") == 0

    with_broker(broker, test)
    assert sorted(set(numbers(broker))) == list(range(20))


@pytest.mark.parametrize("verdict", [400, 401, 403, 410, 413, 301])
def test_an_event_that_is_refused_for_good_is_dropped_counted_and_said(verdict: int, caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(verdict, 202)

    async def test(setup: Setup) -> None:
        setup.add(3)
        await setup.reaches("delivered", 2)
        assert (setup.count("delivered"), setup.count("dropped")) == (2, 1)

    with_broker(broker, test)
    assert broker.posts == 3
    assert f"refused 1 events with status {verdict}" in caplog.text


def test_a_sink_that_is_down_is_tried_again_ever_less_often() -> None:
    broker = Broker(503)

    async def test(setup: Setup) -> None:
        setup.add(1)
        await asyncio.sleep(1.2)
        assert 2 <= broker.posts <= 5

    with_broker(broker, test)


def test_past_the_bound_new_events_are_dropped_and_counted_and_none_within_it_is_lost() -> None:
    broker = Broker(503, 503, 503, 202)

    async def test(setup: Setup) -> None:
        setup.add(50)
        await setup.reaches("dropped", 40)
        assert setup.count("accepted") == 10
        await setup.reaches("delivered", 10)

    with_broker(broker, test, max_queue=10)
    assert sorted(numbers(broker)) == list(range(10))


def test_the_bytes_of_events_that_wait_are_bounded_too() -> None:
    async def test(setup: Setup) -> None:
        setup.add(10)
        await setup.reaches("delivered", 1)
        assert (setup.count("accepted"), setup.count("dropped")) == (1, 9)
        setup.add(1)
        await setup.reaches("delivered", 2)

    with_broker(Broker(202), test, max_queue_bytes=5)


def test_an_event_is_posted_as_structured_cloudevent_to_the_sinks_path() -> None:
    broker = Broker(202)

    async def test(setup: Setup) -> None:
        setup.add(1)
        await setup.reaches("delivered", 1)

    with_broker(broker, test)
    assert broker.heads[0].startswith(b"POST /path?q=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"content-type: application/cloudevents+json; charset=utf-8\r\n" in broker.heads[0]


def test_a_hanging_sink_ends_the_flush_at_its_grace_and_the_lost_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def test(setup: Setup) -> None:
        setup.add(40)
        await asyncio.sleep(0.1)
        await setup.delivery.flush(0.3)
        assert setup.count("dropped") == 40

    async def main() -> None:
        server = await asyncio.start_server(Broker("hang"), "127.0.0.1", 0)
        await test(Setup(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Logger()))
        server.close()
        await asyncio.sleep(0.05)

    asyncio.run(main())
    assert "40 events could not be delivered" in caplog.text


def test_events_that_are_tried_again_keep_their_order() -> None:
    async def main() -> list[bytes]:
        server = await asyncio.start_server(Broker(202, 503, 202, 503, 503, 202), "127.0.0.1", 0)
        sink = HttpSink(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Logger())
        left = await sink.deliver(EVENTS)
        sink.close()
        server.close()
        await asyncio.sleep(0.05)
        return left

    left = asyncio.run(main())
    assert len(left) == 3
    assert left == [event for event in EVENTS if event in left]


async def posted(broker: Broker, events: list[bytes], **settings: Any) -> tuple[list[bytes], HttpSink]:
    """What is to be tried again after one delivery."""
    server = await asyncio.start_server(broker, "127.0.0.1", 0)
    sink = HttpSink(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Logger(**settings))
    left = await sink.deliver(events)
    sink.close()
    server.close()
    await asyncio.sleep(0.05)
    return left, sink


def test_over_one_connection_events_come_in_their_order() -> None:
    broker = Broker(202)

    async def test(setup: Setup) -> None:
        setup.add(1000)
        await setup.reaches("delivered", 1000)

    with_broker(broker, test)
    assert numbers(broker) == list(range(1000))
    assert broker.connections == 1


def test_over_several_connections_every_event_comes_once() -> None:
    broker = Broker(202)

    async def test(setup: Setup) -> None:
        setup.add(1000)
        await setup.reaches("delivered", 1000)

    with_broker(broker, test, connections=4)
    assert sorted(numbers(broker)) == list(range(1000))
    assert broker.connections == 4


def test_a_sink_that_closes_after_each_answer_gets_every_event_once_in_order() -> None:
    broker = Broker(b"HTTP/1.1 202 Accepted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    left, _ = asyncio.run(posted(broker, EVENTS))
    assert left == []
    assert broker.received[0] == EVENTS[0]
    assert set(broker.received) == set(EVENTS)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 202 Accepted\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nthanks"])
def test_an_answer_that_ends_with_its_connection_counts(answer: bytes) -> None:
    left, _ = asyncio.run(posted(Broker(answer), EVENTS[:2]))
    assert left == []


def test_an_interim_answer_is_not_the_answer() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
    left, _ = asyncio.run(posted(Broker(answer), EVENTS[:2]))
    assert left == EVENTS[:2]


def test_an_event_that_is_never_taken_is_dropped_after_its_tries_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker(500)

    async def test(setup: Setup) -> None:
        setup.add(1)
        await setup.reaches("dropped", 1)
        assert setup.count("delivered") == 0

    with_broker(broker, test, max_retries=2)
    assert broker.posts == 3
    assert "1 events are dropped after 3 tries each (logger.max_retries): the sink answered 500" in caplog.text


def test_one_that_is_never_taken_holds_no_other_up() -> None:
    broker = Broker(202)
    broker.poison = b'"data":3'

    async def test(setup: Setup) -> None:
        setup.add(10)
        await setup.reaches("delivered", 9)
        await setup.reaches("dropped", 1)

    with_broker(broker, test, max_retries=3)
    assert numbers(broker) == [number for number in range(10) if number != 3]


def test_a_sink_that_cannot_be_reached_costs_no_tries() -> None:
    async def main() -> list[bytes]:
        server = await asyncio.start_server(Broker(202), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        sink = HttpSink(f"http://127.0.0.1:{port}/", Logger(max_retries=0))
        return await sink.deliver(await sink.deliver(EVENTS))

    assert asyncio.run(main()) == EVENTS


def test_a_request_on_which_the_sink_breaks_off_is_given_up_at_last() -> None:
    broker = Broker("reset")

    async def test(setup: Setup) -> None:
        setup.add(2)
        await setup.reaches("dropped", 1)

    with_broker(broker, test, max_retries=1)


def test_batches_are_arrays_of_events_in_their_order() -> None:
    broker = Broker(202)

    async def test(setup: Setup) -> None:
        setup.add(300)
        await setup.reaches("delivered", 300)

    with_broker(broker, test, content_mode="batched")
    assert broker.posts <= 5
    assert b"content-type: application/cloudevents-batch+json; charset=utf-8\r\n" in broker.heads[0]
    assert [event["data"] for body in broker.taken for event in json.loads(body)] == list(range(300))


def test_of_a_batch_that_is_refused_only_the_event_that_is_wrong_is_dropped() -> None:
    broker = Broker(202)
    broker.poison, broker.verdict_on_poison = b'"data":3', 400

    async def test(setup: Setup) -> None:
        setup.add(10)
        await setup.reaches("delivered", 9)
        assert setup.count("dropped") == 1

    with_broker(broker, test, content_mode="batched")
    assert sorted(event["data"] for body in broker.taken for event in json.loads(body)) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_a_batch_that_may_be_taken_later_is_tried_again_whole() -> None:
    left, _ = asyncio.run(posted(Broker(503), EVENTS, content_mode="batched"))
    assert left == EVENTS


def test_a_large_event_makes_a_batch_of_its_own() -> None:
    broker = Broker(202)
    large = b'{"n":"%b"}' % (b"x" * 300_000)
    asyncio.run(posted(broker, [EVENTS[0], large, EVENTS[1]], content_mode="batched"))
    assert [len(json.loads(body)) for body in broker.taken] == [1, 1, 1]
