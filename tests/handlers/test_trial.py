"""A child that opens a file first: what it refuses, how it ends, and what is remembered. The library is a stand-in."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kfunc.config.pod import PodConfig
from kfunc.errors import ModelLoadError
from kfunc.handlers import trial
from kfunc.handlers.trial import Trial

LIBRARY = """\
import os, signal
import numpy as np
class CatBoostError(Exception): ...
class CatBoost:
    feature_names_, classes_ = ["0", "1"], []
    def load_model(self, path, format): exec(open(path, "rb").read()[8:].decode())
    def get_metadata(self): return {}
    def get_embedding_feature_indices(self): return []
    get_cat_feature_indices = get_text_feature_indices = get_embedding_feature_indices
    def predict(self, rows, **options): return np.zeros(len(rows))
"""
DAMAGED = "it is damaged, or made to do so: fetch it again or save it anew, and set model.digest to that of a good one"


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library/catboost.py").write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'library'}:{Path(__file__).parents[2]}")


@pytest.fixture
def model(configured: Callable[..., PodConfig], tmp_path: Path) -> Callable[..., PodConfig]:
    """A file at which the stand-in does what `code` says."""

    def make(code: str = "pass", **changes: str) -> PodConfig:
        (tmp_path / "m.cbm").write_bytes(b"CBM1\0\0\0\0" + code.encode())
        return configured(str(tmp_path / "m.cbm"), "catboost", **changes)

    return make


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on none can be started."""
    return lambda: monkeypatch.setattr(sys, "executable", "/nowhere")


def require(config: PodConfig) -> None:
    with Trial(config) as tried:
        tried.require()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", f"catboost ended its process (SIGSEGV) at this file: {DAMAGED}"),
        ("os.abort()", f"catboost ended its process (SIGABRT) at this file: {DAMAGED}"),
        ("os._exit(7)", f"catboost ended its process (exit status 7) at this file: {DAMAGED}"),
        ("self.predict = lambda *_, **__: os.abort()", f"catboost ended its process (SIGABRT) at this file: {DAMAGED}"),
        ("signal.raise_signal(signal.SIGXCPU)", f"catboost does not come to an end with this file: {DAMAGED}"),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was killed (SIGKILL), as happens where memory is short: give the container more",
        ),
        ("bytearray(8 << 30)", f"asks for more memory than a file of its size needs: {DAMAGED}"),
        ("raise CatBoostError('Prefix: no trees')", "catboost cannot read it: no trees"),
        ("raise OSError('something else')", "catboost cannot open it: something else"),
    ],
)
def test_a_file_that_the_child_does_not_open_is_refused_with_the_reason(
    model: Callable[..., PodConfig], code: str, reason: str
) -> None:
    config = model(code)
    with pytest.raises(ModelLoadError) as refused:
        require(config)
    assert refused.value.message.startswith(f"{config.model.uri}: ")
    assert refused.value.message.endswith(reason)


def test_what_the_library_prints_is_not_taken_for_a_refusal(model: Callable[..., PodConfig]) -> None:
    require(model("print('trees', flush=True)"))


def test_a_model_that_cannot_predict_zeros_may_be_good(model: Callable[..., PodConfig]) -> None:
    require(model("self.classes_ = []; self.predict = lambda rows, **_: np.zeros(1) if type(rows) is list else 1 / 0"))


def test_a_file_that_was_opened_is_not_tried_again_until_it_is_another(
    model: Callable[..., PodConfig], no_child: Callable[[], None]
) -> None:
    require(model("1"))
    no_child()
    require(model("1"))
    with pytest.raises(ModelLoadError, match=r"m\.cbm: no process can be started that tries it: No such file"):
        require(model("2"))


def test_beside_a_model_of_the_cache_it_is_remembered_for_other_processes(
    model: Callable[..., PodConfig], no_child: Callable[[], None], tmp_path: Path
) -> None:
    built = str(tmp_path / "built")
    require(model("3", built=built))
    no_child()
    trial._opened.clear()  # as in another process
    require(model("3", built=built))
    (kept,) = Path(built).iterdir()
    kept.write_text("catboost 0.1")  # another version may read it otherwise
    with pytest.raises(ModelLoadError, match="no process can be started"):
        require(model("3", built=built))


def test_what_is_remembered_is_bounded(model: Callable[..., PodConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MOST_REMEMBERED", 2)
    for number in range(4):
        require(model(str(number)))
    assert len(trial._opened) == 2


def test_a_file_that_changes_meanwhile_is_not_opened(model: Callable[..., PodConfig]) -> None:
    with Trial(model("4")) as tried:
        model("raise OSError")
        with pytest.raises(ModelLoadError, match="was changed while it was opened: load it again when it is complete"):
            tried.require()


def test_a_child_that_nobody_waits_for_is_ended(model: Callable[..., PodConfig], tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    with Trial(model(f"open({str(pid)!r}, 'w').write(str(os.getpid())); signal.pause()")):
        ends_at = time.monotonic() + 30
        while not (pid.exists() and pid.read_text()) and time.monotonic() < ends_at:
            time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
