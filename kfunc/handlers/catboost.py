"""The runtime for CatBoost: models in its own binary form (.cbm) and in JSON."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost
import numpy as np

from kfunc.errors import ModelLoadError
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.tabular import PREDICT, PROBABILITIES, Offer, TabularHandler, features
from kfunc.handlers.tensors import texts_of
from kfunc.handlers.versions import require_not_newer
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Array = np.ndarray[Any, Any]

MAGIC = b"CBM1"
VERSION = re.compile(r"(?:tags/v|release )(\d+\.\d+(?:\.\d+)?)")
DATATYPES = {"i": "INT64", "f": "FP64", "b": "BOOL"}


class CatboostHandler(TabularHandler):
    """A model of trees. Categories and texts are columns of strings, and then each column is an input of its own."""

    platform = "catboost"

    def load(self, path: Path) -> None:
        """Read the model. Raises ModelLoadError."""
        kind = kind_of(path)
        self.native = model = catboost.CatBoost()
        try:
            model.load_model(str(path), format=kind)
        except catboost.CatBoostError as error:
            raise ModelLoadError(f"{path}: catboost cannot read it: {str(error).partition(': ')[2] or error}") from None
        if found := VERSION.search(model.get_metadata().get("catboost_version_info") or ""):
            require_not_newer(path, "catboost", found[1])
        if model.get_embedding_feature_indices():
            raise ModelLoadError(f"{path}: has embedding features, which the protocols cannot name: export it to ONNX")
        self._threads = self.config.model.threads or usable_processors()
        self._describe(model)
        self.offer(path, _offers(model, self._threads))

    def _describe(self, model: Any) -> None:
        names = [str(name) for name in model.feature_names_]
        self._words = {*model.get_cat_feature_indices(), *model.get_text_feature_indices()}
        self.inputs = features(len(names))
        if self._words:
            kinds = ["BYTES" if number in self._words else "FP32" for number in range(len(names))]
            self.inputs = [TensorSpec(name, kind, [-1]) for name, kind in zip(names, kinds, strict=True)]
            self.rows = self._table
        elif names != [str(number) for number in range(len(names))]:
            self.columns = tuple(names)

    def _table(self, inputs: "Arrays") -> "Array":
        """The columns as rows of values, strings among them."""
        count = len(inputs[self.inputs[0].name])
        table = np.empty((count, len(self.inputs)), np.object_)
        for number, spec in enumerate(self.inputs):
            column = inputs[spec.name]
            table[:, number] = texts_of(spec.name, column) if number in self._words else column.ravel()
        return table


def _offers(model: Any, threads: int) -> list[Offer]:
    """Labels and probabilities of what was trained with classes; else the values, or several for each row."""

    def ask(kind: str) -> Any:
        return lambda rows: model.predict(rows, prediction_type=kind, thread_count=threads)

    classes = np.asarray(model.classes_)
    if not classes.size:
        width = np.asarray(ask("RawFormulaVal")(_example(model))).shape[1:]
        return [Offer(TensorSpec(PREDICT, "FP64", [-1, *width]), ask("RawFormulaVal"))]
    datatype = DATATYPES.get(classes.dtype.kind, "BYTES")
    dtype = {"INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_}.get(datatype, np.object_)
    label = ask("Class")
    shape = [-1, *_of_rows(label(_example(model))).shape[1:]]
    return [
        Offer(TensorSpec(PREDICT, datatype, shape), lambda rows: _labels(label(rows), dtype)),
        Offer(TensorSpec(PROBABILITIES, "FP64", [-1, len(classes)]), ask("Probability")),
    ]


def _labels(answer: Any, dtype: Any) -> "Array":
    labels = _of_rows(answer)
    return labels == "True" if dtype is np.bool_ and labels.dtype.kind in "OU" else labels.astype(dtype)


def _of_rows(answer: Any) -> "Array":
    """A label for each row, or several where a row has any number of classes; CatBoost puts one into a column of its own."""
    labels = np.asarray(answer)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _example(model: Any) -> list[list[Any]]:
    words = {*model.get_cat_feature_indices(), *model.get_text_feature_indices()}
    return [["a" if number in words else 0.0 for number in range(len(model.feature_names_))]]


def kind_of(path: Path) -> str:
    """The format by the first bytes; the length that a binary model tells is checked, since CatBoost believes it.

    Raises ModelLoadError.
    """
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == MAGIC:
            if len(head) < 8 or int.from_bytes(head[4:], "little") > path.stat().st_size - 8:
                raise ModelLoadError(f"{path}: is truncated: it tells a length that the file does not have")
            return "cbm"
        if head.lstrip()[:1] != b"{":
            raise ModelLoadError(f"{path}: is no CatBoost model: those begin with CBM1, or are JSON")
        try:
            document = json.loads(head + file.read())
        except ValueError as error:
            raise ModelLoadError(f"{path}: is not JSON: {error}") from None
    if not isinstance(document, dict) or "features_info" not in document:
        raise ModelLoadError(f"{path}: is no CatBoost model: its JSON has no features_info")
    return "json"
