"""A model of several signatures: which one answers, and that all live and end together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.pod import PodConfig, PodModel
from kfunc.errors import InvalidRequest
from kfunc.handlers.local_files import LocalFiles
from kfunc.handlers.signatures import BySignature
from kfunc.handlers.warmup import Alone
from kfunc.protocol.messages import InferRequest, InferResponse
from tests.handlers.test_repository import Loaded


@pytest.fixture
def parts(configured: Callable[..., PodConfig]) -> list[Loaded]:
    return [Loaded(configured(version=version)) for version in ("1", "2")]


@pytest.fixture
def model(parts: list[Loaded]) -> BySignature:
    default: Any = parts[0]
    other: Any = parts[1]
    return BySignature(default, {"serving_default": default, "shout": other})


def answered_by(model: BySignature, parts: list[Loaded], **parameters: Any) -> int:
    """The number of the part that is asked."""
    for number, part in enumerate(parts):
        part.infer = lambda request, context, number=number: InferResponse(str(number), [])  # type: ignore[method-assign, misc]
    answer = model.infer(InferRequest([], parameters=parameters or None), Alone())
    assert isinstance(answer, InferResponse)
    return int(answer.model_name)


def test_a_request_names_its_signature_or_gets_the_default_one(model: BySignature, parts: list[Loaded]) -> None:
    assert answered_by(model, parts) == 0
    assert answered_by(model, parts, signature_name="shout") == 1
    with pytest.raises(InvalidRequest, match="no signature 'cry'; the model's signatures are serving_default, shout"):
        answered_by(model, parts, signature_name="cry")


def test_what_it_says_of_itself_is_the_default_ones(model: BySignature, parts: list[Loaded]) -> None:
    assert (model.metadata, model.ready, model.explains) == (parts[0].metadata, True, True)
    parts[0].ready = False
    assert not model.ready
    parts[1].hangs = True
    assert model.stuck()


def test_all_hold_the_files_and_end_together(model: BySignature, parts: list[Loaded], tmp_path: Path) -> None:
    gone: list[str] = []
    files = LocalFiles(PodModel(uri=str(tmp_path)), "1", lambda: gone.append("files"))
    model.keep(files)
    files.let_go()
    assert gone == []
    model.close()
    assert ([part.closed for part in parts], gone) == ([True, True], ["files"])
