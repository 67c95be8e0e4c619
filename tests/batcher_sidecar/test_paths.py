"""What is known of a path: whether a request may go unread, and which are merged."""

from typing import Any

import pytest

from kfunc.batcher_sidecar import application
from kfunc.batcher_sidecar.models import Model, name_and_version
from kfunc.batcher_sidecar.paths import MAX_UNMERGED, MOST_UNMERGED_S, UNMERGED_S, Path
from kfunc.batcher_sidecar.policy import Bounds, Policy
from kfunc.config.batcher import Batcher
from kfunc.http.exchange import Exchange
from kfunc.protocol.messages import ModelMetadata, TensorSpec
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder


def path_of(datatype: str = "FP32", width: int = 4) -> Path:
    """A path of a model that takes rows of so many elements, 8 of them in a call."""
    path = Path(b"/v2/models/m/infer", settings := Batcher(max_batch_size=8), Model(settings, Policy(Bounds(max_rows=8))))
    path.learn(ModelMetadata("m", ["1"], "test", [TensorSpec("x", datatype, [-1, width])], []))
    return path


@pytest.mark.parametrize(
    ("datatype", "body", "binary", "may"),
    [
        ("UINT8", b"x" * 32, True, False),
        ("UINT8", b"x" * 33, True, True),
        ("FP32", b"x" * 64, True, False),
        ("FP32", b"x" * 65, True, True),
        ("FP32", b"1," * 31 + b"1", False, False),
        ("FP32", b"1," * 35 + b"1", False, True),
        ("FP32", b"1.234567," * 31 + b"1", False, False),
    ],
)
def test_a_request_that_may_have_more_rows_than_a_call_is_read(datatype: str, body: bytes, binary: bool, may: bool) -> None:
    assert path_of(datatype).may_have_more_rows(body, binary) is may


def test_a_group_in_whose_answers_merging_showed_is_not_merged_for_a_while_and_others_are() -> None:
    path = path_of()
    path.part_from_others(("a",), 10.0)
    assert not path.is_merged(("a",), 10.0)
    assert path.is_merged(("b",), 10.0)
    assert path.is_merged(("a",), 10.0 + UNMERGED_S)


def test_where_merging_shows_in_many_groups_none_is_merged_for_a_while() -> None:
    path = path_of()
    for number in range(MAX_UNMERGED + 10):
        path.part_from_others((number,), 10.0)
    assert not path.is_merged(("another",), 10.0)
    assert len(path.unmerged) <= MAX_UNMERGED + 1
    path.part_from_others((-1,), 10.0 + UNMERGED_S)
    assert path.is_merged(("another",), 10.0 + UNMERGED_S)
    assert len(path.unmerged) == 1


def test_the_pause_doubles_each_time_that_merging_shows_again_and_is_news_once() -> None:
    path, now = path_of(), 10.0
    news = []
    for _ in range(8):
        news.append(path.part_from_others(("a",), now))
        assert not path.part_from_others(("a",), now)  # of another batch that was in flight
        until = path.unmerged[hash(("a",))][0]
        assert not path.is_merged(("a",), until - 1)
        assert path.is_merged(("a",), until)
        now = until
    assert news == [True, *[False] * 7]
    assert path.unmerged[hash(("a",))][1] == MOST_UNMERGED_S


def test_a_group_in_whose_answers_merging_has_not_shown_for_long_is_forgotten() -> None:
    path = path_of()
    for key in ("a", "b"):
        path.part_from_others((key,), 10.0)
    end = 10.0 + UNMERGED_S + MOST_UNMERGED_S
    assert all(path.is_merged((key,), end) for key in ("a", "b") if path.unmerged)
    assert path.unmerged == {}
    path.part_from_others(("a",), end)
    assert path.part_from_others(("a",), end + UNMERGED_S + MOST_UNMERGED_S)
    assert path.unmerged[hash(("a",))][1] == UNMERGED_S


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (b"/v1/models/m:predict", (b"m", b"")),
        (b"/v2/models/m/infer?x=1", (b"m", b"")),
        (b"/v2/models/m/versions/2/infer", (b"m", b"2")),
        (b"/v1/models/m/versions/2:predict", (b"m", b"2")),
        (b"/other/models/m:predict", (b"m", b"")),
        (b"/other:predict", (b"/other:predict", b"")),
    ],
)
def test_a_model_is_the_same_whichever_path_names_it(target: bytes, named: tuple[bytes, bytes]) -> None:
    assert name_and_version(target) == named


class Slow:
    """An upstream that does not answer for a long time."""

    timeout_s = 60.0

    def send(self, call: Any) -> None: ...


def test_no_more_paths_are_remembered_than_may_be_and_a_model_keeps_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a request of the model that all of them name is on its way."""
    monkeypatch.setattr(application, "MAX_PATHS", 10)
    metrics, pool = Metrics("batcher"), Slow()
    batcher = application.BatcherApplication(Batcher(), pool, metrics, RequestRecorder(metrics, access_log=False))  # type: ignore[arg-type]

    exchange = Exchange(pool, b"POST", b"/v1/models/m:predict", [], {}, True)  # type: ignore[arg-type]
    exchange.body, exchange.complete = b'{"instances": [1]}', True
    batcher.handle(exchange)
    for number in range(100):
        batcher.learn(b"/%d/models/m:predict" % number, batched=True)
        batcher.learn(b"/v1/models/%d:predict" % number, batched=True)
        assert len(batcher._paths) <= 10
        assert len(batcher._models) <= 11
    batcher.learn(exchange.target, batched=True)
    assert batcher._paths[exchange.target].model is exchange.note.model
