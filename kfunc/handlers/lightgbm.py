"""The runtime for LightGBM: models as text, as `save_model` writes them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np

from kfunc.errors import ModelLoadError
from kfunc.handlers.lightgbm_files import require_sound
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.tabular import INPUT, TabularHandler, classes_of_scores, features, values_of_scores
from kfunc.handlers.tensors import texts_of
from kfunc.handlers.tree_shape import Broken
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.lightgbm_files import Fields
    from kfunc.handlers.tabular import Array

FORMAT = re.compile(rb"^tree\s*\nversion=v(\d+)")
CLASSES = {"binary": 2, "multiclass": 0, "multiclassova": 0}  # 0: as many as the model says
UNNAMED = re.compile(r"Column_\d+")


class Silent:
    """LightGBM's own lines would go to the standard output; what it refuses, it raises too."""

    def info(self, text: str) -> None:
        """Nothing."""

    warning = info


class LightgbmHandler(TabularHandler):
    """A booster. Its classes are 0, 1 …; columns of strings are those that pandas had as categories in training."""

    platform = "lightgbm"

    def load(self, path: Path) -> None:
        """Read the booster. Raises ModelLoadError."""
        lgb.register_logger(Silent())
        text, head = text_of(path)
        try:
            self.native = booster = lgb.Booster(model_str=text)
            self._codes = _codes(booster, head.get(b"feature_infos", b"").decode().split())
        except (lgb.basic.LightGBMError, ValueError, KeyError) as error:
            raise ModelLoadError(f"{path}: lightgbm cannot read it: {error}") from None
        self._threads = self.config.model.threads or usable_processors()
        self._describe(booster)
        count = booster.num_model_per_iteration()
        wide = CLASSES.get(head.get(b"objective", b"").decode().partition(" ")[0])
        self.offer(path, values_of_scores(count) if wide is None else classes_of_scores(wide or count))

    def _describe(self, booster: Any) -> None:
        names = booster.feature_name()
        self.inputs = features(len(names), "FP64")
        if not UNNAMED.fullmatch(names[0]):
            self.columns = tuple(names)
        if self._codes:
            self.columns = ()
            self.inputs = [TensorSpec(name, _datatype(self._codes.get(name)), [-1]) for name in names]
            self.rows = self.matrix

    def score(self, rows: "Array") -> Any:
        """Probabilities or values; NaN is a missing value."""
        return self.native.predict(rows, num_threads=self._threads)

    def matrix(self, inputs: "Arrays") -> "Array":
        """The rows as LightGBM takes them, with categories as the numbers that training gave them."""
        if not self._codes:
            return inputs[INPUT]
        return np.stack([_numbers(spec.name, inputs[spec.name], self._codes.get(spec.name)) for spec in self.inputs], axis=1)


def _codes(booster: Any, infos: list[str]) -> dict[str, dict[Any, int]]:
    """The number of each category by column; empty where no column had categories in pandas. Raises Broken.

    infos: of each feature its range, as `[0:9]`, its categories, as `0:1:2`, or `none`.
    """
    kept = booster.pandas_categorical or []
    if not isinstance(kept, list) or not all(isinstance(each, list) for each in kept):
        raise Broken("its pandas_categorical is no list of lists")
    if any(isinstance(value, (list, dict)) for each in kept for value in each):
        raise Broken("its pandas_categorical has a category that is no text and no number")
    told = zip(booster.feature_name(), infos, strict=True)
    names = [name for name, info in told if info != "none" and not info.startswith("[")]
    if len(names) != len(kept):  # a column without a split is not told; the numbers are asked for
        return {}
    return {name: {value: code for code, value in enumerate(values)} for name, values in zip(names, kept, strict=True)}


def _datatype(codes: dict[Any, int] | None) -> str:
    if codes is None:
        return "FP64"
    return "BYTES" if any(isinstance(value, str) for value in codes) else "FP64"


def _numbers(name: str, column: "Array", codes: dict[Any, int] | None) -> "Array":
    """A column as numbers; NaN where training has not seen the category."""
    if codes is None:
        return column.ravel()
    values = texts_of(name, column) if column.dtype == np.object_ else column.ravel().tolist()
    return np.array([codes.get(each, np.nan) for each in values], np.float64)


def text_of(path: Path) -> "tuple[str, Fields]":
    """The file's text, which LightGBM may read, and the fields of its head.

    What is checked is what it gets, also while somebody writes the file. Raises ModelLoadError.
    """
    content = path.read_bytes()
    if not content:
        raise ModelLoadError(f"{path}: the file is empty")
    found = FORMAT.match(content)
    if found is None:
        raise ModelLoadError(f'{path}: is no LightGBM model: those begin with the lines "tree" and "version=v…"')
    own = FORMAT.match(lgb.Booster(params={"verbose": -1}, train_set=_nothing()).model_to_string().encode())
    if own is not None and int(found[1]) > int(own[1]):
        raise ModelLoadError(
            f"{path}: was saved by a newer LightGBM, in format v{int(found[1])}; {lgb.__version__}, which is "
            f"installed, has v{int(own[1])}: install a newer one, or save the model with {lgb.__version__}"
        )
    try:
        head = require_sound(content)
        return content.decode(), head
    except Broken as error:
        raise ModelLoadError(f"{path}: {error}") from None
    except UnicodeDecodeError:
        raise ModelLoadError(f"{path}: is no text in UTF-8, which LightGBM writes") from None


def _nothing() -> Any:
    return lgb.Dataset(np.zeros((2, 1)), [0.0, 1.0], params={"verbose": -1})
