"""Calls of gRPC to a server that speaks V1 alone, by way of the sidecar's translation."""

import asyncio
import json
import struct
from typing import Any

import pytest

from kfunc.errors import Unavailable
from kfunc.translation.application import TranslatingApplication
from tests.grpc.served import Answer, Rest, fails, floats, refused, says, served
from tests.protocol.grpc.library import message

PREDICT, STATUS = "/v1/models/m:predict", "/v1/models/m"

pytestmark = pytest.mark.integration


class Translated(Rest):
    """The layer that stands in front of a server of V1, with the server in it."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__(answers)
        self.server = Rest(answers)
        layer = TranslatingApplication(self.server, "v1", "m", 2**20)
        self.handle, self.observe = layer.handle, layer.observe  # type: ignore[method-assign]


@pytest.mark.parametrize("raw", [True, False])
def test_inference_is_asked_in_rows_and_answered_in_tensors(raw: bool) -> None:
    async def run() -> None:
        rest = Translated({PREDICT: says({"predictions": [[1.5, 2.5]]})})
        async with served(rest) as client:
            answer = await client.infer(floats(1.0, 2.0, raw=raw, id="7"))
        assert [json.loads(each.body) for each in rest.server.asked] == [{"instances": [[1.0, 2.0]]}]
        (output,) = answer.outputs
        values = output.contents.fp64_contents or struct.unpack("<2d", answer.raw_output_contents[0])
        assert (answer.model_name, answer.id, list(output.shape), output.datatype) == ("m", "7", [1, 2], "FP64")
        assert list(values) == [1.5, 2.5]

    asyncio.run(run())


@pytest.mark.parametrize("state", ["AVAILABLE", "LOADING"])
def test_readiness_is_v1_s(state: str) -> None:
    async def run() -> Any:
        async with served(Translated({STATUS: says({"model_version_status": [{"version": "1", "state": state}]})})) as client:
            model = await client.call("ModelReady", message("inference.ModelReadyRequest")(name="m"))
            server = await client.call("ServerReady", message("inference.ServerReadyRequest")())
            return model.ready, server.ready

    assert asyncio.run(run()) == (state == "AVAILABLE",) * 2


def test_an_error_of_the_server_ends_the_call() -> None:
    async def run() -> tuple[str, str]:
        async with served(Translated({PREDICT: fails(Unavailable("the queue is full"))})) as client:
            return await refused(client.infer(floats()))

    assert asyncio.run(run()) == ("UNAVAILABLE", "the queue is full")
