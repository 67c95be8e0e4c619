"""Models at which an earlier process has ended: how long they are left alone, and what makes them others."""

import os
import time
from pathlib import Path

import pytest

from kfunc.config.pod import PodModel
from kfunc.config.residency import ModelCache
from kfunc.errors import ModelLoadError
from kfunc.handlers.crashes import Crashes


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


def test_without_a_place_for_it_nothing_is_remembered(model: PodModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert Crashes(ModelCache()).record(model, model).path == ""
