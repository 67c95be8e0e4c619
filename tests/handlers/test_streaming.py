"""Handlers that yield, and the answers in parts that become of it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.pod import PodConfig
from kfunc.errors import KfuncError, Unavailable
from kfunc.handlers.application import Application
from kfunc.handlers.isolated_parts import PartsUnderWay
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.http.exchange import Exchange
from kfunc.protocol.parts import PartReader
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

STREAM = b"/v2/models/iris/infer_stream"
REQUEST = {"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [3]}]}
COUNT = "def predict(n):\n    for index in range(n[0]):\n        yield n * 0 + index\n"
COUNT_ASYNC = """
import asyncio
async def predict(n):
    for index in range(n[0]):
        await asyncio.sleep(0)
        yield {"index": n * 0 + index}
"""
STEPS = """
import kfunc
class Steps(kfunc.Handler):
    async def preprocess(self, inputs):
        return {"n": inputs["x"] + 1}
    def predict(self, inputs):
        for index in range(inputs["n"][0]):
            yield {"y": inputs["n"] * 0 + index}
    def postprocess(self, outputs):
        return {"doubled": outputs["y"] * 2}
"""


class Kept:
    """A transmitter that keeps what it is given, and when it was."""

    def __init__(self) -> None:
        self.lines = b""
        self.chunks: list[bytes] = []
        self.times: list[float] = []
        self.ended = False

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        self.send_head(exchange, lines, len(body))
        self.send_chunk(exchange, body)
        self.send_end(exchange)

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None:
        self.lines = lines

    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.times.append(time.monotonic())

    def send_end(self, exchange: Exchange) -> None:
        self.ended = exchange.cancelled = True

    def reset(self, exchange: Exchange) -> None:
        raise AssertionError("broken off")

    def hold(self, exchange: Exchange, paused: bool) -> None: ...


class Streamer:
    """Asks for streams as a server does."""

    def __init__(self, config: PodConfig) -> None:
        self.handler = load_handler(config)
        self.model = LoadedModel(config, self.handler)
        self.application = Application(config, RequestRecorder(Metrics("handler"), access_log=False))
        self.application.serve(self.model)

    def begin(self, request: Any = REQUEST, target: bytes = STREAM, **headers: str) -> tuple[Exchange, Kept]:
        kept = Kept()
        fields = {name.encode(): value.encode() for name, value in headers.items()}
        exchange = Exchange(kept, b"POST", target, list(fields.items()), fields, True)
        exchange.body, exchange.complete = json.dumps(request).encode(), True
        try:
            self.application.handle(exchange)
        except KfuncError as error:
            exchange.fail(error)
        return exchange, kept

    def ask(self, request: Any = REQUEST, target: bytes = STREAM, **headers: str) -> tuple[int, Kept]:
        async def run() -> tuple[int, Kept]:
            exchange, kept = self.begin(request, target, **headers)
            while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
                await asyncio.wait(waiting)
            return exchange.status, kept

        return asyncio.run(run())


@pytest.fixture
def streamer(tmp_path: Path, configured: Callable[..., PodConfig]) -> Iterator[Callable[..., Streamer]]:
    made: list[Streamer] = []

    def make(text: str, **changes: Any) -> Streamer:
        (tmp_path / "handler.py").write_text(text)
        made.append(Streamer(configured(str(tmp_path), "python", **changes)))
        return made[-1]

    yield make
    for each in made:
        each.model.close()


def data(kept: Kept) -> list[Any]:
    return [json.loads(line)["outputs"][0]["data"] for line in b"".join(kept.chunks).splitlines()]


@pytest.mark.parametrize(("text", "name"), [(COUNT, "output-0"), (COUNT_ASYNC, "index")], ids=["plain", "async"])
def test_each_part_that_is_yielded_is_a_line(streamer: Callable[..., Streamer], text: str, name: str) -> None:
    status, kept = streamer(text).ask()
    assert (status, data(kept), kept.ended) == (200, [[0], [1], [2]], True)
    assert json.loads(kept.chunks[0])["outputs"][0]["name"] == name
    assert b"content-type: application/x-ndjson\r\n" in kept.lines


def test_all_steps_of_a_handler_take_part(streamer: Callable[..., Streamer]) -> None:
    assert data(streamer(STEPS).ask()[1]) == [[0], [2], [4], [6]]


def test_a_part_goes_when_it_is_there(streamer: Callable[..., Streamer]) -> None:
    text = "import time\ndef predict(n):\n    yield n\n    time.sleep(0.3)\n    yield n\n"
    first, second = streamer(text).ask()[1].times
    assert second - first > 0.2


SLOW = "import time\ndef predict(n):\n    for index in range(3):\n        time.sleep(0.05)\n        yield n\n"
SLOW_ASYNC = SLOW.replace("time.sleep", "await asyncio.sleep").replace("import time\ndef", "import asyncio\nasync def")
SLOW_AFTER = """
import time, kfunc
class Steps(kfunc.Handler):
    def predict(self, inputs):
        for index in range(3):
            yield {"y": inputs["x"]}
    async def postprocess(self, outputs):
        time.sleep(0.05)
        return outputs
"""


@pytest.mark.parametrize("text", [SLOW, SLOW_ASYNC, SLOW_AFTER], ids=["plain", "async", "steps"])
def test_the_models_time_is_that_of_all_parts(streamer: Callable[..., Streamer], text: str) -> None:
    async def run() -> Exchange:
        exchange, _ = streamer(text).begin()
        exchange.started_at = time.perf_counter()
        while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(waiting)
        return exchange

    exchange = asyncio.run(run())
    assert 0.15 <= exchange.compute_s < 0.5
    assert 0 <= exchange.compute_at - exchange.started_at < 0.05


def test_a_model_that_answers_at_once_gives_one_part(streamer: Callable[..., Streamer]) -> None:
    assert data(streamer("def predict(n): return n").ask()[1]) == [[3]]


def test_server_sent_events_for_those_who_take_them(streamer: Callable[..., Streamer]) -> None:
    _, kept = streamer(COUNT).ask(accept="text/event-stream")
    assert [chunk[:6] + chunk[-2:] for chunk in kept.chunks] == [b"data: \n\n"] * 3


def test_parts_in_binary_for_programs(streamer: Callable[..., Streamer]) -> None:
    _, kept = streamer(COUNT).ask({**REQUEST, "parameters": {"binary_data_output": True}}, accept="application/vnd.kfunc.parts")
    parts = PartReader().feed(b"".join(kept.chunks))
    assert [body[length:] for body, length in parts] == [index.to_bytes(8, "little") for index in range(3)]


def test_text_carries_no_binary_tensors(streamer: Callable[..., Streamer]) -> None:
    status, kept = streamer(COUNT).ask({**REQUEST, "parameters": {"binary_data_output": True}})
    assert status == 400
    assert b"application/vnd.kfunc.parts" in kept.chunks[0]


def test_an_error_before_the_first_part_is_the_answer(streamer: Callable[..., Streamer]) -> None:
    text = "from kfunc.errors import InvalidRequest\ndef predict(n):\n    raise InvalidRequest('too many')\n    yield n\n"
    status, kept = streamer(text).ask()
    assert (status, kept.chunks) == (400, [b'{"error":"too many"}'])


def test_an_error_behind_parts_is_the_last_of_them(streamer: Callable[..., Streamer]) -> None:
    status, kept = streamer("def predict(n):\n    yield n\n    raise KeyError('/secret')\n").ask()
    assert (status, kept.ended) == (200, True)
    assert kept.chunks[-1] == b'{"error":"the model failed; the log of the handler says more"}\n'


def test_one_answer_is_not_had_of_a_model_that_yields(streamer: Callable[..., Streamer]) -> None:
    status, kept = streamer(COUNT).ask(target=b"/v2/models/iris/infer")
    assert status == 400
    assert b"ModelStreamInfer" in kept.chunks[0]


@pytest.mark.parametrize("text", ["import time\ndef predict(n):\n    yield n\n    time.sleep(1)\n    yield n\n"])
def test_the_time_limit_is_for_each_part(streamer: Callable[..., Streamer], text: str) -> None:
    _, kept = streamer(text, timeout_s=0.2).ask()
    assert b"did not answer in time" in kept.chunks[-1]


@pytest.mark.parametrize("execution", ["auto", pytest.param("process", marks=pytest.mark.integration)])
@pytest.mark.parametrize(
    "text",
    [
        "import pathlib, time\ndef predict(n):\n    try:\n        while True:\n            time.sleep(0.01)\n"
        "            yield n\n"
        "    finally:\n        pathlib.Path({!r}).touch()\n",
        "import asyncio, pathlib\nasync def predict(n):\n    try:\n        while True:\n            await asyncio.sleep(0.01)\n"
        "            yield n\n    finally:\n        pathlib.Path({!r}).touch()\n",
    ],
    ids=["plain", "async"],
)
def test_a_stream_that_nobody_reads_is_closed(
    streamer: Callable[..., Streamer], tmp_path: Path, text: str, execution: str
) -> None:
    closed = tmp_path / "closed"
    asking = streamer(text.format(str(closed)), execution=execution)

    async def run() -> None:
        exchange, kept = asking.begin()
        while len(kept.chunks) < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        exchange.cancel()
        for _ in range(200):
            if closed.exists():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the generator was not closed")

    asyncio.run(run())


def test_a_slow_reader_holds_the_model_up(streamer: Callable[..., Streamer]) -> None:
    async def run() -> None:
        exchange, kept = streamer(COUNT).begin()
        await asyncio.sleep(0)
        press = exchange.on_pressure
        assert press is not None
        press(True)
        await asyncio.sleep(0.1)
        assert kept.chunks == []
        press(False)
        while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(waiting)
        assert len(kept.chunks) == 3

    asyncio.run(run())


# ---- in a worker process

BOTH = """
import os
class Both:
    def predict(self, n):
        return n * 10
    def predict_stream(self, n):
        for index in range(n[0]):
            yield n * 0 + index
"""


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (COUNT, [[0], [1], [2]]),
        (COUNT_ASYNC, [[0], [1], [2]]),
        (STEPS, [[0], [2], [4], [6]]),
        (BOTH, [[0], [1], [2]]),
        ("def predict(n): return n", [[3]]),
    ],
    ids=["plain", "async", "steps", "both", "at once"],
)
def test_a_model_in_a_worker_process_answers_in_its_parts(
    streamer: Callable[..., Streamer], text: str, parts: list[Any]
) -> None:
    asking = streamer(text, execution="process")
    assert [data(asking.ask()[1]) for _ in range(2)] == [parts, parts]


@pytest.mark.integration
def test_one_answer_and_parts_are_had_of_the_same_model_in_a_worker_process(streamer: Callable[..., Streamer]) -> None:
    asking = streamer(BOTH, execution="process")
    assert data(asking.ask(target=b"/v2/models/iris/infer")[1]) == [[30]]
    assert streamer(COUNT, execution="process").ask(target=b"/v2/models/iris/infer")[0] == 400


@pytest.mark.integration
def test_answers_in_parts_of_a_worker_process_go_on_side_by_side(streamer: Callable[..., Streamer]) -> None:
    text = "import time\ndef predict(n):\n    for index in range(4):\n        time.sleep(0.02)\n        yield n\n"
    asking = streamer(text, execution="process")

    async def run() -> tuple[Kept, Kept]:
        first, second = asking.begin()[1], asking.begin()[1]
        while waiting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(waiting)
        return first, second

    first, second = asyncio.run(run())
    assert (len(first.chunks), len(second.chunks)) == (4, 4)
    assert second.times[0] < first.times[-1]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("text", "status", "last"),
    [
        (
            "from kfunc.errors import InvalidRequest\ndef predict(n):\n    raise InvalidRequest('too many')\n    yield n\n",
            400,
            b"too many",
        ),
        ("def predict(n):\n    yield n\n    raise KeyError('/secret')\n", 200, b"the model failed; the log"),
        ("import os\ndef predict(n):\n    yield n\n    os._exit(1)\n", 200, b"worker process died"),
    ],
)
def test_an_error_in_a_worker_process_is_the_answer_or_its_last_part(
    streamer: Callable[..., Streamer], text: str, status: int, last: bytes
) -> None:
    told, kept = streamer(text, execution="process").ask()
    assert (told, kept.ended) == (status, True)
    assert last in kept.chunks[-1]


def test_an_answer_of_a_worker_process_that_is_gone_is_not_gone_on_with(streamer: Callable[..., Streamer]) -> None:
    parts = PartsUnderWay(streamer(COUNT).handler, asyncio.run)
    with pytest.raises(Unavailable, match="was started again within this answer"):
        parts.next((1, 1))
    parts.close((1, 1))
