"""Live shadow: what the candidate gets, what is said of its answers, and that nothing waits for it."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.logger import Shadow
from kfunc.http.upstream import ResponseHead
from kfunc.logger_sidecar import shadow
from kfunc.logger_sidecar.shadow import ShadowTraffic
from kfunc.telemetry.metrics import Metrics
from tests.logger_sidecar.test_process import end, logger, post, upstream

pytestmark = pytest.mark.integration

__all__ = ["upstream"]
HEAD = ResponseHead(200, [(b"content-type", b"application/json")])


class Answered:
    """An exchange as it is when its answer has gone."""

    def __init__(
        self, body: bytes = b'{"instances":[[1]]}', *, number: int = 0, fields: dict[bytes, bytes] | None = None
    ) -> None:
        self.body = body
        self.target = b"/v1/models/iris:predict"
        self.request_id = b"call-%d" % number
        self.headers = {b"host": b"iris", b"content-type": b"application/json", **(fields or {})}
        self.header_list = list(self.headers.items())


class Candidate:
    """An HTTP server that answers each POST with `answer`, or "hang", "reset"."""

    def __init__(self, answer: bytes | str = b'{"predictions":[1]}', status: int = 200) -> None:
        self.answer = answer
        self.status = status
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n")[1:])}
                body = await reader.readexactly(int(fields["content-length"]))
                self.requests.append((head.split()[1], fields, body))
                if self.answer == "hang":
                    await reader.read()
                if isinstance(self.answer, str):
                    break
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%b" % (self.status, len(self.answer), self.answer))
        writer.transport.abort()


class Setup:
    """A shadow of a candidate, and what it has counted."""

    def __init__(self, url: str, *, values: bool = True, timeout_s: float = 5.0, **settings: Any) -> None:
        self.metrics = Metrics("logger")
        self.traffic = ShadowTraffic(
            Shadow(to=url, **{"compare": True, **settings}), timeout_s, self.metrics, {}, values=values
        )

    def offer(self, answer: bytes | None = b'{"predictions":[1]}', head: ResponseHead = HEAD, **exchange: Any) -> None:
        self.traffic.offer(Answered(**exchange), head, answer)  # type: ignore[arg-type]

    def results(self) -> dict[str, int]:
        found = re.findall(r'kfunc_shadow_requests_total\{.*result="(\w+)"\} (\d+)', self.metrics.exposition())
        return {name: int(count) for name, count in found if count != "0"}

    async def settled(self, count: int) -> dict[str, int]:
        async with asyncio.timeout(10):
            while sum(self.results().values()) < count:  # noqa: ASYNC110 (a counter tells nobody)
                await asyncio.sleep(0.005)
        return self.results()


def with_candidate(candidate: Candidate, test: Callable[[Setup], Coroutine[Any, Any, None]], **more: Any) -> None:
    async def main() -> None:
        server = await asyncio.start_server(candidate, "127.0.0.1", 0)
        setup = Setup(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base", **more)
        setup.traffic.start()
        try:
            await test(setup)
        finally:
            setup.traffic.close()
            server.close()
            for writer in candidate.writers:
                writer.transport.abort()
            await asyncio.sleep(0.05)

    asyncio.run(main())


def test_the_candidate_gets_the_request_as_it_came_under_its_own_host() -> None:
    candidate = Candidate()

    async def test(setup: Setup) -> None:
        setup.offer(number=7, fields={b"x-user": b"ann", b"connection": b"keep-alive", b"content-encoding": b"identity"})
        assert await setup.settled(1) == {"same": 1}

    with_candidate(candidate, test)
    ((path, fields, body),) = candidate.requests
    assert (path, body) == ("/base/v1/models/iris:predict", b'{"instances":[[1]]}')
    assert (fields["x-request-id"], fields["x-user"], fields["x-kfunc-shadow"]) == ("call-7", "ann", "1")
    assert fields["host"].startswith("127.0.0.1:")
    assert "connection" not in fields


def test_answers_that_say_the_same_are_the_same() -> None:
    async def test(setup: Setup) -> None:
        setup.offer(b'{"predictions": [1.0]}')
        assert await setup.settled(1) == {"same": 1}

    with_candidate(Candidate(), test)


def test_an_answer_that_differs_is_said_with_its_place_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def test(setup: Setup) -> None:
        setup.offer(b'{"predictions":[2]}', number=3)
        assert await setup.settled(1) == {"different": 1}

    with_candidate(Candidate(), test)
    assert "the candidate's answer to call-3 of /v1/models/iris:predict: differs in predictions[0]: 2 became 1" in caplog.text


def test_values_are_not_said_where_something_is_to_be_redacted(caplog: pytest.LogCaptureFixture) -> None:
    async def test(setup: Setup) -> None:
        setup.offer(b'{"predictions":[271828]}')
        await setup.settled(1)

    with_candidate(Candidate(), test, values=False)
    assert "differs in predictions[0]" in caplog.text
    assert "271828" not in caplog.text


def test_another_status_is_a_difference() -> None:
    async def test(setup: Setup) -> None:
        setup.offer()
        assert await setup.settled(1) == {"different": 1}

    with_candidate(Candidate(status=500), test)


def test_many_differences_are_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    async def test(setup: Setup) -> None:
        for number in range(50):
            setup.offer(b'{"predictions":[2]}', number=number)
        await setup.settled(50)

    with_candidate(Candidate(), test)
    assert len(caplog.records) <= 3


@pytest.mark.parametrize("answer", ["reset", "hang"])
def test_a_candidate_without_an_answer_is_counted_as_failed(answer: str) -> None:
    async def test(setup: Setup) -> None:
        setup.offer()
        assert await setup.settled(1) == {"failed": 1}

    with_candidate(Candidate(answer), test, timeout_s=0.1)


def test_a_candidate_that_is_not_there_is_counted_as_failed() -> None:
    async def main() -> None:
        setup = Setup("http://127.0.0.1:1")
        setup.traffic.start()
        setup.offer()
        assert await setup.settled(1) == {"failed": 1}
        setup.traffic.close()

    asyncio.run(main())


def test_without_compare_and_for_streams_answers_are_not_looked_at() -> None:
    async def test(setup: Setup) -> None:
        setup.offer(b"other", HEAD)
        setup.offer(None, HEAD)
        assert await setup.settled(2) == {"uncompared": 2}

    with_candidate(Candidate(), test, compare=False)


def test_a_large_answer_is_compared_by_its_bytes_only() -> None:
    large = json.dumps({"predictions": ["x" * (shadow.MAX_COMPARED_BYTES + 1)]}).encode()

    async def test(setup: Setup) -> None:
        setup.offer(large)
        assert await setup.settled(1) == {"same": 1}
        setup.offer(large[:-4] + b'y"]}')
        assert await setup.settled(2) == {"same": 1, "different": 1}

    with_candidate(Candidate(large), test)


def test_what_a_slow_candidate_does_not_take_is_dropped_and_nobody_waits() -> None:
    async def test(setup: Setup) -> None:
        began = time.perf_counter()
        for number in range(shadow.MAX_WAITING + 100):
            setup.offer(number=number)
        assert time.perf_counter() - began < 1.0
        assert setup.results() == {"dropped": 100}

    with_candidate(Candidate("hang"), test)


def test_waiting_requests_are_bounded_by_their_bytes() -> None:
    async def test(setup: Setup) -> None:
        for _ in range(5):
            setup.offer(body=b"x" * (shadow.MAX_WAITING_BYTES // 4))
        assert setup.results() == {"dropped": 2}

    with_candidate(Candidate("hang"), test)


def test_the_sample_is_the_same_for_all_of_a_trace() -> None:
    traffic = Setup("http://a", sample=0.3).traffic
    traces = [b"00-%032x-%016x-01" % (number, number) for number in range(1000)]
    wanted = [traffic.is_wanted({b"traceparent": trace}, b"any") for trace in traces]
    assert 200 < sum(wanted) < 400
    assert wanted == [traffic.is_wanted({b"traceparent": trace}, b"other") for trace in traces]


def test_a_shadow_is_not_sent_on() -> None:
    assert not Setup("http://a", sample=1.0).traffic.is_wanted({b"x-kfunc-shadow": b"1"}, b"any")


def test_the_loggers_process_says_where_a_candidate_differs(tmp_path: Path, upstream: int) -> None:
    async def main() -> tuple[str, list[Any]]:
        candidate = Candidate(b'{"n":-1}')
        server = await asyncio.start_server(candidate, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        said = await asyncio.to_thread(call_through, url, tmp_path, upstream)
        server.close()
        for writer in candidate.writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)
        return said, candidate.requests

    said, requests = asyncio.run(main())
    assert "of /v2/models/m/infer: differs in n: 0 became -1" in said
    assert len(requests) == 5


def call_through(candidate: str, folder: Path, upstream: int) -> str:
    """Five calls through a logger with a shadow; what it said."""
    shadow = Shadow(to=candidate, compare=True)
    with logger(f"file:{folder}/events.jsonl", upstream, folder / "spool", shadow=shadow) as (process, port):
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        for number in range(5):
            post(connection, number)
        time.sleep(0.3)
        connection.close()
        return end(process)
