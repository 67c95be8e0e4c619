"""Triton's asyncio client (`tritonclient.http.aio`) against a function: the same protocol through other code."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np
import pytest
from tritonclient.http import InferInput, InferRequestedOutput
from tritonclient.http.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from tests.conformance.serving import Served
from tests.conformance.tensors import ARRAYS, AS_JSON, model_for

pytestmark = pytest.mark.integration

T = TypeVar("T")


def ask(address: str, call: Callable[[InferenceServerClient], Awaitable[T]]) -> T:
    """Run one client's calls on a loop of their own."""

    async def with_client() -> T:
        async with InferenceServerClient(address) as client:
            return await call(client)

    return asyncio.run(with_client())


def tensor(datatype: str, *, binary: bool = True) -> InferInput:
    array = ARRAYS[datatype]
    return InferInput("x", list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def test_the_server_and_its_models_are_described(served: Served) -> None:
    async def calls(client: InferenceServerClient) -> list[Any]:
        return [
            await client.is_server_live(),
            await client.is_server_ready(),
            await client.is_model_ready("echo", "1"),
            await client.is_model_ready("echo", "3"),
            (await client.get_server_metadata())["name"],
            (await client.get_model_metadata("iris"))["name"],
            len(await client.get_model_repository_index()),
        ]

    assert ask(served.address, calls) == [True, True, True, False, "kfunc", "iris", 6]


def test_a_model_is_unloaded_and_loaded_again(served: Served) -> None:
    async def calls(manager: InferenceServerClient) -> list[bool]:
        async with InferenceServerClient(served.address) as client:
            await manager.unload_model("iris")
            ready = [await client.is_model_ready("iris")]
            await manager.load_model("iris")
            return [*ready, await client.is_model_ready("iris")]

    assert ask(served.management, calls) == [False, True]


@pytest.mark.parametrize("datatype", ARRAYS)
def test_binary_tensors_come_back_as_they_went(served: Served, datatype: str) -> None:
    result = ask(served.address, lambda client: client.infer(model_for(datatype), [tensor(datatype)]))
    assert result.as_numpy("x").tolist() == ARRAYS[datatype].tolist()


@pytest.mark.parametrize("datatype", AS_JSON)
def test_json_tensors_come_back_as_they_went(served: Served, datatype: str) -> None:
    outputs = [InferRequestedOutput("x", binary_data=False)]
    result = ask(served.address, lambda client: client.infer("echo", [tensor(datatype, binary=False)], outputs=outputs))
    answered = result.as_numpy("x").tolist()
    if datatype == "BYTES":
        answered = [[each.encode() for each in row] for row in answered]
    assert answered == ARRAYS[datatype].tolist()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_bodies_are_compressed_both_ways(served: Served, coding: str) -> None:
    array = np.arange(20_000, dtype=np.float64)
    given = InferInput("x", [20_000], "FP64").set_data_from_numpy(array)

    async def call(client: InferenceServerClient) -> Any:
        return await client.infer("echo", [given], request_compression_algorithm=coding, response_compression_algorithm=coding)

    assert np.array_equal(ask(served.address, call).as_numpy("x"), array)


def test_requests_at_the_same_time_get_their_own_answers(served: Served) -> None:
    async def calls(client: InferenceServerClient) -> list[str]:
        results = await asyncio.gather(
            *(client.infer("echo", [tensor("FP32")], request_id=str(number)) for number in range(16))
        )
        return [result.get_response()["id"] for result in results]

    assert ask(served.address, calls) == [str(number) for number in range(16)]


def test_an_error_carries_its_status_and_reason(served: Served) -> None:
    with pytest.raises(InferenceServerException, match="rose") as refused:
        ask(served.address, lambda client: client.infer("rose", [tensor("FP32")]))
    assert refused.value.status() == "404"
