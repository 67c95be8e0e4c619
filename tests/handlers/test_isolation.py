"""A model in a worker process: real processes, real deaths."""

import asyncio
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kfunc.config.pod import PodConfig
from kfunc.errors import KfuncError, ModelFailed, ModelLoadError
from kfunc.handlers.isolated import calls_of
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor, TensorSpec

pytestmark = pytest.mark.integration

# The input says what to do; the answer is the process that did it.
HANDLER = """
import ctypes, os
from kfunc.errors import InvalidRequest
def predict(x):
    if x[0] == 1: os._exit(1)
    if x[0] == 2: ctypes.PyDLL(None).usleep(20_000_000)
    if x[0] == 3: ctypes.PyDLL(None).usleep(150_000)
    if x[0] == 4: raise InvalidRequest("too tall")
    if x[0] == 5: raise KeyError("/secret")
    return [os.getpid()]
"""
ANSWER, DIE, HANG, HOLD_THE_GIL, REFUSE, FAIL = range(6)


class Surroundings:
    headers: dict[bytes, bytes] = {}
    request_id = b""
    deadline = queue_s = compute_s = compute_at = 0.0
    cancelled = False


async def ask(model: LoadedModel, what: int) -> int:
    """The id of the process that answered, or the status of the error."""
    try:
        answer: Any = model.infer(InferRequest([Tensor("x", [1], "INT64", [what])]), Surroundings())
        if inspect.isawaitable(answer):
            answer = await answer
    except KfuncError as error:
        return error.status
    return int(answer.outputs[0].data[0])


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def load(configured: Callable[..., PodConfig], tmp_path: Path) -> Iterator[Callable[..., LoadedModel]]:
    models: list[LoadedModel] = []

    def make(text: str = HANDLER, **changes: Any) -> LoadedModel:
        (tmp_path / "handler.py").write_text(text)
        config = configured(str(tmp_path), "python", **changes)
        models.append(LoadedModel(config, load_handler(config)))
        return models[-1]

    yield make
    for model in models:
        model.close()


def test_what_the_environment_sets_of_the_function_is_not_set_for_its_model_again(
    load: Callable[..., LoadedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFUNC_MODEL_URI", "/another/model")
    assert load(execution="process").ready


def test_nothing_of_the_working_folder_is_imported_in_place_of_a_library(
    load: Callable[..., LoadedModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/msgspec.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path / "here")
    assert load(execution="process").ready


def test_a_model_in_a_worker_process_answers_from_there(load: Callable[..., LoadedModel]) -> None:
    model = load(execution="process")
    assert model.ready
    assert asyncio.run(ask(model, ANSWER)) not in (os.getpid(), 400, 500, 503)


@pytest.mark.parametrize(("what", "status"), [(REFUSE, 400), (FAIL, 500)])
def test_what_the_model_raises_comes_back(load: Callable[..., LoadedModel], what: int, status: int) -> None:
    model = load(execution="process")
    assert asyncio.run(ask(model, what)) == status
    assert model.ready


def test_a_death_is_503_and_soon_another_one_answers(load: Callable[..., LoadedModel]) -> None:
    model = load(execution="process")
    first = asyncio.run(ask(model, ANSWER))
    assert asyncio.run(ask(model, DIE)) == 503
    until(lambda: not model.ready)
    until(lambda: model.ready)
    assert asyncio.run(ask(model, ANSWER)) not in (first, os.getpid(), 503)


def test_a_call_that_is_stuck_is_ended_and_soon_another_one_answers(load: Callable[..., LoadedModel]) -> None:
    model = load(execution="process", hang_timeout_s=0.5)
    began_at = time.monotonic()
    assert asyncio.run(ask(model, HANG)) == 500
    assert time.monotonic() - began_at < 5
    until(lambda: not model.ready)
    until(lambda: model.ready)
    assert asyncio.run(ask(model, ANSWER)) > 503


def test_a_model_whose_calls_hold_the_gil_moves_to_a_worker_process(load: Callable[..., LoadedModel]) -> None:
    model = load()

    async def main() -> tuple[int, int]:
        first = await ask(model, HOLD_THE_GIL)
        await ask(model, HOLD_THE_GIL)
        async with asyncio.timeout(20):
            while (last := await ask(model, ANSWER)) == first:
                await asyncio.to_thread(time.sleep, 0.05)
        return first, last

    first, last = asyncio.run(main())
    assert first == os.getpid()
    assert last not in (first, 500, 503)


def test_a_worker_process_that_cannot_load_the_model_says_why(load: Callable[..., LoadedModel]) -> None:
    text = f"import os\nif os.getpid() != {os.getpid()}: raise OSError('only once')\n" + HANDLER
    with pytest.raises(ModelLoadError, match=r"handler\.py:2: OSError: only once"):
        load(text, execution="process")


def test_the_worker_process_is_gone_when_the_model_is_closed(load: Callable[..., LoadedModel]) -> None:
    model = load(execution="process")
    worker = asyncio.run(ask(model, ANSWER))
    model.close()
    until(lambda: not Path(f"/proc/{worker}").exists(), 5)
    time.sleep(0.3)
    assert not model.ready


# Each load says its process; the second one takes long.
COUNTED = """
import os, time
with open({loads!r}, "a+") as file:
    file.write(f"{{os.getpid()}}\\n"); file.seek(0)
    again = len(file.readlines()) > 1
if again: time.sleep(60)
"""


@pytest.mark.parametrize("loading", [False, True], ids=["before it is started again", "while it loads again"])
def test_no_worker_process_outlives_a_model_that_is_closed(
    loading: bool, load: Callable[..., LoadedModel], tmp_path: Path
) -> None:
    loads = tmp_path / "loads"
    model = load(COUNTED.format(loads=str(loads)) + HANDLER, execution="process")
    assert asyncio.run(ask(model, DIE)) == 503
    until(lambda: not model.ready)
    if loading:
        until(lambda: len(loads.read_text().split()) == 2)
    model.close()
    time.sleep(1.0)
    started = loads.read_text().split()
    assert len(started) == (2 if loading else 1)
    assert not Path(f"/proc/{started[-1]}").exists()


def test_the_parent_does_not_load_the_model_too(load: Callable[..., LoadedModel], tmp_path: Path) -> None:
    text = f"open({str(tmp_path / 'loads')!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
    model = load("import os\n" + text + HANDLER, execution="process")
    worker = asyncio.run(ask(model, ANSWER))
    assert (tmp_path / "loads").read_text() == f"{worker}\n"


DESCRIBED = """
from kfunc import Handler
from kfunc.protocol.messages import TensorSpec
class Scorer(Handler):
    platform = "test"
    inputs = [TensorSpec("x", "FP32", [-1])]
    outputs = [TensorSpec("y", "FP32", [-1])]
    exact_datatypes = False
    answers = 0
    def predict(self, x):
        self.answers += 1
        return x + self.answers
    def ready(self):
        return self.answers < 2
    def explain(self, x):
        return -x
"""


def test_what_the_child_says_of_the_model_is_its_metadata(load: Callable[..., LoadedModel]) -> None:
    model = load(DESCRIBED, execution="process")
    assert model.metadata == ModelMetadata(
        "iris", ["1"], "test", [TensorSpec("x", "FP32", [-1])], [TensorSpec("y", "FP32", [-1])]
    )


def test_the_models_own_readiness_comes_from_the_child(load: Callable[..., LoadedModel]) -> None:
    model = load(DESCRIBED, execution="process")
    assert model.ready
    assert [asyncio.run(ask(model, 10)) for _ in range(2)] == [11, 12]
    until(lambda: not model.ready, 5)


OF_ONE_LOOP = """
import asyncio
loop = None
def later(x):
    global loop
    loop = loop or asyncio.get_running_loop()
    found = loop.create_future()
    loop.call_soon(found.set_result, x)
    return found
async def predict(x): return await later(x)
async def explain(x): return await later(x)
async def predict_stream(x): yield await later(x)
"""


def test_all_async_code_of_a_model_runs_on_one_loop(configured: Callable[..., PodConfig], tmp_path: Path) -> None:
    """Clients that `predict` has made belong to it."""
    (tmp_path / "handler.py").write_text(OF_ONE_LOOP)
    calls = calls_of(load_handler(configured(str(tmp_path), "python")))
    inputs = {"x": np.ones(1)}
    assert calls["predict"](inputs)["output-0"].tolist() == [1]
    assert calls["explain"](inputs)["explanation"].tolist() == [1]
    assert calls["next"](calls["open"](inputs))["output-0"].tolist() == [1]


def test_explanations_come_from_the_child(load: Callable[..., LoadedModel]) -> None:
    model = load(DESCRIBED, execution="process")

    async def explain() -> InferResponse:
        return await model.explain(InferRequest([Tensor("x", [2], "INT64", [1, 2])]), Surroundings())

    answer = asyncio.run(explain())
    assert [(each.name, list(each.data)) for each in answer.outputs] == [("explanation", [-1.0, -2.0])]


LOGS = """
import json, kfunc, logging
class Logging(kfunc.Handler):
    def predict(self, x):
        logging.getLogger("shop").warning("mine %s", json.dumps(self.trace_headers(), sort_keys=True))
        raise RuntimeError("broken")
"""


def test_log_lines_of_the_child_have_the_ids_of_the_request(
    load: Callable[..., LoadedModel], capfd: pytest.CaptureFixture[str]
) -> None:
    model = load(LOGS, execution="process", log_format="json")
    about = Surroundings()
    about.headers = {b"traceparent": b"00-%b-%b-01" % (b"a" * 32, b"b" * 16), b"host": b"x"}
    about.request_id = b"7"
    with pytest.raises(ModelFailed) as caught:
        asyncio.run(model.infer(InferRequest([Tensor("x", [1], "INT64", [0])]), about))  # type: ignore[arg-type]
    assert caught.value.cause == "RuntimeError"  # for traces
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["logger"] for line in lines] == ["shop", "kfunc.model"]
    assert [(line["request_id"], line["trace_id"]) for line in lines] == [("7", "a" * 32)] * 2
    assert json.loads(lines[0]["message"].removeprefix("mine ")) == {"traceparent": about.headers[b"traceparent"].decode()}


UNSENDABLE = """
import os, numpy as np
class Odd:
    def __reduce__(self): raise TypeError("not to be sent")
class Local: pass
Local.__module__ = "only_over_there"
def predict(x):
    if x[0] == 1: return np.array([Odd()])
    if x[0] == 2: return np.array([Local()])
    return [os.getpid()]
"""


@pytest.mark.parametrize("what", [1, 2], ids=["cannot be pickled", "cannot be unpickled"])
def test_an_answer_that_cannot_be_sent_fails_only_its_request(load: Callable[..., LoadedModel], what: int) -> None:
    model = load(UNSENDABLE, execution="process")
    worker = asyncio.run(ask(model, ANSWER))
    assert asyncio.run(ask(model, what)) == 500
    assert asyncio.run(ask(model, ANSWER)) == worker
