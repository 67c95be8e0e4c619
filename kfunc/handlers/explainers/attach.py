"""The explainer that func.yaml asks for, put in the place of a handler's `explain`."""

import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.config.explain import NEED_ROWS, Explain
from kfunc.errors import ModelLoadError
from kfunc.handlers.caller_faults import refuse
from kfunc.handlers.contract import Handler
from kfunc.handlers.explainers.contract import Explainer
from kfunc.handlers.registry import how_to_install

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

EXPLAINERS = {
    "shap-tree": "kfunc.handlers.explainers.trees:TreeExplainer",
    "shap-linear": "kfunc.handlers.explainers.linear:LinearExplainer",
    "shap-kernel": "kfunc.handlers.explainers.kernel:KernelExplainer",
    "lime": "kfunc.handlers.explainers.lime:LimeExplainer",
    "captum": "kfunc.handlers.explainers.captum:CaptumExplainer",
}


def attach(handler: Handler, settings: Explain, path: Path, own: bool) -> None:
    """Give the handler an `explain` by `settings`. Raises ModelLoadError where that cannot work; `own`: it has one."""
    if own:
        raise ModelLoadError(f"{path}: the handler has an explain method of its own; remove it, or inference.explain")
    module, _, name = EXPLAINERS[settings.method].partition(":")
    kind: type[Explainer] = getattr(import_module(module), name)
    background = None
    if settings.background:
        background = read_rows(Path(settings.background), settings.background_rows)
    elif settings.method in NEED_ROWS:
        raise ModelLoadError(f"explain.method {settings.method} needs explain.background, a file of usual rows (.npy, .csv)")
    explainer = kind(handler, settings, background)
    explainer.check(path)
    missing = [package for package in explainer.packages if find_spec(package) is None]
    if missing:
        extra = "captum" if "captum" in missing else "explain"
        raise ModelLoadError(f"explain.method {settings.method} needs {', '.join(missing)}: {how_to_install(extra)}")
    lock = threading.Lock()  # SHAP, LIME and captum keep state while they explain

    def explain(inputs: "Arrays") -> "Arrays":
        try:
            with lock:
                return explainer.explain(inputs)
        except ValueError as error:
            refuse(handler.platform, error, inputs)
            raise

    handler.explain = explain  # type: ignore[method-assign]


def read_rows(path: Path, most: int) -> "np.ndarray[Any, Any]":
    """Rows of numbers from a file, at most so many, evenly chosen; a CSV may have a line of names. Raises ModelLoadError."""
    try:
        content = read_npy(path) if path.suffix == ".npy" else read_csv(path)
        rows: np.ndarray[Any, Any] = np.asarray(content, np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise ModelLoadError(f"{path}: cannot be read as explain.background: {error}") from None
    if rows.ndim != 2 or not rows.size:
        raise ModelLoadError(f"{path}: explain.background must be rows of numbers, and its shape is {list(rows.shape)}")
    chosen: np.ndarray[Any, Any] = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    return chosen


def read_npy(path: Path) -> Any:
    """One array; np.load would open other kinds of files, too."""
    with path.open("rb") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_csv(path: Path) -> Any:
    with path.open(encoding="utf-8") as file:
        first = file.readline().strip().split(",")
    try:
        [float(each) for each in first]
        skipped = 0
    except ValueError:
        skipped = 1
    return np.loadtxt(path, delimiter=",", skiprows=skipped, ndmin=2)
