"""Metrics by model and version: which there are while models come and go, and how much room they take."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kfunc.handlers.model_metrics import ModelMetrics
from kfunc.handlers.repository import Repository
from kfunc.handlers.slots import Slot
from kfunc.http.exchange import Exchange
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.slabs import SLAB_DOUBLES
from tests.handlers.conftest import ROOT, Answers, Placed
from tests.telemetry.test_metrics import read, series

MODEL = ROOT / "examples/iris/model.onnx"


class Model(Placed):
    """One that only tells its version."""

    ready = True

    def __init__(self, version: str) -> None:
        self.metadata = ModelMetadata("iris", [version], "test", [], [])

    def infer(self, request: InferRequest, context: Context) -> InferResponse:
        raise NotImplementedError

    def stream(self, request: InferRequest, context: Context) -> Any:
        raise NotImplementedError


def served(version: str, loaded: str = "") -> Slot:
    slot = Slot("iris", version)
    slot.model = Model(loaded or version)
    return slot


def request() -> Exchange:
    exchange = Exchange(Answers(), b"POST", b"/v2/models/iris/infer", [], {}, True)
    exchange.status, exchange.compute_s, exchange.queue_s = 200, 0.001, 0.002
    return exchange


def versions(metrics: Metrics, name: str) -> list[str]:
    return [dict(labels)["version"] for key, labels in read(metrics.exposition()) if key == name]


def test_the_metrics_of_the_version_that_is_loaded_stay_though_it_is_served_as_another() -> None:
    metrics = Metrics("handler")
    metrics.level("kfunc_model_version_load_seconds", "Time.", {"model": "iris", "version": "7"}).set(1)
    ModelMetrics(metrics).keep([served("1", loaded="7")])
    assert versions(metrics, "kfunc_model_version_load_seconds") == ["7"]


def test_versions_that_are_gone_leave_their_room_to_new_ones() -> None:
    metrics = Metrics("handler")
    models = ModelMetrics(metrics)
    for number in range(SLAB_DOUBLES // 20):
        slot = served(str(number))
        models.keep([slot])
        models.observe(slot, request())
    assert versions(metrics, "kfunc_model_compute_seconds_count") == [slot.version]
    found = read(metrics.exposition())
    assert found[series("kfunc_model_requests_total", model="iris", version=slot.version, status="2xx")] == 1
    assert found[series("kfunc_model_compute_seconds_count", model="iris", version=slot.version)] == 1


def test_a_version_has_all_its_metrics_or_none_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics("handler")
    models = ModelMetrics(metrics)
    for number in range(SLAB_DOUBLES // 50):
        models.observe(served(str(number)), request())
    shown = versions(metrics, "kfunc_model_compute_seconds_count")
    assert len(shown) == SLAB_DOUBLES // 52
    assert versions(metrics, "kfunc_model_queue_seconds_count") == shown
    assert sorted(set(versions(metrics, "kfunc_model_requests_total"))) == sorted(shown)
    assert len(caplog.messages) == 1


def test_a_version_that_comes_back_counts_from_nothing() -> None:
    metrics = Metrics("handler")
    models = ModelMetrics(metrics)
    models.observe(served("1"), request())
    models.keep([])
    assert read(metrics.exposition()) == {}
    models.observe(served("1"), request())
    assert read(metrics.exposition())[series("kfunc_model_requests_total", model="iris", version="1", status="2xx")] == 1


def test_a_model_that_tells_no_accelerator_has_no_series_of_it(configured: Callable[..., Any], tmp_path: Path) -> None:
    text = "from kfunc import Handler, TensorSpec\nclass A(Handler):\n  inputs = [TensorSpec('x', 'BYTES', [-1])]\n"
    text += "  takes_images = True"
    (tmp_path / "handler.py").write_text(text)
    metrics = Metrics("handler")
    ModelMetrics(metrics).timed_load()(configured(str(tmp_path), "python")).close()
    assert "kfunc_model_version_load_seconds" in metrics.exposition()
    assert "kfunc_model_accelerator" not in metrics.exposition()


def test_what_a_model_runs_on_is_shown_while_it_is_loaded(configured: Callable[..., Any], tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        shutil.copy(MODEL, tmp_path / version / "model.onnx")
    metrics = Metrics("handler")
    models = ModelMetrics(metrics)

    async def main() -> None:
        config = configured(str(tmp_path), accelerator="auto", name="iris")
        repository = Repository(config, models.timed_load(), on_change=models.keep)
        await repository.open()
        about = {"model": "iris", "accelerator": "cpu", "device": ""}
        found = read(metrics.exposition())
        assert [found[series("kfunc_model_accelerator", **about, version=each)] for each in ("1", "2")] == [1, 1]
        shutil.rmtree(tmp_path / "1")
        await repository.refresh(config.model)
        assert versions(metrics, "kfunc_model_accelerator") == ["2"]
        await repository.unload("iris")
        assert read(metrics.exposition()) == {}
        repository.close()

    asyncio.run(main())
