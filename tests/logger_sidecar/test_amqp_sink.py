"""Events in a real RabbitMQ: confirmed, durable, none lost when it is killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aio_pika
import pytest
from cloudevents.core.bindings.rabbitmq import RabbitMQMessage, from_rabbitmq_event

from kfunc.logger_sidecar.amqp_sink import AmqpSink
from kfunc.logger_sidecar.contract import Outcome, Refused, Retry
from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.opened import OpenedSink
from tests.logger_sidecar.real_brokers import calls, close, context, deliver_all, killed_now_and_then, settings
from tests.parts.servers import RabbitMq

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    with RabbitMq(tmp_path_factory.mktemp("rabbitmq")) as running:
        yield running


async def read(server: RabbitMq, name: str) -> list[Any]:
    """All messages of a queue."""
    connection = await aio_pika.connect(server.url)
    queue = await (await connection.channel()).declare_queue(name, durable=True)
    messages: list[Any] = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        messages.append(message)
    await connection.close()
    return messages


def parsed(message: Any) -> Any:
    """The event, as the cloudevents SDK reads it."""
    return from_rabbitmq_event(RabbitMQMessage(message.headers, message.content_type, message.body))


async def deliver(url: str, events: list[CallEvent], *, in_order: bool = True, **more: Any) -> None:
    sink = AmqpSink(settings(url, **more), context())
    await deliver_all(sink, events, in_order=in_order)
    await close(sink)


async def make_queue(url: str) -> None:
    sink = AmqpSink(settings(url), context())
    await sink.open()
    await close(sink)


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("in_order", [True, False])
def test_every_event_is_in_the_queue_as_the_sdk_reads_it(server: RabbitMq, mode: str, in_order: bool) -> None:
    name = f"{mode}-{in_order}"
    events = calls(50)
    asyncio.run(deliver(f"{server.url}?queue={name}", events, in_order=in_order, content_mode=mode))
    messages = asyncio.run(read(server, name))
    assert [parsed(message).get_id() for message in messages] == [event.id for event in events]
    assert [message.message_id for message in messages] == [event.id for event in events]
    assert parsed(messages[0]).get_data() == {"instances": [[0]]}


@pytest.mark.parametrize("in_order", [True, False])
def test_none_is_lost_when_the_broker_is_killed(tmp_path: Path, in_order: bool) -> None:
    with RabbitMq(tmp_path / "rabbitmq") as server:
        events = calls(800)
        asyncio.run(make_queue(f"{server.url}?queue=q"))
        with killed_now_and_then(server, times=1):
            asyncio.run(deliver(f"{server.url}?queue=q", events, in_order=in_order))
        ids = [message.message_id for message in asyncio.run(read(server, "q"))]
    assert set(ids) == {event.id for event in events}
    if in_order:
        assert list(dict.fromkeys(ids)) == [event.id for event in events]


def test_a_queue_that_was_just_made_and_its_events_outlive_the_broker_too(tmp_path: Path) -> None:
    with RabbitMq(tmp_path / "rabbitmq") as server:
        events = calls(100)
        asyncio.run(deliver(f"{server.url}?queue=new", events, in_order=False))
        server.kill()
        server.start()
        ids = [message.message_id for message in asyncio.run(read(server, "new"))]
    assert set(ids) == {event.id for event in events}


class Narrow(RabbitMq):
    """One that takes messages of 64 KiB at most."""

    def command(self) -> list[str]:
        return [*super().command(), "-rabbit", "max_message_size", "65536"]


@pytest.mark.parametrize("in_order", [True, False])
def test_an_event_larger_than_the_broker_takes_is_refused_and_the_others_are_taken(tmp_path: Path, in_order: bool) -> None:
    events = [*calls(2), *calls(1, first=2, body=b"x" * 100_000)[:1], *calls(2, first=3)]

    async def main(url: str) -> Any:
        sink = AmqpSink(settings(url), context())
        opened, left, refused = OpenedSink(sink), list(events), []
        async with asyncio.timeout(30):
            while left:
                outcomes = await opened.deliver(left, in_order)
                refused += [event for event, outcome in zip(left, outcomes, strict=False) if isinstance(outcome, Refused)]
                tried = zip(left, outcomes, strict=False)
                left = [event for event, outcome in tried if isinstance(outcome, Retry)] + left[len(outcomes) :]
        await close(sink)
        return refused

    with Narrow(tmp_path / "rabbitmq") as server:
        refused = asyncio.run(main(f"{server.url}?queue=narrow"))
        ids = {parsed(message).get_id() for message in asyncio.run(read(server, "narrow"))}
    assert refused == [events[4]]
    assert ids == {event.id for event in events} - {events[4].id}


def test_an_exchange_that_routes_to_no_queue_is_told_with_what_to_do(server: RabbitMq) -> None:
    async def main() -> Any:
        sink = AmqpSink(settings(f"{server.url}?exchange=amq.direct&routing_key=nowhere"), context())
        await sink.open()
        outcomes = await sink.deliver(calls(1), True)
        await close(sink)
        return outcomes

    assert asyncio.run(main()) == [Retry("no queue takes the routing key nowhere: bind one", answered=False)]


def test_a_login_that_is_refused_is_told(server: RabbitMq) -> None:
    async def main() -> None:
        await AmqpSink(settings(f"{server.url}?queue=q"), context(AMQP_USERNAME="nobody")).open()

    with pytest.raises(ConnectionError, match="ACCESS_REFUSED"):
        asyncio.run(main())


class Hanging(AmqpSink):
    """A broker that closes the channel for the first of many, and then confirms nothing in time."""

    def __init__(self) -> None:
        super().__init__(settings("amqp://h?queue=q"), context())
        self._connection = self._exchange = SimpleNamespace(is_closed=False)  # type: ignore[assignment]
        self.published = 0

    async def open(self) -> None:
        pass

    async def _publish(self, exchange: Any, event: Any) -> Outcome:
        self.published += 1
        return Refused("too large") if self.published == 1 else Retry("TimeoutError", answered=False)


def test_when_one_has_closed_the_channel_the_others_are_not_waited_for_one_by_one_in_one_call() -> None:
    async def main() -> list[int]:
        sink, published = Hanging(), []
        for _ in range(3):
            before = sink.published
            await sink.deliver(calls(20), False)
            published.append(sink.published - before)
        return published

    assert asyncio.run(main()) == [40, 1, 1]
