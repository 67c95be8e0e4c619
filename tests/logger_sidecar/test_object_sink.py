"""Objects of events: their names, what is in them, and that one that is written again replaces itself."""

import asyncio
import json
import os
import subprocess
import sys
from io import BytesIO
from typing import Any

import obstore
import pyarrow.parquet as pq
import pytest
from obstore.store import MemoryStore

from kfunc.logger_sidecar.contract import Retry
from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.object_sink import ObjectSink
from tests.logger_sidecar.real_brokers import calls, context, settings
from tests.parts import ROOT


def sink_to(store: Any, **more: Any) -> ObjectSink:
    """A sink whose store is here, in memory."""
    sink = ObjectSink(settings("s3://bucket/audit", **more), context())
    sink._store = store
    return sink


def deliver(store: Any, *batches: list[CallEvent], **more: Any) -> list[Any]:
    async def main() -> list[Any]:
        sink = sink_to(store, **more)
        return [await sink.deliver(batch, True) for batch in batches]

    return asyncio.run(main())


def names(store: Any) -> list[str]:
    return sorted(each["path"] for each in obstore.list(store).collect())


def content(store: Any, name: str) -> bytes:
    return bytes(obstore.get(store, name).bytes())


def test_an_object_is_named_by_function_hour_and_first_event() -> None:
    store = MemoryStore()
    assert deliver(store, calls(3)) == [[None] * 6]
    assert names(store) == ["audit/team/iris/date=2026-11-25/hour=09/0000.000000-run-0-request.jsonl"]


def test_json_lines_are_the_structured_events() -> None:
    store = MemoryStore()
    events = calls(3)
    deliver(store, events)
    lines = content(store, names(store)[0]).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [event.id for event in events]


def test_a_batch_that_is_written_again_replaces_its_object_with_more_in_it_or_less() -> None:
    store, events = MemoryStore(), calls(10)
    deliver(store, events[:8], events[:20], events[:4], events[4:])
    assert len(names(store)) == 2
    lines = [line for name in names(store) for line in content(store, name).splitlines()]
    assert [json.loads(line)["id"] for line in lines] == [event.id for event in events]


def test_objects_of_kserves_events_have_names_of_their_own_for_both_events_of_a_call() -> None:
    store, events = MemoryStore(), calls(1, compat="kserve")
    deliver(store, events[:1], events[1:])
    assert len(names(store)) == 2


def test_parquet_has_a_column_for_each_attribute_and_the_bytes_of_the_body() -> None:
    store = MemoryStore()
    deliver(store, calls(2), format="parquet")
    (name,) = names(store)
    table = pq.read_table(BytesIO(content(store, name)))
    assert table.column("data").to_pylist()[0] == b'{"instances":[[0]]}'
    assert table.column("statuscode").to_pylist() == [None, 200, None, 200]
    assert table.column("model").to_pylist() == ["iris"] * 4
    assert table.column("time").to_pylist()[0].isoformat() == "2026-11-25T09:00:00+00:00"


def test_a_store_that_fails_is_tried_again_with_a_short_reason() -> None:
    async def main() -> Any:
        sink = ObjectSink(settings("s3://bucket"), context())
        sink._store = obstore.store.S3Store(
            "bucket",
            endpoint="http://127.0.0.1:1",
            access_key_id="a",
            secret_access_key="b",  # noqa: S106
            region="r",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        return await sink.deliver(calls(1), True)

    (outcome,) = asyncio.run(main())
    assert isinstance(outcome, Retry)
    assert "\n" not in outcome.reason
    assert outcome.reason.endswith("HTTP error: error sending request: Connection refused"), outcome.reason
    assert not outcome.answered


@pytest.mark.parametrize(
    ("more", "expected"),
    [({}, (10_000, 8 * 1024 * 1024, 60.0)), ({"batch_events": 5, "batch_bytes": 100, "batch_s": 1.0}, (5, 100, 1.0))],
)
def test_a_batch_is_bounded_by_count_bytes_and_time(more: dict[str, Any], expected: tuple[int, int, float]) -> None:
    sink = ObjectSink(settings("gs://bucket", **more), context())
    assert (sink.max_events, sink.max_bytes, sink.linger_s) == expected


ONE_UPLOAD = """
import asyncio
from kfunc.logger_sidecar.object_sink import ObjectSink
from tests.logger_sidecar.real_brokers import calls, context, settings

async def main():
    sink = ObjectSink(settings("s3://bucket"), context())
    await sink.open()
    await sink.deliver(calls(1), True)

asyncio.run(main())
"""


def test_a_process_that_ends_right_after_an_upload_is_not_aborted() -> None:
    named = {
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    command, environ = [sys.executable, "-c", ONE_UPLOAD], os.environ | named
    started = [subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL) for _ in range(8)]
    assert [process.wait() for process in started] == [0] * 8
