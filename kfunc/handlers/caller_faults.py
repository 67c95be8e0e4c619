"""Which failures of a library are the caller's: values that the model was not trained for. Imported when one fails."""

import ast
import re
from typing import TYPE_CHECKING

import numpy as np

from kfunc.errors import InvalidRequest

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

PLATFORMS = ("sklearn", "xgboost", "lightgbm", "mlflow")
ABOUT_VALUES = re.compile(
    r"Found unknown categories|could not convert string to float|contains previously unseen labels|Negative values in data"
    r"|X has \d+ features, but|number of features in data|Found array with 0 sample"
)
NOT_FINITE = re.compile(r"contains NaN|contains infinity|Input data contains `inf`")
UNSEEN = re.compile(r"Found unknown categories (\[.*\]) in column", re.DOTALL)
LARGEST = float(np.finfo(np.float32).max)
MOST_WORDS = 300


def refuse(platform: str, error: Exception, inputs: "Arrays") -> None:
    """Raise InvalidRequest for values that the library refuses; return where the model is at fault."""
    words = " ".join(str(error).split())
    if platform not in PLATFORMS or not (ABOUT_VALUES.search(words) or (NOT_FINITE.search(words) and _has_odd(inputs))):
        return
    where = [name for name in inputs if name in _columns_of(words, inputs)]
    column = f"{', '.join(where)}: " if where else ""
    raise InvalidRequest(f"{column}the model does not take these values: {words[:MOST_WORDS]}") from None


def _has_odd(inputs: "Arrays") -> bool:
    """Whether the caller has given a number that is none, infinite or too large; else a step of the model has made it."""
    floats = [array for array in inputs.values() if array.dtype.kind == "f"]
    return any(not bool((np.abs(array) <= LARGEST).all()) for array in floats)


def _columns_of(words: str, inputs: "Arrays") -> set[str]:
    """The columns with the categories that scikit-learn's encoder does not know; it counts columns as its own step has them."""
    found = UNSEEN.search(words)
    if found is None or len(inputs) == 1:
        return set()
    try:
        unseen = {str(value) for value in ast.literal_eval(re.sub(r"\bnp\.\w+\(([^()]*)\)", r"\1", found[1]))}
    except (ValueError, SyntaxError):
        return set()
    return {name for name, array in inputs.items() if unseen <= {_text(value) for value in array.ravel().tolist()}}


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
