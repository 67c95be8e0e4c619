"""Both clients against a real handler, and what they learn of other servers."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kfunc.client import (
    AsyncClient,
    Client,
    ClientError,
    IndexEntry,
    InvalidAnswer,
    InvalidCall,
    NotFound,
    Refused,
    ServerMetadata,
    TimedOut,
)
from tests.client.faults import FaultServer, answer

MakeClient = Callable[..., Any]
Faulty = Callable[..., FaultServer]


def f32(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def f16(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, np.float16)


MIXED = {
    "f": f32([[0.1, -2.5]]),
    "i": np.array([2**63 - 1, -(2**63)]),
    "u": np.array([2**64 - 1], np.uint64),
    "b": np.array([True, False]),
    "s": np.array(["é", ""]),
    "zero": np.zeros((0, 3), np.int8),
    "scalar": np.float64(0.5),
}

pytestmark = pytest.mark.integration


def as_documents(arrays: Any) -> dict[str, Any]:
    return {
        name: (
            array.shape,
            [each.encode() if isinstance(each, str) else each for each in np.asarray(array).reshape(-1).tolist()],
        )
        for name, array in arrays.items()
    }


@pytest.mark.parametrize(
    "settings", [{}, {"binary": True}, {"binary": False}, {"compression": "gzip"}, {"compression": "zstd"}]
)
def test_arrays_go_there_and_back(function: str, make_client: MakeClient, settings: dict[str, Any]) -> None:
    result = make_client(function, **settings).infer(MIXED, model="echo")
    assert as_documents(result) == as_documents(MIXED)
    assert (result.model_name, result.model_version) == ("echo", "2")


def test_large_arrays_go_there_and_back_compressed(function: str, make_client: MakeClient) -> None:
    image = np.random.default_rng(1).random((1, 3, 224, 224), np.float32).round(2)
    for compression in (None, "gzip", "zstd"):
        client = make_client(function, model="echo", compression=compression)
        assert np.array_equal(client.infer({"x": image})["x"], image)


def test_float16_and_nan_go_in_binary_since_the_server_says_it_reads_it(function: str, make_client: MakeClient) -> None:
    array = f16([np.nan, np.inf, 1.5])
    assert np.array_equal(make_client(function, model="echo").infer({"x": array})["x"], array, equal_nan=True)


def test_id_version_and_outputs_are_as_asked(function: str, make_client: MakeClient) -> None:
    client = make_client(function)
    result = client.infer(MIXED, model="echo", version="1", outputs=["b"], id="seven", headers={"x-request-id": "r-1"})
    assert (list(result), result.id, result.model_version, result.request_id) == (["b"], "seven", "1", "r-1")
    assert result.server_timing.keys() == {"queue", "compute"}


def test_lists_get_the_datatypes_of_the_model(function: str, make_client: MakeClient) -> None:
    result = make_client(function).infer({"x": [[1, 2]], "s": ["a"]}, model="typed")
    assert (result["x"].dtype, result["x"].tolist(), result["s"].tolist()) == (np.float32, [[1.0, 2.0]], [b"a"])


def test_the_client_s_model_is_asked(function: str, make_client: MakeClient) -> None:
    assert make_client(function, model="typed").metadata().name == "typed"


def test_where_there_are_several_models_one_must_be_named(function: str, make_client: MakeClient) -> None:
    with pytest.raises(InvalidCall, match="which model\\? The server has echo, typed; give model="):
        make_client(function).infer({"x": f32([1])})


def test_an_error_has_the_server_s_words_and_the_request_s_id(function: str, make_client: MakeClient) -> None:
    with pytest.raises(Refused, match=r"400 Bad Request: input 'x': shape \[-1, 2\] expected") as caught:
        make_client(function).infer({"x": f32([[1]]), "s": ["a"]}, model="typed")
    assert caught.value.status == 400
    assert caught.value.request_id


@pytest.mark.parametrize("settings", [{"model": "nowhere"}, {"model": "echo", "version": "9"}, {"model": "a/b c"}])
def test_a_model_that_is_not_there_is_not_found(function: str, make_client: MakeClient, settings: dict[str, str]) -> None:
    with pytest.raises(NotFound, match="404 Not Found"):
        make_client(function).infer({"x": f32([1])}, **settings)


def test_v1_predicts_rows_and_columns(function: str, make_client: MakeClient) -> None:
    client = make_client(function)
    assert client.predict(f32([[1, 2], [3, 4]]), model="echo").predictions == [[1.0, 2.0], [3.0, 4.0]]
    named = client.predict({"x": f32([[1, 2]]), "s": np.array([b"\xff"], object)}, model="typed", version="1")
    assert named.predictions == [{"x": [1.0, 2.0], "s": {"b64": "/w=="}}]
    assert named.outputs["x"].tolist() == [[1.0, 2.0]]
    assert named.request_id


def test_v1_explains(function: str, make_client: MakeClient) -> None:
    explanation = make_client(function, model="echo").explain([{"x": [1, 2]}])
    assert explanation.explanations == [[1, 2]]


def test_the_server_tells_of_itself_and_its_models(function: str, make_client: MakeClient) -> None:
    client = make_client(function)
    server = client.server_metadata()
    assert (server.name, "binary_tensor_data" in server.extensions) == ("kfunc", True)
    assert client.models() == ["echo", "typed"]
    assert [(spec.name, spec.datatype, list(spec.shape)) for spec in client.metadata("typed").inputs] == [
        ("x", "FP32", [-1, 2]),
        ("s", "BYTES", [-1]),
    ]
    assert client.metadata("echo").versions == ["1", "2"]
    assert client.repository_index(only_ready=True)[0] == IndexEntry("echo", "1", "READY", "")
    assert (client.live(), client.ready(), client.ready("echo", "1")) == (True, True, True)


def test_readiness_of_a_model_that_is_not_there_is_an_error(function: str, make_client: MakeClient) -> None:
    with pytest.raises(NotFound):
        make_client(function).ready("nowhere")


# ---- readiness


def test_where_nothing_listens_nothing_is_live_or_ready(faulty: Faulty, make_client: MakeClient) -> None:
    client = make_client(faulty(b"", listening=False).url)
    assert (client.live(), client.ready()) == (False, False)


def test_waiting_ends_when_the_server_is_there_and_ready(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(503), answer(503), answer(200, b"{}"), listening=False)
    threading.Timer(0.1, server.listen).start()
    make_client(server.url).wait_ready(10)
    assert len(server.requests) == 3


def test_waiting_in_vain_says_what_the_last_answer_was(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(503, b'{"error": "the model m is loading"}', "Retry-After: 1"))
    with pytest.raises(TimedOut, match=r"not ready after 0\.3 s; the last answer: 503 Some: the model m is loading"):
        make_client(server.url).wait_ready(0.3)


def test_waiting_for_a_model_that_is_not_there_ends_at_once(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(404, b'{"error": "no"}'))
    began = time.monotonic()
    with pytest.raises(NotFound):
        make_client(server.url).wait_ready(10, "m")
    assert time.monotonic() - began < 5


# ---- other servers

INFERRED = answer(200, b'{"model_name": "m", "outputs": [{"name": "y", "shape": [1], "datatype": "FP32", "data": [1.5]}]}')
SAID = answer(200, b'{"name": "some", "version": "1", "extensions": []}')


@pytest.mark.parametrize("metadata", [SAID, answer(404, b"no"), answer(405), answer(200, b"<html>")])
def test_json_is_sent_where_binary_is_not_offered(faulty: Faulty, make_client: MakeClient, metadata: bytes) -> None:
    server = faulty(metadata, INFERRED)
    client = make_client(server.url)
    assert [client.infer({"x": f32([1])}, model="m")["y"].tolist() for _ in range(2)] == [[1.5], [1.5]]
    bodies = [json.loads(request.partition(b"POST")[2].split(b"\r\n")[-1] or b"0") for request in server.requests[1:]]
    assert bodies == [{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1.0]}]}] * 2


def test_what_the_server_offers_is_asked_for_once(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(SAID, INFERRED)
    client = make_client(server.url)
    for _ in range(3):
        client.infer({"x": f32([1])}, model="m")
    assert len(server.requests) == 4


def test_a_server_of_v1_alone_tells_its_models(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(404, b"no"), answer(200, b'{"models": ["m"]}'))
    assert make_client(server.url).models() == ["m"]


def test_a_list_of_models_that_is_none_is_an_invalid_answer(faulty: Faulty, make_client: MakeClient) -> None:
    with pytest.raises(InvalidAnswer):
        make_client(faulty(answer(200, b'{"no": []}')).url).models()


@pytest.mark.parametrize("body", [b"{}", b'{"predictions": 1}', b"[]", b""])
def test_an_answer_without_predictions_is_invalid(faulty: Faulty, make_client: MakeClient, body: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        make_client(faulty(answer(200, body)).url).predict([1], model="m")


def test_metadata_without_versions_are_read(faulty: Faulty, make_client: MakeClient) -> None:
    server = faulty(answer(200, b'{"name": "m", "platform": "p", "inputs": [], "outputs": []}'))
    assert make_client(server.url).metadata("m").versions == []


def test_a_server_that_says_little_of_itself_is_understood(faulty: Faulty, make_client: MakeClient) -> None:
    assert make_client(faulty(answer(200, b'{"name": "s"}')).url).server_metadata() == ServerMetadata("s")


# ---- arguments


@pytest.mark.parametrize("inputs", [f32([1]), [1], None])
def test_inputs_must_have_names(faulty: Faulty, make_client: MakeClient, inputs: Any) -> None:
    with pytest.raises(InvalidCall, match="a mapping of names to arrays"):
        make_client(faulty(SAID).url).infer(inputs, model="m")


@pytest.mark.parametrize("url", ["", "ftp://x", "http://x:y"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidCall):
        Client(url)


def test_an_async_client_belongs_to_one_loop(function: str) -> None:
    import asyncio

    client = AsyncClient(function)

    async def ask(*, close: bool) -> bool:
        try:
            return bool((await client.server_metadata()).name)
        finally:
            if close:
                await client.close()

    with asyncio.Runner() as first:
        assert first.run(ask(close=False))
        with pytest.raises(InvalidCall, match="another one for this loop"):
            threaded(lambda: asyncio.run(ask(close=False)))
        first.run(client.close())


def threaded(call: Callable[[], Any]) -> Any:
    """The call's result, or what it raised, from another thread."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except ClientError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    if isinstance(outcome[0], ClientError):
        raise outcome[0]
    return outcome[0]


def test_many_tasks_share_an_async_client(function: str) -> None:
    import asyncio

    async def ask_all() -> list[float]:
        async with AsyncClient(function, model="echo") as client:
            results = await asyncio.gather(*[client.infer({"x": f32([index])}) for index in range(50)])
        return [float(result["x"][0]) for result in results]

    assert asyncio.run(ask_all()) == list(range(50))


def test_importing_the_client_imports_neither_arrays_nor_event_loops_and_opens_nothing() -> None:
    code = "import sys; before = set(sys.modules); import kfunc.client; print(*(set(sys.modules) - before))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert {name.partition(".")[0] for name in names} & {"numpy", "aiohttp", "asyncio", "orjson", "zstandard"} == set()
