"""Requests of the HTTP sink and what it makes of the answers; `test_delivery.py` has the rest of the way."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from kfunc.config.logger import Logger, sinks_of
from kfunc.logger_sidecar.contract import Outcome, Refused, Retry
from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.http_sink import HttpSink, retry_after_s
from tests.logger_sidecar.broker import Broker, Fault
from tests.logger_sidecar.setups import CONTEXT, events

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"


def sink_to(url: str, **settings: Any) -> HttpSink:
    (sink,) = sinks_of(Logger(sink=url, **settings))
    return HttpSink(sink, CONTEXT)


async def delivered(broker: Broker, sent: list[CallEvent], *, in_order: bool = True, **settings: Any) -> list[Outcome]:
    async with broker:
        sink = sink_to(broker.url, **settings)
        outcomes = await sink.deliver(sent, in_order)
        await sink.close()
        await asyncio.sleep(0.02)
        return outcomes


def answering(*answers: bytes) -> Callable[..., Coroutine[Any, Any, None]]:
    """A server that gives these answers to requests, and closes the connection after one that says so or has no length."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while left:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
                answer = left.pop(0) if len(left) > 1 else left[0]
                writer.write(answer)
                if b"content-length: 0" not in answer or b"close" in answer:
                    break
        writer.close()

    return serve


def test_the_answer_to_what_was_given_up_is_not_taken_for_that_to_what_comes_next() -> None:
    async def main() -> list[Outcome]:
        async with Broker() as broker:
            broker.fault = Fault("slow", every=1, times=1, slow_s=0.1)
            broker.poison = b'"data":2}'
            sink = sink_to(broker.url)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await sink.deliver(events(1), True)
            outcomes = await sink.deliver(events(2), True)
            await sink.close()
            return outcomes

    assert asyncio.run(main()) == [Refused("HTTP 400", 400)]


def outcomes_of(*answers: bytes, count: int = 2, in_order: bool = False) -> list[Outcome]:
    async def main() -> list[Outcome]:
        server = await asyncio.start_server(answering(*answers), "127.0.0.1", 0)
        sink = sink_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        outcomes = await sink.deliver(events(*range(count)), in_order)
        await sink.close()
        server.close()
        await asyncio.sleep(0.02)
        return outcomes

    return asyncio.run(main())


def test_a_structured_event_is_json_posted_to_the_sinks_path() -> None:
    broker = Broker()
    assert asyncio.run(delivered(broker, events(1))) == [None]
    assert broker.heads[0]["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert broker.events[0]["data"] == 1


def test_a_binary_event_is_its_body_with_attributes_in_header_fields() -> None:
    broker = Broker()
    (event,) = events(7, body=b'{"a": "\xc3\xa4"}')
    event.call.traceparent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event.call.headers = b'{"baggage":"tier=gold"}'
    assert asyncio.run(delivered(broker, [event], content_mode="binary")) == [None]
    (taken,) = broker.events
    assert taken["data_bytes"] == b'{"a": "\xc3\xa4"}'
    attributes = {name: str(value) for name, value in event.attributes().items()}
    assert {name: taken[name] for name in attributes} == attributes
    assert broker.heads[0]["traceparent"] == event.call.traceparent.decode()
    assert broker.heads[0]["baggage"] == "tier=gold"


@pytest.mark.parametrize("content_type", [b"text/pl\xe4in", b"a\tb", b""])
def test_a_type_that_is_none_does_not_break_a_binary_event(content_type: bytes) -> None:
    broker = Broker()
    (event,) = events(7, body=b"\xff")
    event.call.request.content_type = content_type
    assert asyncio.run(delivered(broker, [event], content_mode="binary")) == [None]


def test_batches_are_arrays_of_events_in_their_order() -> None:
    broker = Broker()
    assert asyncio.run(delivered(broker, events(*range(200)), content_mode="batched")) == [None] * 200
    assert broker.requests == 2
    assert [event["data"] for event in broker.events] == list(range(200))


def test_a_large_event_makes_a_batch_of_its_own() -> None:
    broker = Broker()
    sent = [*events(1), *events(2, body=b'"%b"' % (b"x" * 300_000)), *events(3, 4)]
    assert asyncio.run(delivered(broker, sent, content_mode="batched")) == [None] * 4
    assert broker.requests == 3


@pytest.mark.parametrize("in_order", [True, False])
def test_of_a_batch_that_is_refused_only_the_event_that_is_wrong_is_refused(in_order: bool) -> None:
    broker = Broker()
    broker.poison = b'"data":3}'
    outcomes = asyncio.run(delivered(broker, events(*range(10)), in_order=in_order, content_mode="batched"))
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Refused)] == [3]
    assert outcomes.count(None) == 9


def test_a_sink_that_takes_no_batches_gets_its_events_all_the_same() -> None:
    broker = Broker(takes_batches=False)
    assert asyncio.run(delivered(broker, events(*range(5)), content_mode="batched")) == [None] * 5


@pytest.mark.parametrize("content_mode", ["structured", "binary", "batched"])
def test_in_order_nothing_is_sent_behind_what_is_to_be_tried_again(content_mode: str) -> None:
    broker = Broker()
    broker.fault = Fault("503", every=3)
    outcomes = asyncio.run(delivered(broker, events(*range(500)), content_mode=content_mode))
    assert isinstance(outcomes[-1], Retry)
    assert outcomes[:-1] == [None] * (len(outcomes) - 1)
    assert len(broker.events) == len(outcomes) - 1 < 500


@pytest.mark.parametrize(
    ("status", "expected"), [(200, "taken"), (202, "taken"), (204, "taken")]
    + [(status, "retried") for status in (404, 408, 409, 429, 500, 502, 503, 504)]
    + [(status, "refused") for status in (301, 400, 401, 403, 410, 413, 415, 422)],
)  # fmt: skip
def test_answers_mean_what_knatives_delivery_rules_say(status: int, expected: str) -> None:
    (outcome,) = outcomes_of(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % status, count=1)
    assert {type(None): "taken", Retry: "retried", Refused: "refused"}[type(outcome)] == expected


def test_without_order_what_is_tried_again_is_told_one_by_one() -> None:
    bad = b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
    assert [type(each) for each in outcomes_of(OK, bad, OK, bad, count=4)] == [type(None), Retry, type(None), Retry]


def test_a_sink_that_closes_after_each_answer_gets_every_event() -> None:
    assert outcomes_of(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), count=10) == [None] * 10


@pytest.mark.parametrize("answer", [b"HTTP/1.1 202 Accepted\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nthanks"])
def test_an_answer_that_ends_with_its_connection_counts(answer: bytes) -> None:
    assert outcomes_of(answer) == [None, None]


def test_an_interim_answer_is_not_the_answer() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
    assert [type(each) for each in outcomes_of(answer)] == [Retry, Retry]


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
def test_nonsense_and_lost_connections_are_no_answers(answer: bytes) -> None:
    assert outcomes_of(answer, count=1) == [Retry("no answer", answered=False)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(b"", 0), (b"7", 7), (b"Wed, 25 Nov 2026 10:00:30 GMT", 30), (b"Wed, 25 Nov 2020 10:00:30 GMT", 0), (b"soon", 0),
     (b"9" * 30, 999_999_999)],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value: bytes, expected: float) -> None:
    assert retry_after_s(value, 1_795_600_800.0) == expected


def test_over_several_connections_every_event_comes_once() -> None:
    broker = Broker()
    assert asyncio.run(delivered(broker, events(*range(256)), in_order=False, connections=4)) == [None] * 256
    assert sorted(event["data"] for event in broker.events) == list(range(256))
    assert broker.connections == 4


def test_a_host_that_can_be_no_name_is_a_lost_connection_and_no_events_fault() -> None:
    async def main() -> list[Outcome]:
        sink = sink_to("http://broker.svc/")
        sink._host = "broker..svc"
        return await sink.deliver(events(1, 2), True)

    (outcome,) = asyncio.run(main())
    assert isinstance(outcome, Retry)
    assert not outcome.answered
    assert "the host is no name" in outcome.reason
