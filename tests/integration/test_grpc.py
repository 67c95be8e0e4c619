"""gRPC through a whole chain of processes, with grpcio's plain client: deadlines, cancellation, keepalive, sizes, events."""

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.conformance.serving import Served, serve
from tests.parts import program
from tests.protocol.grpc.library import ModelInferRequest, ModelInferResponse

pytestmark = pytest.mark.integration

METHOD = "/inference.GRPCInferenceService/ModelInfer"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with serve(folder) as running:
        yield running


def stub(channel: grpc.Channel) -> Any:
    return channel.unary_unary(
        METHOD, request_serializer=lambda each: each.SerializeToString(), response_deserializer=ModelInferResponse.FromString
    )


@pytest.fixture(scope="module")
def infer(served: Served) -> Iterator[Any]:
    with grpc.insecure_channel(served.address, options=OPTIONS) as channel:
        yield stub(channel)


def call(array: Any, datatype: str, model: str, name: str = "x", **more: Any) -> Any:
    request = ModelInferRequest(model_name=model, raw_input_contents=[array.tobytes()], **more)
    request.inputs.add(name=name, datatype=datatype, shape=array.shape)
    return request


FLOWER = np.array([[6.7, 3.0, 5.2, 2.3]], np.float32)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_many_threads_share_a_channel_and_get_their_own_answers(infer: Any) -> None:
    def ask(index: int) -> bool:
        row = np.full((1, 4), index, np.float32)
        return bool(infer(call(row, "FP32", "echo", id=str(index))).raw_output_contents[0] == row.tobytes())

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(ask, range(400)))


def calls_upstream(served: Served) -> tuple[float, float]:
    """The batcher's calls so far, and the requests in them."""
    with urllib.request.urlopen(f"http://{served.batcher}/metrics") as response:
        lines = response.read().decode().splitlines()
    count, total = (
        sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"kfunc_batch_size_{name}{{"))
        for name in ("count", "sum")
    )
    return count, total


def test_calls_at_once_are_merged_and_each_gets_its_own_rows(served: Served, infer: Any) -> None:
    flowers = np.random.default_rng(1).uniform(0.1, 8, (20, 1, 4)).astype(np.float32)
    alone = [infer(call(flower, "FP32", "iris", "input")).raw_output_contents for flower in flowers]
    calls, requests = calls_upstream(served)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda index: infer(call(flowers[index % 20], "FP32", "iris", "input")), range(400)))
    for index, answer in enumerate(answers):
        (labels, scores), (label, score) = answer.raw_output_contents, alone[index % 20]
        assert labels == label
        np.testing.assert_allclose(np.frombuffer(scores, np.float32), np.frombuffer(score, np.float32), rtol=1e-4)
    eventually(lambda: calls_upstream(served)[1] == requests + 400)
    assert calls_upstream(served)[0] < calls + 400


def test_a_large_message_passes_both_ways(infer: Any) -> None:
    array = np.random.default_rng(1).random(4_000_000)
    assert infer(call(array, "FP64", "echo"), timeout=60).raw_output_contents[0] == array.tobytes()


def test_a_message_over_the_limit_is_refused_while_it_is_sent(infer: Any) -> None:
    array = np.zeros(70 * 1024 * 1024, np.uint8)
    with pytest.raises(grpc.RpcError) as caught:
        infer(call(array, "UINT8", "echo"), timeout=60)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_deadline_ends_what_waits_for_the_model(served: Served, infer: Any) -> None:
    """Calls of this model take 1.5 s, one after the other: the second one's time is over before its turn."""
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(infer, call(FLOWER, "FP32", "slow"), timeout=20)
        time.sleep(0.3)
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            infer(call(FLOWER, "FP32", "slow"), timeout=0.5)
        assert time.monotonic() - began < 1.2
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert first.result().model_name == "slow"
    began = time.monotonic()
    infer(call(FLOWER, "FP32", "slow"), timeout=20)
    assert time.monotonic() - began < 2.5  # the one that was late did not run


def test_a_cancelled_call_frees_its_place(infer: Any) -> None:
    running = infer.future(call(FLOWER, "FP32", "slow"), timeout=20)
    waiting = [infer.future(call(FLOWER, "FP32", "slow"), timeout=20) for _ in range(5)]
    time.sleep(0.3)
    for each in waiting:
        assert each.cancel()
    assert running.result().model_name == "slow"
    began = time.monotonic()
    infer(call(FLOWER, "FP32", "slow"), timeout=20)
    assert time.monotonic() - began < 2.5


def test_keepalive_pings_keep_an_idle_channel(served: Served) -> None:
    options = [
        ("grpc.keepalive_time_ms", 200),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    states: list[Any] = []
    with grpc.insecure_channel(served.address, options=options) as channel:
        ask = stub(channel)
        ask(call(FLOWER, "FP32", "iris", "input"))
        channel.subscribe(states.append)
        time.sleep(2)
        ask(call(FLOWER, "FP32", "iris", "input"))
    assert grpc.ChannelConnectivity.TRANSIENT_FAILURE not in states


def test_an_event_has_the_status_of_the_call(folder: Path, served: Served, infer: Any) -> None:
    infer(call(FLOWER, "FP32", "iris", "input"), metadata=(("x-request-id", "good-call"),))
    with pytest.raises(grpc.RpcError):
        infer(call(FLOWER.astype(np.float64), "FP64", "iris", "input"), metadata=(("x-request-id", "bad-call"),))
    with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary(METHOD)(b"\xff", metadata=(("x-request-id", "broken-call"),))

    def events() -> dict[str, Any]:
        lines = [json.loads(line) for line in (folder / ".kfunc/events.jsonl").read_text().splitlines()]
        return {line["correlationid"]: line for line in lines if line["type"].endswith("response")}

    eventually(lambda: {"good-call", "bad-call", "broken-call"} <= events().keys())
    good, bad, broken = (events()[name] for name in ("good-call", "bad-call", "broken-call"))
    assert (good["endpoint"], good["statuscode"], good["grpcstatus"]) == ("/v2/models/iris/infer", 200, 0)
    assert (bad["endpoint"], bad["statuscode"], bad["grpcstatus"]) == ("/v2/models/iris/infer", 400, 3)
    assert (broken["endpoint"], broken["statuscode"], broken["grpcstatus"]) == (METHOD, 400, 3)


@pytest.mark.heavy
@pytest.mark.parametrize("more", [(), ("--connections", "8"), ("--enable-compression",)], ids=["one", "several", "compressed"])
def test_ghz_finds_the_method_by_reflection_and_every_call_is_good(served: Served, more: tuple[str, ...]) -> None:
    """Go's client, in JSON: typed contents in, typed contents out."""
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": FLOWER[0].tolist()}}
    data = json.dumps({"model_name": "iris", "inputs": [tensor]})
    options = ["--insecure", "--call", "inference.GRPCInferenceService/ModelInfer", "-d", data, "-n", "2000", "-c", "16"]
    command = [str(program("ghz")), *options, "-O", "json", *more, served.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statusCodeDistribution"] == {"OK": 2000}


def test_a_channel_survives_other_clients_that_speak_nonsense(served: Served, infer: Any) -> None:
    import socket

    host, port = served.address.split(":")

    def noise() -> None:
        for content in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100, b"\0" * 50, b"GET / HTTP/9\r\n\r\n"):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(content)

    threads = [threading.Thread(target=noise) for _ in range(10)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        infer(call(FLOWER, "FP32", "iris", "input"), timeout=10)
    for thread in threads:
        thread.join()
