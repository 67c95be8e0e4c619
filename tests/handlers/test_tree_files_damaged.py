"""Models of trees with one or two parts replaced by others: whatever they say, they pass or are refused as broken."""

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from kfunc.handlers import lightgbm_files, ubjson, xgboost_files
from kfunc.handlers.tree_shape import Broken
from tests.handlers import test_lightgbm_files as lightgbm
from tests.handlers import test_xgboost_files as xgboost

COUNT = 1000
VALUES: list[Any] = [
    -1, 0, 1, 2, 7, 2**31 - 1, -(2**31), 2**40, 2**70, 1e30, 0.5, None, True, [], {}, [0], [[1]], {"a": 1},
    "x", "-1", "0", "1", "7", "4294967295", "1" * 5000,
]  # fmt: skip
WORDS = [
    b"-1",
    b"0",
    b"1",
    b"2",
    b"4294967295",
    b"1e30",
    b"nan",
    b"",
    b"x",
    b"0.5",
    b"-",
    b"1 1",
    b"=",
    b"\n",
    b"\xff",
    b"9" * 5000,
]
XGBOOST = [
    xgboost.document(xgboost.tree(), xgboost.tree(1)),
    xgboost.document(xgboost.tree(split_type=[1, 0, 0], **xgboost.CATEGORIES)),
    xgboost.of_two_targets(xgboost.wide()),
    xgboost.best("1"),
    xgboost.document(learner={"gradient_booster": {"name": "gblinear", "model": {"weights": [0.5, 0.5, 0]}}}),
    xgboost.document(
        learner={
            "gradient_booster": {
                "name": "dart",
                "weight_drop": [1],
                "gbtree": {"model": xgboost.document(xgboost.tree())["learner"]["gradient_booster"]["model"]},
            }
        }
    ),
]
LIGHTGBM = [lightgbm.model({}, lightgbm.STUMP), lightgbm.model(lightgbm.CATEGORIES), lightgbm.model({}, lightgbm.LINEAR)]


def places(value: Any) -> "Iterator[tuple[Any, Any]]":
    """Every member of every object and array: the one that has it, and its name or number there."""
    for at, member in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, at
        yield from places(member)


@pytest.mark.parametrize("document", XGBOOST)
def test_a_damaged_model_of_xgboost_passes_or_is_broken(document: dict[str, Any]) -> None:
    random, refused = Random(0), 0
    for _ in range(COUNT):
        damaged = json.loads(json.dumps(document))
        for _ in range(random.choice((1, 1, 2))):
            parent, at = random.choice([*places(damaged)])
            parent[at] = random.choice(VALUES)
        try:
            xgboost_files.require_sound(damaged)
        except Broken:
            refused += 1
    assert 0 < refused < COUNT


@pytest.mark.parametrize("content", LIGHTGBM)
def test_a_damaged_model_of_lightgbm_passes_or_is_broken(content: bytes) -> None:
    random, refused = Random(0), 0
    words = [each.span() for each in re.finditer(rb"[^\s=]+", content)]
    for _ in range(COUNT):
        begin, end = random.choice(words)
        try:
            lightgbm_files.require_sound(content[:begin] + random.choice(WORDS) + content[end:])
        except Broken:
            refused += 1
    assert 0 < refused < COUNT


def test_damaged_bytes_of_ubjson_are_read_or_broken() -> None:
    random = Random(0)
    content = b"{L" + bytes(7) + b"\x07learner{L" + bytes(7) + b"\x01a[$l#L" + bytes(7) + b"\x02" + bytes(8) + b"}}"
    assert ubjson.decode(content)["learner"]["a"].tolist() == [0, 0]
    for _ in range(COUNT):
        damaged = bytearray(content)
        damaged[random.randrange(1, len(damaged))] = random.choice(b"\0\1\2\x7f\xff{}[]$#LlUiIdDSTFZ")
        try:
            xgboost_files.checked(bytes(damaged))
        except Broken:
            pass
