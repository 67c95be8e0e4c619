"""Models at which an earlier process has ended: how long they are left alone, and what makes them others."""

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.residency import ModelCache, Residency
from kfunc.errors import ModelLoadError, Unavailable
from kfunc.handlers.crashes import Crashes
from kfunc.handlers.registry import RUNTIMES
from kfunc.handlers.repository import Repository
from tests.handlers.test_repository import Loads
from tests.handlers.test_residents import until


@pytest.fixture
def model(tmp_path: Path) -> PodModel:
    (tmp_path / "m.onnx").write_bytes(b"x")
    return PodModel(name="iris", uri=str(tmp_path / "m.onnx"), runtime="onnx")


@pytest.fixture
def crashes(tmp_path: Path) -> Crashes:
    return Crashes(ModelCache(path=str(tmp_path / "cache")))


def ended(path: str, times: int, ago_s: float) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(b"." * times)
    os.utime(path, (time.time() - ago_s,) * 2)


def test_a_model_that_has_ended_nothing_is_loaded_and_nothing_is_written(
    model: PodModel, crashes: Crashes, tmp_path: Path
) -> None:
    record = crashes.record(model, model)
    assert record.count == 0
    assert Path(record.path).parent == tmp_path / "cache/ended"
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("times", "ago_s", "told"),
    [
        (1, 10.0, "once, and is tried again in 50 s"),
        (3, 200.0, "3 times, and is tried again in 40 s"),
        (99, 3000.0, "in 600 s"),
    ],
)
def test_it_is_left_alone_longer_each_time(model: PodModel, crashes: Crashes, times: int, ago_s: float, told: str) -> None:
    ended(crashes.record(model, model).path, times, ago_s)
    with pytest.raises(ModelLoadError, match=rf"m\.onnx: loading it has ended the handler .*{told}: the file is damaged"):
        crashes.record(model, model)


def test_after_that_it_is_tried_again_and_forgotten_once_it_is_loaded(model: PodModel, crashes: Crashes) -> None:
    path = crashes.record(model, model).path
    ended(path, 1, 61.0)
    record = crashes.record(model, model)
    assert record.count == 1
    record.forget()
    assert not Path(path).exists()


def test_another_file_at_the_same_place_is_another_model(model: PodModel, crashes: Crashes) -> None:
    ended(crashes.record(model, model).path, 1, 1.0)
    Path(model.uri).write_bytes(b"mended")
    assert crashes.record(model, model).count == 0


def test_another_release_of_the_library_is_let_try(
    model: PodModel, crashes: Crashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(crashes.record(model, model).path, 1, 1.0)
    distribution = RUNTIMES["onnx"].distributions[0]
    information = tmp_path / "site" / f"{distribution.replace('-', '_')}-99.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 99.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert crashes.record(model, model).count == 0


def test_with_more_memory_it_is_let_try(model: PodModel, tmp_path: Path) -> None:
    cache = ModelCache(path=str(tmp_path / "cache"))
    ended(Crashes(cache, 1 << 30).record(model, model).path, 1, 1.0)
    assert Crashes(cache, 2 << 30).record(model, model).count == 0


def test_a_new_version_that_is_left_alone_is_loaded_when_its_time_is_over(
    model: PodModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, loads, new = ModelCache(path=str(tmp_path / "cache")), Loads(), tmp_path / "new"
    new.write_bytes(b"newer")
    record = Crashes(cache).record(model, replace(model, uri=str(new))).path
    config = PodConfig(model=replace(model, refresh_s=0.02), residency=Residency(wait_s=5.0), model_cache=cache)

    async def play() -> None:
        repository = Repository(config, loads)
        await repository.open()
        await repository.find("iris", "").taken().brought()
        ended(record, 1, 1.0)  # by another pod
        new.rename(model.uri)
        await until(lambda: "stays as it is" in caplog.text)
        assert len(loads.made) == 1
        ended(record, 1, 61.0)
        await until(lambda: len(loads.made) == 2)
        repository.close()

    with caplog.at_level(logging.ERROR):
        asyncio.run(play())
    assert not Path(record).exists()


@pytest.mark.parametrize(
    ("changes", "residency", "served"),
    [
        ({}, Residency(wait_s=5.0), False),
        ({"execution": "process"}, Residency(wait_s=5.0), True),
        ({"lazy": True}, None, True),
    ],
    ids=["thread", "process", "lazy"],
)
def test_it_is_left_alone_only_for_the_sake_of_others(
    model: PodModel, crashes: Crashes, tmp_path: Path, changes: dict[str, Any], residency: Residency | None, served: bool
) -> None:
    ended(crashes.record(model, model).path, 7, 1.0)
    config = PodConfig(
        model=replace(model, **changes),
        residency=residency,
        model_cache=ModelCache(path=str(tmp_path / "cache")),
        timeout_s=5.0,
    )

    async def play() -> bool:
        repository = Repository(config, Loads())
        await repository.open()
        try:
            await repository.find("iris", "").taken().brought()
        except Unavailable:
            return False
        finally:
            repository.close()
        return True

    assert asyncio.run(play()) is served


def test_without_a_place_for_it_nothing_is_remembered(model: PodModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert Crashes(ModelCache()).record(model, model).path == ""
