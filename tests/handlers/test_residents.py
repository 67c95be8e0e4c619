"""Models that are loaded when they are asked for and leave when memory is short; new versions; warm-up; lazy starts."""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.pod import PodConfig
from kfunc.config.residency import Residency, Warmup
from kfunc.errors import InvalidRequest, KfuncError, Loading, ModelFailed, ModelLoadError, NotFound, Unavailable
from kfunc.handlers import residents
from kfunc.handlers.management import index
from kfunc.handlers.model_metrics import ModelMetrics
from kfunc.handlers.repository import Repository
from kfunc.handlers.residency_policy import Resident, leaving
from kfunc.handlers.serving import HandlerMetrics
from kfunc.handlers.warmup import Alone, check_shapes, warm_up, zeros
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, TensorSpec
from tests.handlers.test_repository import Loaded, Loads, put

Make = Callable[..., Repository]


class Answering(Loaded):
    """A fake model that counts what it is asked."""

    fails = False

    def __init__(self, config: PodConfig) -> None:
        super().__init__(config)
        self.asked: list[InferRequest] = []

    def infer(self, request: InferRequest, context: Any) -> InferResponse | Awaitable[InferResponse]:
        self.asked.append(request)
        return InferResponse(self.metadata.name, [], self.config.model.version)


class SlowLoads(Loads):
    """Loads that wait for `go_on`, and fail with `fault`."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.fault: Exception | None = None

    def __call__(self, config: PodConfig) -> Loaded:
        self.begun += 1
        assert self.go_on.wait(5)
        if self.fault is not None:
            raise self.fault
        self.made.append(Answering(config))
        return self.made[-1]


@pytest.fixture
def loads() -> SlowLoads:
    return SlowLoads()


@pytest.fixture
def make(configured: Callable[..., PodConfig], tmp_path: Path, loads: Loads) -> Make:
    """A repository over files; `residency` and others are fields of the configuration, the rest of its model."""

    def make(
        *files: str,
        residency: Residency | None = None,
        timeout_s: float = 5.0,
        on_failure: Callable[[], None] = lambda: None,
        **changes: Any,
    ) -> Repository:
        import msgspec

        for file in files:
            put(tmp_path / file)
        config = configured(str(tmp_path), "auto", **changes)
        config = msgspec.structs.replace(config, residency=residency, timeout_s=timeout_s)
        return Repository(config, loads, on_failure)

    return make


async def ask(repository: Repository, name: str) -> str:
    """The version of the answer."""
    answer = repository.find(name, "").taken().infer(InferRequest([]), Alone())
    return (answer if isinstance(answer, InferResponse) else await answer).model_version


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


THREE = ("a/m.onnx", "iris/m.onnx", "c/m.onnx")


def test_nothing_is_loaded_before_it_is_asked_for_but_what_is_pinned(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(pinned=["c"]))
        await repository.open()
        repository.require_ready()
        assert [name for name, _, _ in loads.what()] == ["c"]
        assert sorted(repository.names) == ["a", "c", "iris"]

    asyncio.run(play())


def test_the_first_request_is_503_with_retry_after_and_loads_once(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency())
        await repository.open()
        for _ in range(5):
            with pytest.raises(Unavailable, match="the model a is loading") as raised:
                await ask(repository, "a")
            assert raised.value.retry_after == 1
        await until(lambda: len(loads.made) == 1)
        await asyncio.sleep(0.02)
        assert await ask(repository, "a") == "1"
        assert len(loads.made) == 1

    asyncio.run(play())


def test_with_a_time_to_wait_requests_wait_for_their_model_together(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5))
        await repository.open()
        assert await asyncio.gather(*(ask(repository, "a") for _ in range(10))) == ["1"] * 10
        assert len(loads.made) == 1

    asyncio.run(play())


def test_metadata_wait_for_their_model_too(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5))
        await repository.open()
        slot = repository.find("a", "")
        coming = slot.taken().coming()
        assert coming is not None
        await coming
        assert repository.metadata(slot).name == "a"
        assert slot.taken().coming() is None
        at_once = make(*THREE, residency=Residency())
        await at_once.open()
        assert at_once.find("a", "").taken().coming() is None

    asyncio.run(play())


def test_who_needs_the_model_itself_waits_as_long_as_a_request_does(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5))
        await repository.open()
        assert await repository.find("a", "").taken().brought() is loads.made[0]
        at_once = make(*THREE, residency=Residency())
        await at_once.open()
        with pytest.raises(Loading, match="the model a is loading"):
            await at_once.find("a", "").taken().brought()

    asyncio.run(play())


def test_the_least_recently_used_leaves_and_comes_again(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5, max_models=2, pinned=["iris"]))
        await repository.open()
        for name in ("a", "c", "iris", "a"):
            await ask(repository, name)
        assert [name for name, _, _ in loads.what()] == ["iris", "a", "c", "a"]
        assert [made.closed for made in loads.made] == [False, True, True, False]

    asyncio.run(play())


def test_a_process_that_is_over_its_memory_keeps_only_what_is_used(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5, max_bytes=1))
        await repository.open()
        for name in ("a", "c", "iris"):
            await ask(repository, name)
        assert [made.closed for made in loads.made] == [True, True, False]

    asyncio.run(play())


def test_a_model_that_cannot_be_loaded_is_503_and_leaves_the_others_alone(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5))
        put(tmp_path / "a/m.onnx", b"broken")
        await repository.open()
        with pytest.raises(Unavailable, match="the model a cannot be loaded; the log"):
            await ask(repository, "a")
        assert await ask(repository, "c") == "1"

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert "a/m.onnx: is broken" in caplog.text


def test_a_folder_without_a_model_beside_others_is_one_that_cannot_be_loaded(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        (tmp_path / "empty").mkdir()
        repository = make(*THREE, residency=Residency(wait_s=5, pinned=["c"]))
        await repository.open()
        repository.require_ready()
        assert "model empty: cannot be loaded" in caplog.text
        with pytest.raises(Unavailable, match="the model empty cannot be loaded; the log"):
            await ask(repository, "empty")
        assert await ask(repository, "a") == "1"

    asyncio.run(play())
    assert "empty: holds no model" in caplog.text


def test_a_folder_whose_name_is_no_models_is_left_out(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        repository = make("iris/m.onnx", "my model/m.onnx", residency=Residency(wait_s=5))
        await repository.open()
        assert (repository.names, await ask(repository, "iris")) == (["iris"], "1")
        repository.close()

    asyncio.run(play())
    assert f"model my model: cannot be loaded: {tmp_path / 'my model'}: a model's name has at most" in caplog.text


def test_a_folder_without_a_model_that_is_pinned_keeps_the_function_from_starting(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    repository = make(*THREE, residency=Residency(pinned=["empty"]))
    with pytest.raises(ModelLoadError, match="empty: holds no model"):
        asyncio.run(repository.open())


def test_without_residency_a_folder_without_a_model_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelLoadError, match="empty: holds no model"):
        asyncio.run(make(*THREE).open())


@pytest.mark.parametrize(("name", "near"), [("rose", ""), ("irish", ": did you mean 'iris'\\?")])
def test_a_name_that_is_pinned_and_not_there_is_told(make: Make, name: str, near: str) -> None:
    with pytest.raises(ModelLoadError, match=rf"residency\.pinned names '{name}'{near}; the models are a, c, iris"):
        asyncio.run(make(*THREE, residency=Residency(pinned=[name])).open())


@pytest.mark.parametrize(
    ("files", "pinned", "most", "words"),
    [
        (THREE, ["a", "c", "iris"], 2, "max_models is 2, and 3 are pinned, with all their versions: make it 3 or more"),
        (THREE, ["a", "iris"], 2, "max_models is 2, and 2 are pinned, .*, and the others need a place: make it 3 or more"),
        (("1/m.onnx", "2/m.onnx"), ["iris"], 1, "max_models is 1, and 2 are pinned, with all their versions"),
    ],
)
def test_more_pinned_models_than_there_may_be_are_told_before_one_is_loaded(
    make: Make, loads: Loads, files: tuple[str, ...], pinned: list[str], most: int, words: str
) -> None:
    with pytest.raises(ModelLoadError, match=rf"residency\.{words}"):
        asyncio.run(make(*files, residency=Residency(pinned=pinned, max_models=most)).open())
    assert loads.made == []


def test_pinned_models_that_fill_all_places_are_good_where_there_are_no_others(make: Make, loads: Loads) -> None:
    asyncio.run(make(*THREE, residency=Residency(pinned=["a", "c", "iris"], max_models=3)).open())
    assert len(loads.made) == 3


def test_less_memory_than_the_pinned_models_take_is_told_at_the_start(make: Make) -> None:
    words = (
        r"residency\.max_bytes is 1, and the process takes \d+ with the pinned models \(a, iris\): give it more, or pin fewer"
    )
    with pytest.raises(ModelLoadError, match=words):
        asyncio.run(make(*THREE, residency=Residency(pinned=["a", "iris"], max_bytes=1)).open())


def test_a_model_that_does_not_fit_beside_the_others_is_told_in_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5, max_bytes=1))
        await repository.open()
        await ask(repository, "a")

    asyncio.run(play())
    assert "model a: with it the process takes " in caplog.text
    assert "more than residency.max_bytes, and no other model may leave" in caplog.text


def test_a_lazy_model_is_ready_at_once_and_its_first_request_waits(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make("m.onnx", lazy=True)
        await repository.open()
        repository.require_ready()
        assert loads.made == []
        assert await ask(repository, "iris") == "1"

    asyncio.run(play())


def test_a_lazy_model_that_could_not_be_loaded_is_not_ready_until_it_is(
    make: Make, loads: SlowLoads, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        repository = make("m.onnx", lazy=True)
        await repository.open()
        loads.fault = ModelLoadError("is broken")
        with pytest.raises(Unavailable, match="cannot be loaded"):
            await ask(repository, "iris")
        with pytest.raises(Unavailable, match="the model iris cannot be loaded; the log of the handler says why"):
            repository.require_ready()
        loads.fault = None
        monkeypatch.setattr(residents, "TRY_AGAIN_S", 0.0)
        with pytest.raises(Loading):
            repository.require_ready()  # no request comes to what is not ready: who looks has it loaded
        await until(lambda: len(loads.made) == 1)
        await asyncio.sleep(0.02)
        repository.require_ready()

    asyncio.run(play())


def test_one_of_many_models_that_could_not_be_loaded_leaves_the_function_ready(make: Make, loads: SlowLoads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5))
        await repository.open()
        loads.fault = ModelLoadError("is broken")
        with pytest.raises(Unavailable):
            await ask(repository, "a")
        repository.require_ready()

    asyncio.run(play())


def test_a_file_that_is_renamed_while_its_model_is_not_in_memory_is_found(make: Make, tmp_path: Path) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5), refresh_s=0.02)
        await repository.open()
        (tmp_path / "a/m.onnx").rename(tmp_path / "a/n.onnx")
        await repository.refresh(repository.sources[0])
        assert await ask(repository, "a") == "1"
        repository.close()

    asyncio.run(play())


def test_a_model_that_is_unloaded_while_it_is_loaded_is_let_go_and_who_waits_is_told(make: Make, loads: SlowLoads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5))
        await repository.open()
        loads.go_on.clear()
        asking = asyncio.ensure_future(ask(repository, "a"))
        await until(lambda: loads.begun == 1)
        await repository.unload("a")
        loads.go_on.set()
        with pytest.raises(NotFound, match="the model a is not loaded: unloaded"):
            await asking
        assert [(made.closed, made.files) for made in loads.made] == [(True, [])]
        await repository.load("a")
        assert await ask(repository, "a") == "1"

    asyncio.run(play())


def test_who_asks_for_a_load_is_told_whether_it_can_be_loaded(make: Make, tmp_path: Path, loads: SlowLoads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency())
        await repository.open()
        await repository.load("a")
        assert await ask(repository, "a") == "1"
        loads.fault = ModelLoadError("is broken")
        for _ in range(2):
            with pytest.raises(InvalidRequest, match="the model a cannot be loaded: is broken"):
                await repository.load("a")
        assert await ask(repository, "a") == "1"

    asyncio.run(play())


def test_readiness_of_a_model_is_what_its_next_request_meets(make: Make, loads: SlowLoads) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency())
        await repository.open()
        repository.require_ready()
        slot = repository.find("a", "")
        loads.go_on.clear()
        with pytest.raises(Loading, match="the model a is loading") as raised:
            repository.require_ready(slot)
        assert raised.value.details == {"ready": False, "phase": "loading"}
        loads.go_on.set()
        await until(lambda: slot.model is not None and slot.model.ready)
        repository.require_ready(slot)
        waiting = make(residency=Residency(wait_s=5))
        await waiting.open()
        waiting.require_ready(waiting.find("c", ""))
        assert [name for name, _, _ in loads.what()] == ["a"]

    asyncio.run(play())


def test_what_keeps_a_model_from_loading_is_for_the_log(make: Make, loads: SlowLoads, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        repository = make(*THREE, residency=Residency(wait_s=5), on_failure=lambda: failures.append(None))
        await repository.open()
        loads.fault = KeyError("internal: /etc/x")
        with pytest.raises(Unavailable) as raised:
            await ask(repository, "a")
        assert (raised.value.message, raised.value.retry_after) == (
            "the model a cannot be loaded; the log of the handler says why",
            10,
        )
        assert [each["reason"] for each in index(repository, b"") if each["name"] == "a"] == [
            "cannot be loaded; the log of the handler says why"
        ]

    failures: list[None] = []
    asyncio.run(play())
    assert ("internal: /etc/x" in caplog.text, len(failures)) == (True, 1)


def test_a_model_that_is_loaded_again_has_its_metrics_once(
    configured: Callable[..., PodConfig], tmp_path: Path, loads: Loads
) -> None:
    async def play() -> None:
        put(tmp_path / "m.onnx")
        metrics = HandlerMetrics(1)
        config = configured(str(tmp_path), "auto", residency=Residency(wait_s=5))
        repository = Repository(config, loads, on_place=metrics.show_resident, on_change=ModelMetrics(metrics.metrics).keep)
        await repository.open()
        await ask(repository, "iris")
        await repository.unload("iris")
        await repository.load("iris")
        await ask(repository, "iris")
        lines = [line for line in metrics.metrics.exposition().splitlines() if line.startswith("kfunc_model_loads_total")]
        assert lines == ['kfunc_model_loads_total{component="handler",model="iris",version="1"} 2']

    asyncio.run(play())


def test_what_a_runtime_s_first_model_took_for_the_runtime_is_not_its_size_for_ever(make: Make) -> None:
    async def play() -> None:
        repository = make("m.onnx", residency=Residency(wait_s=5))
        await repository.open()
        model: Any = repository.find("iris", "").model
        for size, version, known in ((40, "a", 40), (2, "a", 2), (3, "a", 2), (9, "b", 9)):
            model.measure(size, version)
            assert model.size == known

    asyncio.run(play())


@pytest.mark.parametrize(
    ("excess_bytes", "excess_models", "gone"),
    [(0, 0, []), (1, 0, ["old"]), (11, 0, ["old", "new"]), (0, 1, ["old"]), (99, 9, ["old", "new"])],
)
def test_the_policy_lets_the_oldest_go_and_never_what_is_pinned(excess_bytes: int, excess_models: int, gone: list[str]) -> None:
    there = [Resident("pinned", 10, 1, pinned=True), Resident("new", 10, 3), Resident("old", 10, 2)]
    assert [each.name for each in leaving(there, excess_bytes, excess_models)] == gone


# ---- new versions under the URI


def test_a_new_version_is_loaded_beside_the_old_one_which_then_ends(make: Make, loads: Loads, tmp_path: Path) -> None:
    async def play() -> None:
        repository = make("1/m.onnx", refresh_s=0.02)
        await repository.open()
        assert await ask(repository, "iris") == "1"
        put(tmp_path / "2/m.onnx")
        await until(lambda: repository.find("iris", "").version == "2")
        assert await ask(repository, "iris") == "2"
        assert [made.closed for made in loads.made] == [True, False, False]
        repository.close()

    asyncio.run(play())


def test_a_new_version_that_is_broken_leaves_the_old_one_in_place_and_is_tried_once(
    make: Make, loads: Loads, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        repository = make("1/m.onnx", refresh_s=0.02)
        await repository.open()
        put(tmp_path / "2/m.onnx", b"broken")
        await until(lambda: "stays as it is" in caplog.text)
        await asyncio.sleep(0.1)
        assert await ask(repository, "iris") == "1"
        put(tmp_path / "2/m.onnx", b"mended")
        await until(lambda: repository.find("iris", "").version == "2")
        repository.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert caplog.text.count("stays as it is") == 1


@pytest.mark.parametrize("residency", [None, Residency(wait_s=5)])
def test_that_a_new_version_is_served_is_said_of_what_changed_hands(
    make: Make, loads: Loads, tmp_path: Path, caplog: pytest.LogCaptureFixture, residency: Residency | None
) -> None:
    """Not of what stays as it is, and not where nothing was in memory."""

    def told() -> list[str]:
        return [each.getMessage() for each in caplog.records if "version is served" in each.getMessage()]

    async def play() -> None:
        repository = make("a/m.onnx", "b/m.onnx", "c/m.onnx", residency=residency, refresh_s=0.02, name="a")
        await repository.open()
        for name in ("a", "b"):
            await ask(repository, name)
        assert told() == []
        put(tmp_path / "a/m.onnx", b"broken")
        await until(lambda: "stays as it is" in caplog.text)
        await asyncio.sleep(0.05)
        assert told() == []
        put(tmp_path / "a/m.onnx", b"mended")
        put(tmp_path / "c/m.onnx", b"new")
        await until(lambda: told() != [])
        await asyncio.sleep(0.05)
        repository.close()

    with caplog.at_level(logging.INFO):
        asyncio.run(play())
    changed = "abc" if residency is None else "a"
    assert told() == [f"model {name}: a new version is served" for name in changed]


# ---- warm-up


def test_a_model_answers_its_warm_up_before_it_is_ready(make: Make, loads: Loads) -> None:
    async def play() -> None:
        repository = make("m.onnx", warmup=Warmup(requests=3, shapes={"x": [5]}))
        await repository.open()
        (made,) = loads.made
        assert isinstance(made, Answering)
        assert [(each.inputs[0].name, each.inputs[0].shape) for each in made.asked] == [("x", [5])] * 3

    asyncio.run(play())


BODIES = [
    '{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]}]}',
    '{"instances": [1, 2]}',
    '{"inputs": {"x": [1, 2]}}',
]


@pytest.mark.parametrize("body", BODIES)
def test_a_file_has_the_request_of_a_warm_up(make: Make, loads: Loads, tmp_path: Path, body: str) -> None:
    (tmp_path / "request.json").write_text(body)
    asyncio.run(make("m.onnx", warmup=Warmup(file=str(tmp_path / "request.json"))).open())
    (made,) = loads.made
    assert isinstance(made, Answering)
    assert [each.inputs[0].data for each in made.asked] in ([[1, 2]], [{"x": [1, 2]}])


def test_a_file_for_the_warm_up_that_is_none_is_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"request\.json: cannot be read \(model\.warmup\.file\): No such file"):
        asyncio.run(make("m.onnx", warmup=Warmup(file=str(tmp_path / "request.json"))).open())
    (tmp_path / "request.json").write_text("{")
    with pytest.raises(ModelLoadError, match=r"request\.json: iris refuses it \(model\.warmup\.file\): "):
        asyncio.run(make("m.onnx", warmup=Warmup(file=str(tmp_path / "request.json"))).open())


class Choosy(Answering):
    """A model that no zeros please."""

    fault: KfuncError = InvalidRequest("unknown category")

    def infer(self, request: InferRequest, context: Any) -> InferResponse:
        raise self.fault


@pytest.mark.parametrize(
    ("fault", "does"),
    [(InvalidRequest("unknown category"), "refuses"), (ModelFailed("the model failed", "ZeroDivisionError"), "fails at")],
)
def test_a_model_that_zeros_mean_nothing_to_is_served_all_the_same(
    configured: Callable[..., PodConfig], caplog: pytest.LogCaptureFixture, tmp_path: Path, fault: KfuncError, does: str
) -> None:
    model = Choosy(configured())
    model.fault = fault
    asyncio.run(warm_up(model, Warmup(requests=2)))
    told = f"model iris: {does} a request of zeros, and is not warm; let model.warmup.file name a real one: {fault.message}"
    assert caplog.messages == [told]
    (tmp_path / "real.json").write_text(BODIES[0])
    with pytest.raises(ModelLoadError, match=rf"real\.json: iris {does} it \(model\.warmup\.file\): {fault.message}"):
        asyncio.run(warm_up(model, Warmup(file=str(tmp_path / "real.json"))))


def test_a_model_that_does_not_answer_its_warm_up_is_not_ready(configured: Callable[..., PodConfig]) -> None:
    model = Choosy(configured())
    model.fault = Unavailable("the accelerator's memory is full")
    with pytest.raises(ModelLoadError, match=r"does not answer its warm-up .*: the accelerator's memory is full"):
        asyncio.run(warm_up(model, Warmup(requests=2)))


@pytest.mark.parametrize("requests", [0, 1])
@pytest.mark.parametrize("residency", [None, Residency(pinned=["iris"])])
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"y": [5]}, r"model\.warmup\.shapes names 'y'; the model's inputs are x"),
        ({"xx": [5]}, r"names 'xx': did you mean 'x'\?"),
        ({"x": [1, 5]}, r"model\.warmup\.shapes says \[1, 5\] of the input 'x', and the model takes \[-1\]"),
    ],
)
def test_shapes_that_contradict_the_model_keep_it_from_being_ready(
    make: Make, loads: Loads, requests: int, residency: Residency | None, shapes: dict[str, list[int]], words: str
) -> None:
    repository = make("m.onnx", warmup=Warmup(requests=requests, shapes=shapes), residency=residency)
    with pytest.raises(ModelLoadError, match=words):
        asyncio.run(repository.open())
    assert loads.made[0].closed


@pytest.mark.parametrize(
    ("inputs", "shapes", "good"),
    [
        ([TensorSpec("a", "FP32", [-1, 3])], {"a": [7, 3]}, True),
        ([TensorSpec("a", "FP32", [-1, 3])], {"a": [7, 4]}, False),
        ([TensorSpec("a", "FP32", [-1, 3]), TensorSpec("b", "BYTES", [-1])], {"b": [2]}, True),
        ([], {"whatever": [2, 2]}, True),
    ],
)
def test_shapes_are_held_against_the_metadata(inputs: list[TensorSpec], shapes: dict[str, list[int]], good: bool) -> None:
    told = Loaded(PodConfig())
    told.metadata = ModelMetadata("iris", ["1"], "test", inputs, [])
    with nullcontext() if good else pytest.raises(ModelLoadError, match=r"\(-1: any size\)"):
        check_shapes(told, shapes)


def test_zeros_have_the_datatypes_and_shapes_of_the_inputs() -> None:
    specs = [TensorSpec("a", "FP32", [-1, 3]), TensorSpec("b", "BYTES", [2]), TensorSpec("c", "BF16", [1])]
    made = zeros(specs, {"a": [2, 3]})
    assert [(each.name, each.shape, len(each.data)) for each in made] == [("a", [2, 3], 24), ("b", [2], 2), ("c", [1], 2)]
