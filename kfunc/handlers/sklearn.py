"""The runtime for scikit-learn: skops files, and pickles only where func.yaml trusts one by its digest."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import ModelLoadError
from kfunc.handlers.contract import Handler
from kfunc.handlers.registry import how_to_install
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

PICKLES = (".joblib", ".pkl", ".pickle")


class SklearnHandler(Handler):
    """A fitted estimator or pipeline; the answer is what its `predict` says."""

    platform = "sklearn"
    exact_datatypes = False

    def load(self, path: Path) -> None:
        """Read the estimator. Raises ModelLoadError."""
        model = self.config.model
        estimator = (
            _read_skops(path)
            if path.suffix.lower() == ".skops"
            else _read_pickle(path, trusted=model.trust and model.digest is not None)
        )
        if not hasattr(estimator, "predict"):
            raise ModelLoadError(f"{path}: a {type(estimator).__name__} has no predict method")
        self._estimator = estimator
        self.inputs = [TensorSpec("input", "FP64", [-1, int(getattr(estimator, "n_features_in_", -1))])]
        self.outputs = [TensorSpec("predict", _label_datatype(estimator), [-1])]

    def predict(self, inputs: "Arrays") -> "Arrays":
        """Predict the rows."""
        return {"predict": np.asarray(self._estimator.predict(inputs["input"]))}


def _label_datatype(estimator: Any) -> str:
    kind = getattr(getattr(estimator, "classes_", None), "dtype", np.dtype(np.float64)).kind
    return {"i": "INT64", "u": "UINT64", "b": "BOOL", "f": "FP64"}.get(kind, "BYTES")


def _read_skops(path: Path) -> Any:
    try:
        from skops import io as skops_io
    except ImportError:
        raise ModelLoadError(f"{path}: skops is not installed: {how_to_install('sklearn')}") from None
    try:
        unknown = skops_io.get_untrusted_types(file=path)
        if unknown:
            raise ModelLoadError(f"{path}: holds types that skops does not know as safe: {', '.join(unknown)}")
        return skops_io.load(path, trusted=[])
    except ModelLoadError:
        raise
    except Exception as error:  # zipfile's, json's and skops's own
        raise ModelLoadError(f"{path}: skops cannot read it: {error}") from None


def _read_pickle(path: Path, *, trusted: bool) -> Any:
    """The digest has been checked by the loader; a pickle that nobody vouches for is never opened."""
    if path.suffix.lower() not in PICKLES:
        raise ModelLoadError(
            f"{path}: the runtime sklearn reads .skops, {' and '.join(PICKLES)} files (inference.model.runtime)"
        )
    if not trusted:
        raise ModelLoadError(
            f"{path}: a pickle can run any code; save the model with skops, or set model.trust: true and model.digest"
        )
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # a pickle may raise anything
        raise ModelLoadError(f"{path}: joblib cannot read it: {type(error).__name__}: {error}") from None
