"""Every call of KServe's gRPC client (`kserve.InferenceGRPCClient`), and gRPC's own reflection and health clients.

Runs in an environment of its own: `python kserve_grpc_calls.py ADDRESS` prints what each call gave as one JSON object.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput

FLOWER = np.array([[6.7, 3.0, 5.2, 2.3]], np.float32)
ARRAYS: dict[str, Any] = {
    "BOOL": np.array([[True, False]]),
    **{f"{sign}INT{bits}": np.array([[1, 100]], f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.array([[0.5, -2.0]], f"float{bits}") for bits in (16, 32, 64)},
    "BYTES": np.array([[b"flower", b""]], np.object_),
}


def request(array: Any, datatype: str, *, binary: bool, model: str = "echo", name: str = "x", **more: Any) -> InferRequest:
    """One tensor."""
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [given], **more)


async def echoed(client: InferenceGRPCClient, datatype: str, *, binary: bool) -> Any:
    """The values of the one output."""
    (output,) = (await client.infer(request(ARRAYS[datatype], datatype, binary=binary))).outputs
    values = output.as_numpy().ravel().tolist()
    return [output.datatype, list(output.shape), [each.decode() if isinstance(each, bytes) else each for each in values]]


def calls(client: InferenceGRPCClient) -> dict[str, Callable[[], Awaitable[Any]]]:
    """What the client has."""
    flower = request(FLOWER, "FP32", binary=False, model="iris", name="input", request_id="call-7")
    one = [RequestedOutput("label")]

    async def infer() -> Any:
        answer = await client.infer(flower)
        return [answer.model_name, answer.id, [output.name for output in answer.outputs]]

    async def one_output() -> Any:
        asked = request(FLOWER, "FP32", binary=True, model="iris", name="input", request_outputs=one)
        return [[output.name, output.as_numpy().tolist()] for output in (await client.infer(asked)).outputs]

    found: dict[str, Callable[[], Awaitable[Any]]] = {
        "live": client.is_server_live,
        "ready": client.is_server_ready,
        "model ready": lambda: client.is_model_ready("iris"),
        "infer": infer,
        "infer, one output": one_output,
        "other model": lambda: client.infer(request(FLOWER, "FP32", binary=False, model="rose")),
        "wrong shape": lambda: client.infer(request(FLOWER[:, :3], "FP32", binary=True, model="iris", name="input")),
    }
    for datatype in ARRAYS:
        for binary in (True, False):
            if binary or datatype != "FP16":
                name = f"{datatype} {'raw' if binary else 'typed'}"
                found[name] = lambda datatype=datatype, binary=binary: echoed(client, datatype, binary=binary)  # type: ignore[misc]
    return found


async def answered(call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call gave, or how it was refused."""
    try:
        return await call()
    except grpc.aio.AioRpcError as error:
        return {"code": error.code().name, "details": error.details()}
    except Exception as error:  # the caller compares
        return {"raised": repr(error)}


def standard(address: str) -> dict[str, Any]:
    """gRPC's own services."""
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        database = ProtoReflectionDescriptorDatabase(channel)
        file = database.FindFileContainingSymbol("inference.GRPCInferenceService")
        watched = health.Watch(health_pb2.HealthCheckRequest(), timeout=10)
        first = next(iter(watched)).status
        watched.cancel()
        return {
            "health": health.Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")).status,
            "watched health": first,
            "services": sorted(database.get_services()),
            "methods": [method.name for method in file.service[0].method],
        }


async def main(address: str) -> None:
    """One call after the other."""
    client = InferenceGRPCClient(address, timeout=10)
    results = {name: await answered(call) for name, call in calls(client).items()}
    await client.close()
    print(json.dumps(results | standard(address)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
