"""Every call of KServe's REST client (`kserve.InferenceRESTClient`) for V1 and V2; run by test_kserve_client.py.

Runs in an environment of its own (constraints/conformance.txt): `python kserve_calls.py URL` prints what each
call gave as one JSON object; a refused call gives its status and reason.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

FLOWER = np.array([[6.7, 3.0, 5.2, 2.3]], np.float32)
ARRAYS = {
    "BOOL": np.array([[True, False]]),
    **{f"{sign}INT{bits}": np.array([[1, 100]], f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.array([[0.5, -2.0]], f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.array([[b"flower", b""]], np.object_),
}
ONLY_BINARY = ("FP16",)

Call = Callable[[], Awaitable[Any]]


def request(array: Any, datatype: str, *, binary: bool, answer_binary: bool, name: str = "x", **more: Any) -> InferRequest:
    """One tensor, and the form that the answer shall have."""
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return InferRequest("echo", [given], parameters={"binary_data_output": answer_binary}, **more)


async def echoed(client: InferenceRESTClient, url: str, sent: InferRequest) -> dict[str, Any]:
    """The one output of an answer."""
    answer = await client.infer(url, sent, model_name="echo")
    (output,) = answer.outputs
    values = [each.decode() if isinstance(each, bytes) else each for each in output.as_numpy().ravel().tolist()]
    return {"name": output.name, "datatype": output.datatype, "shape": output.shape, "data": values}


def v1_calls(client: InferenceRESTClient, url: str) -> dict[str, Call]:
    """What the client has for V1."""
    rows = {"instances": FLOWER.tolist()}

    async def headers() -> Any:
        found: dict[str, str] = {}
        await client.infer(url, rows, model_name="iris", headers={"x-request-id": "call-7"}, response_headers=found)
        return found["x-request-id"]

    return {
        "v1 live": lambda: client.is_server_live(url),
        "v1 model ready": lambda: client.is_model_ready(url, "iris"),
        "v1 other model ready": lambda: client.is_model_ready(url, "rose"),
        "v1 predict": lambda: client.infer(url, rows, model_name="iris"),
        "v1 predict, other model": lambda: client.infer(url, rows, model_name="rose"),
        "v1 predict, wrong rows": lambda: client.infer(url, {"instances": 1}, model_name="iris"),
        "v1 predict by the full address": lambda: client.infer(f"{url}/v1/models/iris:predict", rows, is_graph_endpoint=True),
        "v1 explain": lambda: client.explain(url, "echo", {"instances": [[1.0, 2.0]]}),
        "v1 explain, none there": lambda: client.explain(url, "iris", rows),
        "v1 request id": headers,
    }


def v2_calls(client: InferenceRESTClient, url: str) -> dict[str, Call]:
    """What the client has for V2."""

    async def version() -> Any:
        answer = await client.infer(url, flower, model_name="iris")
        return [answer.model_name, answer.id, [output.name for output in answer.outputs]]

    async def one_output() -> Any:
        wanted = [RequestedOutput("label", {"binary_data": True})]
        asked = request(FLOWER, "FP32", binary=True, answer_binary=False, name="input", request_outputs=wanted)
        answer = await client.infer(url, asked, model_name="iris")
        return [[output.name, output.as_numpy().tolist()] for output in answer.outputs]

    async def large() -> Any:
        array = np.arange(200_000, dtype=np.int32)
        answer = await client.infer(url, request(array, "INT32", binary=True, answer_binary=True), model_name="echo")
        return bool(np.array_equal(answer.outputs[0].as_numpy(), array))

    flower = request(FLOWER, "FP32", binary=False, answer_binary=False, name="input", request_id="call-7")
    plain = {"inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": FLOWER.ravel().tolist()}]}
    wrong = request(FLOWER[:, :3], "FP32", binary=True, answer_binary=True, name="input")
    calls: dict[str, Call] = {
        "v2 live": lambda: client.is_server_live(url),
        "v2 ready": lambda: client.is_server_ready(url),
        "v2 model ready": lambda: client.is_model_ready(url, "iris"),
        "v2 other model ready": lambda: client.is_model_ready(url, "rose"),
        "v2 infer": version,
        "v2 infer, one output": one_output,
        "v2 infer, a dict": lambda: _names(client.infer(url, plain, model_name="iris")),
        "v2 infer, large": large,
        "v2 infer, other model": lambda: client.infer(url, flower, model_name="rose"),
        "v2 infer, wrong shape": lambda: client.infer(url, wrong, model_name="iris"),
    }
    for datatype, array in ARRAYS.items():
        for binary in (True, False):
            for answer_binary in (True, False):
                if datatype not in ONLY_BINARY or (binary and answer_binary):
                    sent = request(array, datatype, binary=binary, answer_binary=answer_binary)
                    name = f"v2 {datatype} {_form(binary)} {_form(answer_binary)}"
                    calls[name] = lambda sent=sent: echoed(client, url, sent)  # type: ignore[misc]
    return calls


def _form(binary: bool) -> str:
    return "binary" if binary else "json"


async def _names(call: Awaitable[Any]) -> list[str]:
    return [output.name for output in (await call).outputs]


async def answered(call: Call) -> Any:
    """What a call gave, or how it was refused."""
    try:
        return await call()
    except httpx.HTTPStatusError as error:
        return {"status": error.response.status_code, "reason": str(error)}
    except Exception as error:  # the caller compares
        return {"raised": repr(error)}


async def main(url: str) -> None:
    """One call after the other."""
    results: dict[str, Any] = {}
    for protocol, calls in (("v1", v1_calls), ("v2", v2_calls)):
        async with InferenceRESTClient(RESTConfig(protocol=protocol)) as client:
            for name, call in calls(client, url).items():
                results[name] = await answered(call)
    print(json.dumps(results))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
