"""Which folders of MLflow may be loaded though nobody vouches for them: those whose loader reads data and runs nothing.

MLmodel itself may name a module to import, a class to make, types for skops to trust and libraries to open: what it says is
looked at before MLflow follows it. Everything that is not known here is refused.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from msgspec.structs import replace

from kfunc.config.pod import PodConfig
from kfunc.errors import ModelLoadError
from kfunc.handlers.pickles import find_pickles
from kfunc.handlers.sklearn_files import unknown_types

FILE = "MLmodel"
PYFUNC = "python_function"
CODE = ("code", "model_code_path")
FILES = ("data", "model_path")
CODE_SUFFIXES = (".py", ".pyc", ".so")
PICKLE = "is a pickle, which can run any code"
XGBOOST_CLASSES = (
    "xgboost.core.Booster",
    *(f"xgboost.sklearn.XGB{name}" for name in ("Classifier", "Model", "RFClassifier", "RFRegressor", "Ranker", "Regressor")),
)
LIGHTGBM_CLASS = "lightgbm.basic.Booster"

Flavours = dict[str, dict[str, Any]]


def refuse_code(folder: Path, config: PodConfig) -> None:
    """Raises ModelLoadError for a folder whose loading could run what somebody has put into it, or end the process."""
    code = sorted(each for each in folder.rglob("*") if each.suffix.lower() in CODE_SUFFIXES)
    for found, what in ((find_pickles(folder), PICKLE), (code, "is code of the model")):
        if found:
            raise _refusal(found[0], what)
    flavours = _flavours(folder)
    for flavour in flavours.values():
        for key in CODE:
            if flavour.get(key):
                raise _refusal(folder / FILE, f"names code of the model ({key}: {flavour[key]})")
        for key in FILES:
            if key in flavour:
                _require_file(folder, str(flavour[key]))
    loader = str(flavours[PYFUNC].get("loader_module"))
    if loader not in LOADERS:
        raise _refusal(folder / FILE, f"is loaded by {loader}, and only {', '.join(LOADERS)} read nothing but data")
    reason = LOADERS[loader](folder, flavours, config)
    if reason:
        raise _refusal(folder / FILE, reason)


def _require_file(folder: Path, name: str) -> None:
    """One beside MLmodel: for a file elsewhere MLflow follows the MLmodel there, or takes it for a pickle."""
    if Path(name).name != name or not (folder / name).is_file():
        raise ModelLoadError(f"{folder}: mlflow cannot load it: {name}, which its {FILE} names, is no file beside it")


def _named(folder: Path, flavours: Flavours, flavour: str) -> list[Path]:
    """The files that a loader may open: newer MLflow takes the one that its flavour names, older ones the pyfunc's."""
    for each in (flavour, PYFUNC):
        if "data" not in flavours.get(each, {}):
            raise ModelLoadError(f"{folder}: mlflow cannot load it: its {FILE} names no file (data) of the flavour {each}")
    return sorted({folder / str(flavours[each]["data"]) for each in (flavour, PYFUNC)})


def _refusal(file: Path, what: str) -> ModelLoadError:
    return ModelLoadError(f"{file}: {what}: if the model is yours, set model.trust: true and model.digest, that of the folder")


def _flavours(folder: Path) -> Flavours:
    """The flavours that MLmodel tells, the pyfunc among them."""
    try:
        document = yaml.safe_load((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ModelLoadError(f"{folder}: mlflow cannot load it: {' '.join(str(error).split())[:300]}") from None
    found: Any = document.get("flavors") if isinstance(document, dict) else None
    well_formed = isinstance(found, dict) and all(isinstance(each, dict) for each in found.values())
    if not well_formed or PYFUNC not in found:
        raise ModelLoadError(f"{folder}: mlflow cannot load it: its {FILE} tells no flavour {PYFUNC}")
    flavours: Flavours = found
    return flavours


# ---- what each loader would do besides reading data; empty: nothing


def _sklearn(folder: Path, flavours: Flavours, config: PodConfig) -> str:
    """skops makes whatever types MLmodel lists, so that only those count which skops itself knows."""
    if flavours.get("sklearn", {}).get("serialization_format") != "skops":
        return f"says that the model {PICKLE}"
    file = folder / str(flavours[PYFUNC].get("data", flavours[PYFUNC].get("model_path")))
    try:
        unknown = unknown_types(file, trusted=False)
    except ModelLoadError:
        raise
    except Exception as error:  # zipfile's, json's and skops's own
        raise ModelLoadError(f"{file}: skops cannot read it: {error}") from None
    return f"has types that skops does not know as safe ({', '.join(unknown)})" if unknown else ""


def _xgboost(folder: Path, flavours: Flavours, config: PodConfig) -> str:
    name = flavours.get("xgboost", {}).get("model_class", XGBOOST_CLASSES[0])
    if name not in XGBOOST_CLASSES:
        return f"makes an object of {name}"
    from kfunc.handlers.xgboost import content_of

    for file in _named(folder, flavours, "xgboost"):
        content_of(file, best_as_told=name != XGBOOST_CLASSES[0])  # the library ends the process at a damaged one
    return ""


def _lightgbm(folder: Path, flavours: Flavours, config: PodConfig) -> str:
    name = flavours.get("lightgbm", {}).get("model_class", LIGHTGBM_CLASS)
    if name != LIGHTGBM_CLASS:
        return f"says that the model {PICKLE}"
    from kfunc.handlers.lightgbm import text_of

    for file in _named(folder, flavours, "lightgbm"):
        text_of(file)
    return ""


def _catboost(folder: Path, flavours: Flavours, config: PodConfig) -> str:
    """A child opens the file first: what could be checked of it here is not what ends CatBoost."""
    from kfunc.handlers.catboost import kind_of
    from kfunc.handlers.trial import Trial

    file = folder / str(flavours[PYFUNC].get("data"))
    if flavours.get("catboost", {}).get("save_format") != kind_of(file):
        return f"says another format of {file.name} than the file has"
    own = replace(config.model, uri=str(file), runtime="catboost", outputs=[])
    with Trial(replace(config, model=own)) as trial:
        trial.require()
    return ""


def _onnx(folder: Path, flavours: Flavours, config: PodConfig) -> str:
    """Options of execution providers name libraries, and those of a session files that it writes."""
    own = flavours.get("onnx", {})
    providers = own.get("providers") or []
    session = own.get("onnx_session_options") or {}
    named = isinstance(providers, str) or all(isinstance(each, str) for each in providers)
    return "" if named and not session.get("extra_session_config") else "has options for onnxruntime, which may name libraries"


LOADERS: dict[str, Callable[[Path, Flavours, PodConfig], str]] = {
    "mlflow.sklearn": _sklearn,
    "mlflow.xgboost": _xgboost,
    "mlflow.lightgbm": _lightgbm,
    "mlflow.catboost": _catboost,
    "mlflow.onnx": _onnx,
}
