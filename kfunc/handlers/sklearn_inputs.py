"""What a fitted estimator takes: a matrix, texts, or a table with a column of its own datatype for each feature."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from kfunc.protocol.messages import TensorSpec

INPUT = "input"
NUMBERS = "FP64"
TEXTS = "BYTES"
DATATYPES = {"O": TEXTS, "U": TEXTS, "S": TEXTS, "T": TEXTS, "i": "INT64", "u": "INT64", "b": "BOOL"}
# What a column holds where its training has kept no value of it.
BLANKS: dict[str, Any] = {TEXTS: "", NUMBERS: 0.0, "INT64": 0, "BOOL": False}


# Where an estimator that searches, thresholds, transforms the target, calibrates, votes or stacks has what sees the rows.
INNER = ("best_estimator_", "estimator_", "regressor_", "calibrated_classifiers_", "estimators_", "estimator")


def first_step(estimator: Any) -> Any:
    """What sees the rows as they come; of several beside one another, the first."""
    for name in INNER:
        inner = getattr(estimator, name, None)
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if hasattr(inner, "get_params") or hasattr(inner, "estimator"):
            return first_step(inner)
    steps = (*getattr(estimator, "steps", ()), *getattr(estimator, "transformer_list", ()))
    return next((first_step(step) for _, step in steps if step not in (None, "passthrough", "drop")), estimator)


def takes_texts(step: Any) -> bool:
    """Whether it wants a string for each row, as what makes vectors of documents does."""
    return hasattr(step, "build_analyzer")


def columns_of(estimator: Any) -> dict[str, Any]:
    """The columns of a table that the estimator was fitted with, each with a value that it has seen or could have.

    Those that a ColumnTransformer drops are not asked for. Empty for what was fitted without names.
    """
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    step = first_step(estimator)
    if not hasattr(step, "transformers_"):
        return {name: _seen_value(step, number) for number, name in enumerate(names)}
    found: dict[str, Any] = {}
    for _, transformer, chosen in step.transformers_:
        if isinstance(transformer, str) and transformer == "drop":
            continue
        for number, name in enumerate(_names(chosen, names)):
            found.setdefault(name, _seen_value(transformer, number))
    return {name: found[name] for name in names if name in found}


def _names(chosen: Any, names: list[str]) -> list[str]:
    """The columns that a transformer was given, by name, position, slice or mask."""
    if isinstance(chosen, str):
        return [chosen]
    if isinstance(chosen, int):
        return [names[chosen]]
    if isinstance(chosen, slice):
        return names[chosen]
    values = list(chosen)
    if values and isinstance(values[0], bool | np.bool_):
        return [name for name, taken in zip(names, values, strict=True) if taken]
    return [each if isinstance(each, str) else names[int(each)] for each in values]


def _seen_value(transformer: Any, number: int) -> Any:
    """A value of its column `number`: a category, a statistic of an imputer, or a number."""
    for step in _steps(transformer):
        if takes_texts(step):
            return ""
        for kept in ("categories_", "statistics_"):
            values = getattr(step, kept, None)
            if values is not None and number < len(values):
                value = values[number][0] if kept == "categories_" and len(values[number]) else values[number]
                return value.item() if isinstance(value, np.generic) else value
    return 0.0


def _steps(transformer: Any) -> Iterator[Any]:
    inner = (*getattr(transformer, "steps", ()), *getattr(transformer, "transformer_list", ()))
    for _, step in inner or [("", transformer)]:
        yield from _steps(step) if inner else (step,)


def datatype_of(value: Any) -> str:
    """The datatype of a column that holds such values."""
    if isinstance(value, str | bytes) or value is None:
        return TEXTS
    return DATATYPES.get(np.asarray(value).dtype.kind, NUMBERS)


def inputs_of(estimator: Any, columns: dict[str, Any]) -> list[TensorSpec]:
    """One input for each column where some are no numbers; else one for all of them."""
    if takes_texts(first_step(estimator)):
        return [TensorSpec(INPUT, TEXTS, [-1])]
    datatypes = {name: datatype_of(value) for name, value in columns.items()}
    if set(datatypes.values()) <= {NUMBERS}:
        width = len(columns) or int(getattr(estimator, "n_features_in_", -1))
        return [TensorSpec(INPUT, NUMBERS, [-1, width])]
    return [TensorSpec(name, datatype, [-1]) for name, datatype in datatypes.items()]
