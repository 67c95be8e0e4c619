"""Calls that were asked for count until they have ended, or are given up; what lets go of a model comes after them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.inference import Limits
from kfunc.config.pod import PodConfig
from kfunc.errors import Unavailable
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.handlers.warmup import Alone
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor

SLOW = "import time\ndef predict(a):\n    time.sleep(0.02)\n    return a\ndef explain(a): return a"
ASYNC = "import asyncio\nasync def predict(a):\n    await asyncio.sleep(0.02)\n    return a\nexplain = predict"
PARTS = "def predict(a):\n    yield a\n    yield a"


@pytest.fixture
def load(configured: Callable[..., PodConfig], tmp_path: Path) -> Callable[..., LoadedModel]:
    def load(text: str, **changes: Any) -> LoadedModel:
        (tmp_path / "handler.py").write_text(text)
        config = configured(str(tmp_path / "handler.py"), "python", execution="thread", **changes)
        return LoadedModel(config, load_handler(config))

    return load


def request() -> InferRequest:
    return InferRequest([Tensor("x", [1], "FP32", [1.0])], model_name="iris")


async def one(work: Any) -> InferResponse:
    answer: InferResponse = await work
    return answer


@pytest.mark.parametrize("text", [SLOW, ASYNC])
@pytest.mark.parametrize("verb", ["infer", "explain"])
def test_a_model_that_is_replaced_before_a_call_s_first_step_answers_it(
    load: Callable[..., LoadedModel], text: str, verb: str
) -> None:
    async def play() -> None:
        model = load(text)
        await one(model.infer(request(), Alone()))
        task = asyncio.ensure_future(one(getattr(model, verb)(request(), Alone())))
        model.retire()
        assert (await task).outputs

    asyncio.run(play())


def test_a_stream_that_is_read_while_its_model_is_replaced_goes_on(load: Callable[..., LoadedModel]) -> None:
    async def play() -> int:
        model, count = load(PARTS), 0
        async for _ in model.stream(request(), Alone()):
            count += 1
            if count == 1:
                model.retire()
        return count

    assert asyncio.run(play()) == 2


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_a_call_that_is_given_up_before_its_first_step_counts_no_longer(load: Callable[..., LoadedModel]) -> None:
    async def play() -> None:
        model = load(SLOW, limits=Limits(max_concurrency=1))
        for _ in range(3):
            task = asyncio.ensure_future(one(model.infer(request(), Alone())))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        running = asyncio.ensure_future(one(model.infer(request(), Alone())))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match=r"limits\.max_concurrency"):
            await one(model.infer(request(), Alone()))
        assert (await running).outputs

    asyncio.run(play())
