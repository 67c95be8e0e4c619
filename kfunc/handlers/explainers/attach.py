"""The explainer that func.yaml asks for, put in the place of a handler's `explain`."""

import logging
import threading
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.config.explain import NEED_ROWS, Explain
from kfunc.errors import ModelLoadError
from kfunc.handlers.caller_faults import refuse
from kfunc.handlers.contract import Handler
from kfunc.handlers.explainers.contract import Explainer
from kfunc.handlers.explainers.rows import Rows, read_rows
from kfunc.handlers.registry import how_to_install
from kfunc.telemetry.log_lines import PROGRESS

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

WORTH_TELLING_S = 0.1
progress_log = logging.getLogger(PROGRESS)

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
        background = usual_rows(Path(settings.background), settings.background_rows, handler.columns)
    elif settings.method in NEED_ROWS:
        raise ModelLoadError(f"explain.method {settings.method} needs explain.background, a file of usual rows (.npy, .csv)")
    explainer = kind(handler, settings, background)
    explainer.check(path)
    missing = [package for package in explainer.packages if find_spec(package) is None]
    if missing:
        extra = "captum" if "captum" in missing else "explain"
        raise ModelLoadError(f"explain.method {settings.method} needs {', '.join(missing)}: {how_to_install(extra)}")
    if not (settings.lazy or handler.config.model.lazy):
        _prepare(explainer, handler.config.model.name, path)
    lock = threading.Lock()  # SHAP, LIME and captum keep state while they explain

    def explain(inputs: "Arrays") -> "Arrays":
        try:
            with lock:
                explainer.make_ready()
                return explainer.explain(inputs)
        except ValueError as error:
            refuse(handler.platform, error, inputs)
            raise

    handler.explain = explain  # type: ignore[method-assign]


def _prepare(explainer: Explainer, model: str, path: Path) -> None:
    """Before the model is ready. Raises ModelLoadError where the library does not take the model."""
    method, began_at = explainer.settings.method, monotonic()
    try:
        explainer.make_ready()
    except ModelLoadError:
        raise
    except Exception as error:  # each library's own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelLoadError(f"{path}: explain.method {method} cannot explain this model: {reason}") from None
    if (took_s := monotonic() - began_at) > WORTH_TELLING_S:
        progress_log.info(
            "model %s: %s was made ready in %.1f s (explain.lazy leaves that to the first question)", model, method, took_s
        )


def usual_rows(path: Path, most: int, columns: Sequence[str]) -> Rows:
    """Rows of numbers from a file in the order of the model's columns, at most so many of them. Raises ModelLoadError."""
    try:
        found = read_rows(path, columns)
        rows: np.ndarray[Any, Any] = np.asarray(found.values, np.float64)
    except (OSError, ValueError, EOFError) as error:
        raise ModelLoadError(f"{path}: cannot be read as explain.background: {error}") from None
    if rows.ndim != 2 or not rows.size:
        raise ModelLoadError(f"{path}: explain.background must be rows of numbers, and its shape is {list(rows.shape)}")
    return Rows(rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)], found.names)
