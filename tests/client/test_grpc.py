"""The clients over gRPC: as over REST, against a function and against servers that are none."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kfunc.client import ClientError, InvalidCall, NotConnected, NotFound, Refused, TimedOut, Unavailable
from kfunc.client.channels import STATUSES
from kfunc.protocol.grpc.status import NAMES, code_of
from tests.conformance.serving import Served, serve

pytestmark = pytest.mark.integration

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture
def client(served: Served, make_client: Make) -> Any:
    return make_client(f"grpc://{served.address}", timeout_s=20)


ARRAYS = {
    "float32": np.array([[1.5, np.nan]], np.float32),
    "float16": np.array([[0.5]], np.float16),
    "int64": np.array([[-(2**63), 2**63 - 1]]),
    "uint8": np.arange(300, dtype=np.uint8).reshape(3, 100),
    "bool": np.array([True, False]),
    "bytes": np.array([b"a", b"\xff"], np.object_),
    "empty": np.zeros((0, 4), np.float32),
    "large": np.arange(2_000_000, dtype=np.float64),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_come_back_as_they_went(client: Any, name: str) -> None:
    result = client.infer({"x": ARRAYS[name]}, model="echo", id="7")
    np.testing.assert_array_equal(result["x"], ARRAYS[name])
    assert (result.model_name, result.model_version, result.id) == ("echo", "2", "7")


def test_lists_get_the_model_s_datatype_and_results_tell_of_the_call(client: Any) -> None:
    result = client.infer({"input": [[5.1, 3.5, 1.4, 0.2]]}, model="iris", outputs=["label"], headers={"x-request-id": "r7"})
    assert (list(result), result["label"].tolist(), result.request_id) == (["label"], [0], "r7")
    assert "compute" in result.server_timing or "batch" in result.server_timing


def test_what_there_is_can_be_asked(client: Any) -> None:
    assert client.live()
    assert client.ready()
    assert client.ready("iris")
    client.wait_ready(5, "echo")
    assert client.server_metadata().name == "kfunc"
    assert client.metadata("iris").inputs[0].shape == [-1, 4]
    assert client.models() == ["counter", "echo", "halves", "iris", "slow"]
    assert {entry.state for entry in client.repository_index(only_ready=True)} == {"READY"}


def test_refusals_are_rest_s(client: Any) -> None:
    with pytest.raises(NotFound, match="404 NOT_FOUND: no model 'rose' here") as caught:
        client.infer({"x": np.zeros(1)}, model="rose")
    assert caught.value.request_id
    with pytest.raises(NotFound):
        client.ready("rose")
    with pytest.raises(Refused, match="400 INVALID_ARGUMENT: input 'input': datatype FP32 expected"):
        client.infer({"input": np.zeros((1, 4))}, model="iris")
    with pytest.raises(InvalidCall, match="which model"):
        client.infer({"x": np.zeros(1)})


def test_v1_has_no_grpc(client: Any) -> None:
    for call in (client.predict, client.explain):
        with pytest.raises(InvalidCall, match="V1 has no gRPC"):
            call([[1.0]], model="echo")


def test_time_runs_out(client: Any) -> None:
    with pytest.raises(ClientError) as caught:
        client.infer({"x": np.zeros(1)}, model="slow", timeout_s=0.3)
    assert isinstance(caught.value, TimedOut) or caught.value.status == 504


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_messages_may_be_compressed(served: Served, make_client: Make, compression: str) -> None:
    client = make_client(f"grpc://{served.address}", compression=compression)
    array = np.zeros(10_000)
    assert client.infer({"x": array}, model="echo")["x"].shape == array.shape


def test_a_server_that_is_not_there_is_tried_again_and_told(make_client: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = make_client(f"grpc://127.0.0.1:{port}", retries=1, timeout_s=5)
    assert not client.live()
    with pytest.raises(NotConnected, match="cannot connect to grpc://"):
        client.infer({"x": np.zeros(1)}, model="m")
    with pytest.raises(TimedOut, match="not ready after"):
        client.wait_ready(0.3)


@pytest.mark.parametrize(
    ("url", "more", "words"),
    [
        ("grpc://a/path", {}, "has a path"),
        ("grpc://a", {"compression": "zstd"}, "gzip or deflate, not zstd"),
        ("http+grpc://a", {}, "is not a URL"),
    ],
)
def test_what_cannot_be_is_said_at_once(make_client: Make, url: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidCall, match=words):
        make_client(url, **more)


def test_a_stream_over_rest_is_refused(served: Served) -> None:
    from kfunc.client import Client

    with Client(served.url) as client, pytest.raises(InvalidCall, match="grpc://"):
        next(client.stream({"n": np.array([2])}, model="counter"))


def test_parts_come_one_by_one(served: Served) -> None:
    from kfunc.client import Client

    with Client(f"grpc://{served.address}") as client:
        parts = [part["index"].tolist() for part in client.stream({"n": np.array([3])}, model="counter")]
        assert parts == [[0], [1], [2]]
        with pytest.raises(ClientError, match="no model 'rose'"):
            next(client.stream({"n": np.array([3])}, model="rose"))


def test_parts_come_to_the_asyncio_client_too(served: Served) -> None:
    import asyncio

    from kfunc.client import AsyncClient

    async def run() -> list[Any]:
        async with AsyncClient(f"grpc://{served.address}") as client:
            return [part["index"].tolist() async for part in client.stream({"n": np.array([3])}, model="counter")]

    assert asyncio.run(run()) == [[0], [1], [2]]


def test_statuses_and_codes_are_one_another() -> None:
    for status in (400, 401, 403, 404, 499, 501, 503, 504):
        assert STATUSES[NAMES[code_of(status)]] == status


def test_a_busy_server_is_asked_again_as_it_wishes(tmp_path: Path, make_client: Make) -> None:
    import asyncio
    import threading

    from kfunc.errors import Unavailable as Busy
    from tests.grpc.served import Rest, echo, fails, serving

    answers = iter([fails(Busy("busy")), fails(Busy("busy")), echo])
    rest = Rest({"/v2/models/m/infer": lambda exchange: next(answers)(exchange)})
    started, port, loop = threading.Event(), [0], asyncio.new_event_loop()

    async def run() -> None:
        async with serving(rest) as port[0]:
            started.set()
            await asyncio.sleep(20)

    task = loop.create_task(run())
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([task])))
    thread.start()
    started.wait(5)
    try:
        client = make_client(f"grpc://127.0.0.1:{port[0]}", retries=1)
        with pytest.raises(Unavailable, match="503 UNAVAILABLE: busy"):
            client.infer({"x": np.zeros(1)}, model="m")
        assert client.infer({"x": np.zeros(1)}, model="m")["x"].tolist() == [0.0]
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(5)
        loop.close()
