"""Every call of Triton's gRPC client (`tritonclient.grpc`, and its asyncio form) that V2 has; run by test_grpc_clients.py.

Runs in an environment of its own: `python triton_grpc_calls.py ADDRESS MANAGEMENT` prints what each call gave as
one JSON object; a refused call gives its status and message.
"""

import asyncio
import json
import queue
import sys
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

FLOWER = np.array([[6.7, 3.0, 5.2, 2.3]], np.float32)
INTEGERS = {
    f"{sign}INT{bits}": np.array([[np.iinfo(kind).min, np.iinfo(kind).max, 1]], kind)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
    for kind in (f"{sign.lower()}int{bits}",)
}
ARRAYS: dict[str, Any] = {
    "BOOL": np.array([[True, False]]),
    **INTEGERS,
    **{f"FP{bits}": np.array([[0.5, -2.0, np.inf]], f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.array([[b"flower", b"", b"\xff\x00"]], np.object_),
}


def tensor(array: Any, datatype: str, name: str = "x", client: Any = triton) -> Any:
    given = client.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def same(answer: Any, sent: Any, name: str = "x") -> bool:
    got = answer.as_numpy(name)
    return got is not None and got.shape == sent.shape and got.tolist() == sent.tolist()


def calls(client: Any, manager: Any) -> dict[str, Callable[[], Any]]:
    """The plain client's."""
    flower = tensor(FLOWER, "FP32", "input")

    def echo(datatype: str) -> bool:
        return same(client.infer("echo", [tensor(ARRAYS[datatype], datatype)]), ARRAYS[datatype])

    def halves() -> bool:
        array = np.array([[1.0, -2.5]], ml_dtypes.bfloat16)
        return same(client.infer("halves", [tensor(array, "BF16")]), array)

    def later() -> Any:
        answers: queue.Queue[Any] = queue.Queue()
        client.async_infer("iris", [flower], lambda result, error: answers.put(error or result))
        return answers.get(timeout=10).as_numpy("label").tolist()

    def large() -> bool:
        array = np.arange(3_000_000, dtype=np.int32)
        return same(client.infer("echo", [tensor(array, "INT32")], compression_algorithm="gzip"), array)

    def named() -> Any:
        answer = client.infer(
            "iris", [flower], outputs=[triton.InferRequestedOutput("label")], request_id="call-7", model_version="1"
        )
        response = answer.get_response()
        return [response.id, response.model_version, [output.name for output in response.outputs]]

    return {
        "live": client.is_server_live,
        "ready": client.is_server_ready,
        "model ready": lambda: client.is_model_ready("iris"),
        "version ready": lambda: client.is_model_ready("echo", "2"),
        "server metadata": lambda: client.get_server_metadata(as_json=True)["name"],
        "model metadata": lambda: client.get_model_metadata("iris", as_json=True)["inputs"],
        "index": lambda: sorted(each["name"] for each in client.get_model_repository_index(as_json=True)["models"]),
        "infer": named,
        "infer later": later,
        "infer, large and compressed": large,
        "infer with headers": lambda: client.infer("iris", [flower], headers={"x-tenant": "blue"}).as_numpy("label").tolist(),
        **{f"echo {datatype}": lambda datatype=datatype: echo(datatype) for datatype in ARRAYS},
        "echo BF16": halves,
        "stream": lambda: streamed(client),
        "decoupled": lambda: decoupled(client),
        "unload": lambda: manager.unload_model("halves"),
        "index, ready only": lambda: sorted({each["name"] for each in index(client)}),
        "load": lambda: manager.load_model("halves"),
        "infer after load": halves,
        "other model": lambda: client.infer("rose", [flower]),
        "other version": lambda: client.infer("iris", [flower], model_version="7"),
        "wrong shape": lambda: client.infer("iris", [tensor(FLOWER[:, :3], "FP32", "input")]),
        "load on the port of inference": lambda: client.load_model("halves"),
        "statistics": lambda: client.get_inference_statistics("iris"),
        "out of time": lambda: client.infer("slow", [tensor(FLOWER, "FP32")], client_timeout=0.3),
    }


def index(client: Any) -> Any:
    """The ready ones."""
    return [each for each in client.get_model_repository_index(as_json=True)["models"] if each.get("state") == "READY"]


def streamed(client: Any) -> Any:
    """Requests on one stream, one of them wrong."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for number in range(5):
        name = "rose" if number == 3 else "echo"
        client.async_stream_infer(name, [tensor(np.array([number]), "INT64")], request_id=str(number))
    got = [answers.get(timeout=10) for _ in range(5)]
    client.stop_stream()
    return ["refused" if error else result.as_numpy("x").tolist() for result, error in got]


def decoupled(client: Any) -> Any:
    """A model that yields, with Triton's empty answer at the end."""
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer(
        "counter", [tensor(np.array([4]), "INT64", "n")], request_id="c", enable_empty_final_response=True
    )
    values = []
    while True:
        result, error = answers.get(timeout=10)
        if error:
            return str(error)
        if result.get_response().parameters["triton_final_response"].bool_param:
            break
        values += result.as_numpy("index").tolist()
    client.stop_stream()
    return values


async def asynchronous(address: str) -> dict[str, Any]:
    """The asyncio client's."""
    async with triton_aio.InferenceServerClient(address) as client:
        flower = tensor(FLOWER, "FP32", "input", triton_aio)
        answers = await asyncio.gather(*[client.infer("iris", [flower]) for _ in range(20)])

        async def requests() -> Any:
            for number in range(3):
                yield {"model_name": "counter", "inputs": [tensor(np.array([number + 1]), "INT64", "n", triton_aio)]}

        parts = []
        async for result, error in client.stream_infer(requests()):
            parts.append(str(error) if error else result.as_numpy("index").tolist()[0])
            if len(parts) == 6:
                break
        return {
            "aio live": await client.is_server_live(),
            "aio infer": [answer.as_numpy("label").tolist() for answer in answers] == [[2]] * 20,
            "aio metadata": (await client.get_model_metadata("iris", as_json=True))["name"],
            "aio stream": parts,
        }


def answered(call: Callable[[], Any]) -> Any:
    """What a call gave, or how it was refused."""
    try:
        return call()
    except InferenceServerException as error:
        return {"status": error.status(), "message": error.message()}
    except Exception as error:  # the caller compares
        return {"raised": repr(error)}


def main(address: str, management: str) -> None:
    """One call after the other."""
    with triton.InferenceServerClient(address) as client, triton.InferenceServerClient(management) as manager:
        results = {name: answered(call) for name, call in calls(client, manager).items()}
    results |= answered(lambda: asyncio.run(asynchronous(address)))
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
