"""Objects of events: their names, what is in them, and that one that is written again replaces itself."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import obstore
import pyarrow.parquet as pq
import pytest
from obstore.store import MemoryStore

from kfunc.logger_sidecar.contract import Refused, Retry
from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.object_sink import ObjectSink
from tests.logger_sidecar.real_brokers import calls, context, settings
from tests.logger_sidecar.setups import running
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


KEYS = {"AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
Judge = Callable[[bytes], int]
"""The status of the answer to an upload."""


class Uploads(BaseHTTPRequestHandler):
    """Takes what `judge` answers with 200."""

    protocol_version = "HTTP/1.1"

    def __init__(self, judge: Judge, asked: list[int], taken: list[bytes], *arguments: Any) -> None:
        self._judge, self._asked, self._taken = judge, asked, taken
        super().__init__(*arguments)

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        status = self._judge(content)
        self._asked.append(len(content))
        if status == 200:
            self._taken.append(content)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.send_header("etag", '"0"')
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""


class Judged:
    """A store, what it was asked to take (sizes), and what it has taken."""

    def __init__(self, asked: list[int], taken: list[bytes]) -> None:
        self.asked, self._taken = asked, taken

    def ids(self) -> list[str]:
        """The ids of the events that it has."""
        return [json.loads(line)["id"] for content in self._taken for line in content.splitlines()]


@contextmanager
def judged(judge: Judge) -> Iterator[Judged]:
    """A store that the environment names."""
    asked: list[int] = []
    taken: list[bytes] = []
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), partial(Uploads, judge, asked, taken)) as server,
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in KEYS.items():
            environment.setenv(name, value)
        environment.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Judged(asked, taken)
        finally:
            server.shutdown()
            thread.join()


def outcomes_of(events: list[CallEvent]) -> list[Any]:
    """What becomes of events that are delivered until none is left, or none is taken or refused."""

    async def main() -> list[Any]:
        sink, found = ObjectSink(settings("s3://bucket"), context(**KEYS)), list[Any]()
        await sink.open()
        while len(found) < len(events):
            outcomes = await sink.deliver(events[len(found) :], True)
            found += outcomes
            if isinstance(outcomes[-1], Retry):
                break
        return found

    return asyncio.run(main())


def test_a_batch_that_is_too_large_is_halved_until_the_store_takes_it() -> None:
    events = calls(100)
    size = sum(len(event.structured()) + 1 for event in events)
    with judged(lambda content: 413 if len(content) > size // 3 else 200) as store:
        assert outcomes_of(events) == [None] * 200
        assert store.ids() == [event.id for event in events]
        assert len([asked for asked in store.asked if asked > size // 3]) == 2, "what is too large is found out once"


def test_an_event_that_is_too_large_by_itself_is_refused_and_holds_no_other_up() -> None:
    events = calls(20) + calls(1, 20, body=b"x" * 100_000) + calls(20, 21)
    with judged(lambda content: 413 if len(content) > 100_000 else 200) as store:
        outcomes = outcomes_of(events)
        assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [40]
        assert outcomes[40] == Refused("HTTP 413 Payload Too Large", 413)
        assert store.ids() == [event.id for event in events[:40] + events[41:]]


def test_a_store_that_refuses_everything_for_good_is_asked_once_for_each_event() -> None:
    events = calls(50)
    with judged(lambda content: 400) as store:
        assert [type(outcome) for outcome in outcomes_of(events)] == [Refused] * 100
        assert len(store.asked) < 110


@pytest.mark.parametrize("status", [401, 403, 404, 409, 501])
def test_events_wait_while_the_store_or_who_runs_it_has_to_be_mended(status: int) -> None:
    with judged(lambda content: status):
        (outcome,) = outcomes_of(calls(3))
        assert isinstance(outcome, Retry)
        assert outcome.answered == (status in (409, 501))


@pytest.mark.integration
def test_what_a_store_refuses_goes_to_the_dead_letters_and_the_rest_into_it(tmp_path: Path) -> None:
    dead = tmp_path / "dead.jsonl"
    sink = {"to": "s3://bucket", "dead_letter": f"file:{dead}", "batch_s": 0.1}

    async def main() -> None:
        async with running(tmp_path, context=context(**KEYS), sinks=[sink]) as setup:
            setup.add(*range(5), body=b"x" * 20_000)
            setup.add(5)
            await setup.reaches("delivered", 1)
            await setup.reaches("dead_lettered", 5)
            assert (setup.count("waiting"), setup.count("dropped"), setup.count("refused")) == (0, 0, 0)

    with judged(lambda content: 413 if len(content) > 20_000 else 200) as store:
        asyncio.run(main())
        assert [size for size in store.asked if size <= 20_000], "the one that is small enough"
    letters = [json.loads(line) for line in dead.read_text().splitlines()]
    assert {letter["knativeerrorcode"] for letter in letters} == {413}


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
