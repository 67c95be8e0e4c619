"""Objects in real stores: S3, Google Cloud Storage and Azure, written through outages and read back by `kfunc events`."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kfunc.event_log.ledger import Ledger
from kfunc.event_log.reading import read_events
from kfunc.logger_sidecar.object_sink import ObjectSink
from tests.logger_sidecar.real_brokers import calls, context, deliver_all, settings
from tests.parts.faults import Faulty, faulty
from tests.parts.object_stores import S3, Azure, Gcs

__all__ = ["faulty"]

pytestmark = [pytest.mark.integration, pytest.mark.heavy]

STORES: dict[str, Any] = {"s3": S3, "gs": Gcs, "az": Azure}
BUCKET = "audit"


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """The address of a bucket, and its server."""
    server = STORES[request.param](tmp_path / "store")
    if request.param != "az":
        server.make_bucket(BUCKET)
    with server:
        if request.param == "az":
            server.make_bucket(BUCKET)
        for name, value in server.client_environment().items():
            monkeypatch.setenv(name, value)
        yield f"{request.param}://{BUCKET}/events", server


def deliver(to: str, *, first: int = 0, count: int = 100, **more: Any) -> None:
    async def main() -> None:
        sink = ObjectSink(settings(to, batch_events=40, **more), context(**os.environ))
        await deliver_all(sink, calls(count, first), in_order=True)
        await sink.close()

    asyncio.run(main())


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_events_are_there_and_the_ledger_is_complete(place: tuple[str, Any], form: str) -> None:
    deliver(place[0], format=form)
    ledger = Ledger()
    for event in read_events(place[0], pytest.fail):
        ledger.add(event)
    report = ledger.report()
    assert (report.ok, report.events, report.duplicates) == (True, 200, 0)


def test_what_is_delivered_twice_is_there_once(place: tuple[str, Any]) -> None:
    deliver(place[0])
    deliver(place[0])
    assert len(list(read_events(place[0], pytest.fail))) == 200


def test_none_is_lost_when_the_store_is_gone_for_a_while(place: tuple[str, Any]) -> None:
    address, server = place
    deliver(address, count=20)
    if address.startswith("az:"):  # Azurite writes its index every few seconds, and not when it acknowledges
        asyncio.run(asyncio.sleep(6))
    server.kill()

    async def main() -> None:
        sink = ObjectSink(settings(address, batch_events=40), context(**os.environ))
        delivery = asyncio.create_task(deliver_all(sink, calls(80, 20), in_order=True))
        await asyncio.sleep(1)
        await asyncio.to_thread(server.start)
        await delivery
        await sink.close()

    asyncio.run(main())
    assert len({event.id for event in read_events(address, pytest.fail)}) == 200


@pytest.mark.parametrize("fault", [0, 400, 403, 404, 413, 429, 500, 501, 503, 20])
def test_none_is_lost_or_there_twice_when_uploads_or_their_answers_break_off(
    place: tuple[str, Any], faulty: Faulty, fault: int
) -> None:
    faulty.fail([fault] * 5)  # more than the client's library tries by itself; of 20 bytes of an answer nobody learns much
    deliver(place[0])
    assert not faulty.faults
    ids = [event.id for event in read_events(place[0], pytest.fail)]
    assert (len(ids), len(set(ids))) == (200, 200)
