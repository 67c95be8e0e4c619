"""The logger's process in front of a function, with real brokers behind it that are killed: every call's events arrive."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.logger import SinkSettings
from kfunc.event_log.reading import read_events
from tests.logger_sidecar import test_amqp_sink, test_kafka_sink, test_nats_sink
from tests.logger_sidecar.real_brokers import killed_now_and_then
from tests.logger_sidecar.test_process import Echo, end, logger, post, upstream
from tests.parts.object_stores import S3
from tests.parts.servers import Kafka, Nats, RabbitMq

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CALLS = 400
__all__ = ["Echo", "upstream"]


def ids_of_nats(server: Any) -> list[str]:
    return [test_nats_sink.parsed(each).get_id() for each in asyncio.run(test_nats_sink.read(server, "events"))]


def ids_of_rabbitmq(server: Any) -> list[str]:
    return [test_amqp_sink.parsed(each).get_id() for each in asyncio.run(test_amqp_sink.read(server, "events"))]


def ids_of_kafka(server: Any) -> list[str]:
    return [test_kafka_sink.parsed(each).get_id() for each in asyncio.run(test_kafka_sink.read(server, "events"))]


def ids_of_s3(server: Any) -> list[str]:
    return [event.id for event in read_events("s3://audit/events", pytest.fail)]


Ids = Callable[[Any], list[str]]
BROKERS: list[Any] = [
    pytest.param(Nats, "/events?stream=events", ids_of_nats, id="nats"),
    pytest.param(RabbitMq, "?queue=events", ids_of_rabbitmq, id="rabbitmq"),
    pytest.param(Kafka, "/events", ids_of_kafka, id="kafka", marks=pytest.mark.heavy),
    pytest.param(S3, "s3://audit/events", ids_of_s3, id="s3", marks=pytest.mark.heavy),
]


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, str, Ids]]:
    """A server, the sink's address, and what reads the ids of all events in it."""
    kind, rest, ids = request.param
    server = kind(tmp_path / "broker")
    if kind is S3:
        server.make_bucket("audit")
    with server:
        for name, value in server.client_environment().items() if kind is S3 else ():
            monkeypatch.setenv(name, value)
        if kind is RabbitMq:
            asyncio.run(test_amqp_sink.make_queue(f"{server.url}{rest}"))
        yield server, rest if kind is S3 else f"{server.url}{rest}", ids


@pytest.mark.parametrize("broker", [pytest.param(each.values, id=each.id, marks=each.marks) for each in BROKERS], indirect=True)
def test_the_events_of_every_call_arrive_though_the_broker_is_killed_meanwhile(
    broker: tuple[Any, str, Ids], tmp_path: Path, upstream: int
) -> None:
    server, address, ids_of = broker
    with logger(address, upstream, tmp_path / "spool", grace_s=90.0, batch_s=0.5) as (process, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        with killed_now_and_then(server, times=1):
            for number in range(CALLS):
                post(connection, number)
                time.sleep(0.002)  # so that calls come before, during and after the outage
        connection.close()
        end(process)
    ids = ids_of(server)
    assert len(set(ids)) == 2 * CALLS
    if not isinstance(server, RabbitMq | Kafka):  # those are told by their ids what came twice
        assert len(ids) == len(set(ids))


@pytest.mark.heavy
def test_a_pod_that_ends_while_its_sink_is_down_leaves_its_events_in_the_overflow_store(
    tmp_path: Path, upstream: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3(tmp_path / "store")
    store.make_bucket("audit")
    with store:
        for name, value in store.client_environment().items():
            monkeypatch.setenv(name, value)
        more = {"overflow": "s3://audit/events"}
        with logger("nats://127.0.0.1:1/events", upstream, tmp_path / "spool", 10.0, None, **more) as (process, port):
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            for number in range(CALLS):
                post(connection, number)
            connection.close()
            end(process)
        ids = ids_of_s3(store)
    assert len(ids) == len(set(ids)) == 2 * CALLS


def test_two_sinks_get_all_events_each_at_its_own_pace(tmp_path: Path, upstream: int) -> None:
    path = tmp_path / "events.jsonl"
    with Nats(tmp_path / "nats") as server:
        server.kill()
        sinks = [SinkSettings(to=f"{server.url}/events?stream=events")]
        with logger(f"file:{path}", upstream, tmp_path / "spool", grace_s=60.0, sinks=sinks) as (process, port):
            connection = HTTPConnection("127.0.0.1", port, timeout=20)
            for number in range(50):
                post(connection, number)
            deadline = os.times().elapsed + 20
            while not path.exists() or len(path.read_bytes().splitlines()) < 100:
                assert os.times().elapsed < deadline
                asyncio.run(asyncio.sleep(0.05))
            server.start()
            connection.close()
            end(process)
        ids = ids_of_nats(server)
    assert [json.loads(line)["id"] for line in path.read_bytes().splitlines()] == ids
