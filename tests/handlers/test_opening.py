"""What a runtime raises at a file that is broken in a way that nobody thought of."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from kfunc.config.pod import PodConfig
from kfunc.config.residency import Residency
from kfunc.errors import ModelLoadError
from kfunc.handlers.contract import Handler
from kfunc.handlers.opening import load_here
from kfunc.handlers.registry import RUNTIMES
from kfunc.handlers.repository import Repository
from tests.handlers.conftest import configuration
from tests.handlers.test_repository import Loaded, Loads, put
from tests.handlers.test_residents import until

RAISED: list[Exception] = []


class Surprised(Handler):
    """A runtime with an error of its library's own at what is in RAISED, one for each load."""

    def load(self, path: Path) -> None:
        if path.read_bytes() == b"broken":
            raise RAISED[0]


@pytest.fixture(autouse=True)
def surprised(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = msgspec.structs.replace(RUNTIMES["onnx"], target=f"{__name__}:Surprised", head=b"")
    monkeypatch.setitem(RUNTIMES, "onnx", entry)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (TypeError("object of type 'NoneType'\nhas no len()"), "TypeError: object of type 'NoneType' has no len()"),
        (RecursionError("too deep"), "RecursionError: too deep"),
    ],
)
def test_it_is_told_with_the_file_and_the_runtime(error: Exception, told: str, tmp_path: Path) -> None:
    RAISED[:] = [error]
    file = tmp_path / "m.onnx"
    file.write_bytes(b"broken")
    with pytest.raises(ModelLoadError) as caught:
        load_here(configuration(str(file)))
    assert caught.value.message == f"{file}: onnx cannot read it: {told}"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: out of memory")])
def test_where_memory_was_short_the_next_try_may_do(error: Exception, tmp_path: Path) -> None:
    RAISED[:] = [error]
    file = tmp_path / "m.onnx"
    file.write_bytes(b"broken")
    with pytest.raises(type(error)):
        load_here(configuration(str(file)))


def test_one_such_file_keeps_no_other_model_from_its_new_version(tmp_path: Path) -> None:
    loads = Loads()

    def load(config: PodConfig) -> Loaded:
        load_here(config)
        return loads(config)

    async def play() -> None:
        config = configuration(str(tmp_path), "auto", name="a", refresh_s=0.02)
        repository = Repository(msgspec.structs.replace(config, residency=Residency(wait_s=5)), load)
        await repository.open()
        for name in ("a", "b"):
            await repository.find(name, "").taken().brought()
        put(tmp_path / "a/m.onnx", b"broken")
        put(tmp_path / "b/m.onnx", b"new")
        await until(lambda: len(loads.made) == 3)
        repository.close()

    for name in ("a", "b"):
        put(tmp_path / name / "m.onnx", b"whole")
    RAISED[:] = [KeyError("x")]
    asyncio.run(play())
    assert [each.config.model.name for each in loads.made] == ["a", "b", "b"]
