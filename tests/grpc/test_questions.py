"""The methods that ask REST's questions: health, metadata, the repository."""

import asyncio
from typing import Any

import pytest

from kfunc.errors import Unavailable
from tests.grpc.served import Rest, fails, refused, says, served
from tests.protocol.grpc.library import message

pytestmark = pytest.mark.integration

SPEC = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
QUESTIONS: list[tuple[str, dict[str, Any], str, Any, dict[str, Any]]] = [
    ("ServerLive", {}, "/v2/health/live", {"live": True}, {"live": True}),
    ("ServerReady", {}, "/v2/health/ready", {"ready": True}, {"ready": True}),
    ("ModelReady", {"name": "m"}, "/v2/models/m/ready", {"ready": True}, {"ready": True}),
    ("ModelReady", {"name": "a/b", "version": "2"}, "/v2/models/a%2Fb/versions/2/ready", {"ready": True}, {"ready": True}),
    ("ServerMetadata", {}, "/v2", {"name": "k", "version": "1", "extensions": []}, {"name": "k", "version": "1"}),
    (
        "ModelMetadata",
        {"name": "m"},
        "/v2/models/m",
        {"name": "m", "versions": ["1"], "platform": "p", "inputs": [SPEC], "outputs": []},
        {"name": "m", "versions": ["1"], "platform": "p", "inputs": [SPEC]},
    ),
    (
        "RepositoryIndex",
        {"ready": True},
        "/v2/repository/index",
        [{"name": "m", "version": "1", "state": "READY", "reason": ""}],
        {"models": [{"name": "m", "version": "1", "state": "READY"}]},
    ),
    (
        "RepositoryModelLoad",
        {"model_name": "m"},
        "/v2/repository/models/m/load",
        {"name": "m", "load": True},
        {"model_name": "m", "isLoaded": True},
    ),
    (
        "RepositoryModelUnload",
        {"model_in_repository": "m"},
        "/v2/repository/models/m/unload",
        {"name": "m", "unload": True},
        {"model_name": "m", "isUnloaded": True},
    ),
]


@pytest.mark.parametrize(
    ("method", "fields", "path", "told", "expected"), QUESTIONS, ids=[f"{each[0]} {each[2]}" for each in QUESTIONS]
)
def test_a_question_is_rest_s(method: str, fields: dict[str, Any], path: str, told: Any, expected: dict[str, Any]) -> None:
    async def run() -> Any:
        async with served(Rest({path: says(told)})) as client:
            return await client.call(method, message(f"inference.{method}Request")(**fields))

    assert asyncio.run(run()) == message(f"inference.{method}Response")(**expected)


@pytest.mark.parametrize(("method", "path"), [("ServerReady", "/v2/health/ready"), ("ModelReady", "/v2/models/m/ready")])
def test_what_is_not_ready_is_no_error(method: str, path: str) -> None:
    async def run() -> Any:
        async with served(Rest({path: fails(Unavailable("loading"))})) as client:
            request = message(f"inference.{method}Request")(**({"name": "m"} if method == "ModelReady" else {}))
            return await client.call(method, request)

    assert asyncio.run(run()).ready is False


def test_health_is_that_of_the_models() -> None:
    async def run() -> None:
        request, gives = message("grpc.health.v1.HealthCheckRequest"), "grpc.health.v1.HealthCheckResponse"
        rest = Rest({"/v2/health/ready": says({"ready": True})})
        async with served(rest) as client:

            def check(service: str) -> Any:
                return client.call("Check", request(service=service), service="grpc.health.v1.Health", gives=gives)

            assert (await check("")).status == 1
            assert (await check("inference.GRPCInferenceService")).status == 1
            assert (await refused(check("other")))[0] == "NOT_FOUND"
            rest.answers = {"/v2/health/ready": fails(Unavailable("loading"))}
            assert (await check("")).status == 2

    asyncio.run(run())


def test_a_question_is_small() -> None:
    async def run() -> tuple[str, str]:
        async with served(Rest({})) as client:
            return await refused(client.raw("RepositoryModelLoad", b"\x1a\0" * 200_000))

    code, words = asyncio.run(run())
    assert (code, "262144" in words) == ("RESOURCE_EXHAUSTED", True)
