"""Events in a real Kafka: acknowledged, in the order of their function, none lost when the broker is killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.kafka_sink import KafkaSink
from tests.logger_sidecar.real_brokers import calls, context, deliver_all, killed_now_and_then, settings
from tests.parts.servers import Kafka

pytestmark = [pytest.mark.integration, pytest.mark.heavy]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


async def read(server: Kafka, topic: str) -> list[Any]:
    """All messages of a topic, partition by partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{server.port}", auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or {0, 1})]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        messages: list[Any] = []
        for partition in partitions:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            while await consumer.position(partition) < ends[partition]:
                found = await consumer.getmany(partition, timeout_ms=1000)
                messages += found.get(partition, [])
        return messages
    finally:
        await consumer.stop()


def parsed(message: Any) -> Any:
    """The event, as the cloudevents SDK reads it."""
    return from_kafka_event(KafkaMessage(dict(message.headers), message.key, message.value))


async def deliver(url: str, events: list[CallEvent], *, in_order: bool = True, **more: Any) -> None:
    sink = KafkaSink(settings(url, **more), context())
    await deliver_all(sink, events, in_order=in_order)
    await sink.close()


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_every_event_is_in_the_topic_in_order_as_the_sdk_reads_it(server: Kafka, mode: str) -> None:
    events = calls(50)
    asyncio.run(deliver(f"{server.url}/{mode}", events, content_mode=mode))
    messages = asyncio.run(read(server, mode))
    assert [parsed(message).get_id() for message in messages] == [event.id for event in events]
    assert {message.partition for message in messages} in ({0}, {1})
    assert parsed(messages[0]).get_data() == {"instances": [[0]]}


def test_without_order_calls_spread_over_the_partitions_and_both_events_of_one_stay_together(server: Kafka) -> None:
    asyncio.run(deliver(f"{server.url}/spread", calls(50), in_order=False, order="any"))
    messages = asyncio.run(read(server, "spread"))
    assert {message.partition for message in messages} == {0, 1}
    places: dict[bytes, set[int]] = {}
    for message in messages:
        places.setdefault(message.key, set()).add(message.partition)
    assert len(places) == 50
    assert all(len(each) == 1 for each in places.values())


@pytest.mark.timeout(240)
def test_none_is_lost_and_the_order_is_kept_when_the_broker_is_killed(tmp_path: Path) -> None:
    with Kafka(tmp_path / "kafka") as server:
        events = calls(3000)
        with killed_now_and_then(server, times=1):
            asyncio.run(deliver(f"{server.url}/killed", events))
        ids = [parsed(message).get_id() for message in asyncio.run(read(server, "killed"))]
    assert list(dict.fromkeys(ids)) == [event.id for event in events]


@pytest.mark.parametrize("in_order", [True, False])
def test_after_an_event_that_the_broker_does_not_take_those_behind_it_are_taken(server: Kafka, in_order: bool) -> None:
    large = calls(1, first=2, body=b"x" * 3_000_000)[:1]
    events = [*calls(2), *large, *calls(20, first=3)]
    asyncio.run(deliver(f"{server.url}/refused-{in_order}", events, in_order=in_order))
    messages = asyncio.run(read(server, f"refused-{in_order}"))
    ids = list(dict.fromkeys(parsed(message).get_id() for message in messages))
    wanted = [event.id for event in events if event is not large[0]]
    assert ids == wanted if in_order else set(ids) == set(wanted)
