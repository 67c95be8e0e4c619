"""Estimators of scikit-learn from files: skops, and pickles only where func.yaml trusts one by its digest."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfunc.errors import ModelLoadError
from kfunc.handlers.registry import how_to_install
from kfunc.handlers.versions import require_not_newer, require_safe
from kfunc.storage.zips import open_zip

log = logging.getLogger("kfunc.model")

SKOPS = ".skops"
LEAST = "0.13"  # older ones miss types: CVE-2025-54412, CVE-2025-54413, CVE-2025-54886
HARMLESS = ("numpy.dtype",)  # skops asks about it, and every encoder of categories has one
PICKLES = (".joblib", ".pkl", ".pickle")


def read_estimator(path: Path, *, trusted: bool) -> Any:
    """The estimator. Raises ModelLoadError; `trusted` says that func.yaml vouches for this very file.

    A pickle that nobody vouches for is never opened, and neither is a skops file with types that skops does not know.
    """
    return _of_this_version(path, lambda: _read_skops(path, trusted) if _is_skops(path) else _read_pickle(path, trusted))


def _of_this_version(path: Path, read: Callable[[], Any]) -> Any:
    """What `read` gives, unless a newer scikit-learn has saved it, which would be a guess at best."""
    from sklearn.exceptions import InconsistentVersionWarning

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            estimator, failure = read(), None
        except ModelLoadError as error:
            estimator, failure = None, error
    for each in seen:
        if isinstance(each.message, InconsistentVersionWarning):
            saved_by = str(each.message.original_sklearn_version)
            require_not_newer(path, "sklearn", saved_by)
            log.warning("%s: was saved by scikit-learn %s, an older one; compare its answers once", path, saved_by)
            break
    if failure is not None:
        raise failure
    return estimator


def _is_skops(path: Path) -> bool:
    return path.suffix.lower() == SKOPS


def unknown_types(path: Path, *, trusted: bool) -> list[str]:
    """The types in a skops file that skops does not know as safe; of one that nobody vouches for by a skops that finds all.

    Raises ModelLoadError, and what skops raises.
    """
    import skops
    from skops import io as skops_io

    if not trusted:
        open_zip(path).close()  # skops reads its directory, too
        require_safe(path, "skops", skops.__version__, LEAST)
    return [name for name in skops_io.get_untrusted_types(file=path) if name not in HARMLESS]


def _read_skops(path: Path, trusted: bool) -> Any:
    try:
        from skops import io as skops_io
    except ImportError:
        raise ModelLoadError(f"{path}: skops is not installed: {how_to_install('sklearn')}") from None
    try:
        unknown = unknown_types(path, trusted=trusted)
        if unknown and not trusted:
            raise ModelLoadError(
                f"{path}: holds types that skops does not know as safe: {', '.join(unknown)}; "
                "if the file is yours, set model.trust: true and model.digest"
            )
        return skops_io.load(path, trusted=[*unknown, *HARMLESS])
    except ModelLoadError:
        raise
    except Exception as error:  # zipfile's, json's and skops's own
        raise ModelLoadError(f"{path}: skops cannot read it: {error}") from None


def _read_pickle(path: Path, trusted: bool) -> Any:
    """The digest has been checked by the loader."""
    if path.suffix.lower() not in PICKLES:
        raise ModelLoadError(
            f"{path}: the runtime sklearn reads {SKOPS}, {' and '.join(PICKLES)} files (inference.model.runtime)"
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
