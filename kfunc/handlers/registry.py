"""The runtimes, one line each; imported when one is chosen."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from kfunc.errors import ModelLoadError

if TYPE_CHECKING:
    from kfunc.handlers.contract import Handler


class RuntimeEntry(Struct, frozen=True):
    """A runtime: its class, the packages it imports, the extra that installs them, the files it reads.

    `distributions` bring the library whose version counts. `shared` are endings that other files have too: such a file
    is the runtime's where `head`, a regular expression, matches its first bytes. `marks` are files that make the folder
    around them one model. `processor_only`: it computes on the CPU and on nothing else. `may_end`: its library ends the
    process at some damaged files, which is why a child opens them first. `chooses_outputs`: `model.outputs` may name some.
    """

    target: str
    packages: tuple[str, ...]
    distributions: tuple[str, ...]
    extra: str
    suffixes: tuple[str, ...]
    shared: tuple[str, ...] = ()
    head: bytes = b""
    marks: tuple[str, ...] = ()
    processor_only: bool = False
    may_end: bool = False
    chooses_outputs: bool = False


RUNTIMES = {
    "python": RuntimeEntry("kfunc.handlers.python:PythonHandler", (), (), "", (".py",), marks=("handler.py",)),
    "onnx": RuntimeEntry(
        "kfunc.handlers.onnx:OnnxHandler", ("onnxruntime",), ("onnxruntime", "onnxruntime-gpu"), "onnx", (".onnx",),
        head=rb"\x08[\x03-\x20](:|\x12(\x00|[\x01-\x7f][ -~]{2}))",  # ir_version, then the graph or the producer's name
    ),
    "sklearn": RuntimeEntry(
        "kfunc.handlers.sklearn:SklearnHandler", ("sklearn", "skops"), ("scikit-learn",), "sklearn",
        (".skops", ".joblib", ".pkl", ".pickle"), processor_only=True, chooses_outputs=True,
    ),
    "xgboost": RuntimeEntry(
        "kfunc.handlers.xgboost:XgboostHandler", ("xgboost",), ("xgboost-cpu", "xgboost"), "xgboost",
        (".ubj", ".xgb"), (".json", ".model", ".bst"), rb'\{(L.{8}|\s*")learner', processor_only=True, chooses_outputs=True,
    ),
    "torch": RuntimeEntry(
        "kfunc.handlers.torch:TorchHandler", ("torch",), ("torch",), "torch",
        (".pt", ".pth", ".pt2", ".torchscript", ".safetensors"),
    ),
    "lightgbm": RuntimeEntry(
        "kfunc.handlers.lightgbm:LightgbmHandler", ("lightgbm",), ("lightgbm",), "lightgbm",
        (".lgb", ".lightgbm"), (".txt", ".model", ".bst"), rb"tree\s*\nversion=v",
        processor_only=True, chooses_outputs=True,
    ),
    "catboost": RuntimeEntry(
        "kfunc.handlers.catboost:CatboostHandler", ("catboost",), ("catboost",), "catboost",
        (".cbm",), (".json", ".model"), rb'CBM1|\{\s*"features_info"', processor_only=True, chooses_outputs=True, may_end=True,
    ),
    "pmml": RuntimeEntry(
        "kfunc.handlers.pmml:PmmlHandler", ("jpmml_evaluator", "jpype"), ("jpmml-evaluator",), "pmml",
        (".pmml",), (".xml",), rb"(<\?xml.{0,200})?<(\w+:)?PMML\b", processor_only=True, chooses_outputs=True,
    ),
    "mlflow": RuntimeEntry(
        "kfunc.handlers.mlflow:MlflowHandler", ("mlflow", "pandas"), ("mlflow-skinny", "mlflow"), "mlflow",
        (), marks=("MLmodel",),
    ),
    "tensorflow": RuntimeEntry(
        "kfunc.handlers.tensorflow:TensorflowHandler", ("tensorflow",), ("tensorflow-cpu", "tensorflow"), "tensorflow",
        (".keras", ".h5"), marks=("saved_model.pb",),
    ),
    "huggingface": RuntimeEntry(
        "kfunc.handlers.huggingface:HuggingfaceHandler", ("torch", "transformers"), ("transformers",), "huggingface", (),
        marks=("tokenizer_config.json", "preprocessor_config.json"),
    ),
    "openvino": RuntimeEntry(
        "kfunc.handlers.openvino:OpenvinoHandler", ("openvino",), ("openvino",), "openvino", (), (".xml",),
        rb"(\s*<\?xml[^>]*>)?\s*<net\b",
    ),
    "paddle": RuntimeEntry(
        "kfunc.handlers.paddle:PaddleHandler", ("paddle",), ("paddlepaddle", "paddlepaddle-gpu"), "paddle", (".pdiparams",)
    ),
    # It is imported where there is a GPU: elsewhere that is the reason, not a missing package.
    "tensorrt": RuntimeEntry("kfunc.handlers.tensorrt:TensorrtHandler", (), ("tensorrt",), "tensorrt", (".engine", ".plan")),
}  # fmt: skip

# Formats that another runtime cannot read either, with the way to one that can.
REFUSED = {
    ".params": "MXNet is not maintained any more: export the model to ONNX with mxnet.onnx.export_model, where MXNet is",
}
SEALED = ".sealed"
NOT_OPENED = "is a sealed model: set sealed: true beside its uri"
NOT_UNPACKED = "only what is fetched is unpacked: unpack it (tar xf, unzip), and name the folder or file at model.uri"
SPARK = "a model of Spark, which needs Spark: write it as PMML or ONNX where it was trained (docs/convert.md)"
HEAD_BYTES = 4096


def runtime_of(file: Path | str) -> tuple[str, str]:
    """The runtime for a model by its file's content and name, and why. Raises ModelLoadError."""
    path = Path(file)
    suffix = path.suffix.lower()
    for runtime, entry in RUNTIMES.items():
        if suffix in entry.suffixes:
            return runtime, f"the name ends in {suffix}"
    by_head = runtime_by_head(path)
    if by_head is not None:
        return by_head, f"the file begins as a model of {by_head}"
    if suffix in REFUSED:
        raise ModelLoadError(f"{path.name}: {REFUSED[suffix]}")
    if suffix == SEALED:
        raise ModelLoadError(f"{path.name}: {NOT_OPENED}")
    if not suffix and not path.is_file():
        return "python", "a folder holds a handler.py"
    from kfunc.storage.archives import is_archive  # start-up time

    if is_archive(path.name) and path.is_file():
        raise ModelLoadError(f"{path.name}: is an archive; {NOT_UNPACKED}")
    from kfunc.storage.pages import PAGE, is_page

    if is_page(path):
        raise ModelLoadError(f"{path.name}: {PAGE}")
    raise _unknown(path, suffix)


def _unknown(path: Path, suffix: str) -> ModelLoadError:
    known = ", ".join(dict.fromkeys(each for entry in RUNTIMES.values() for each in entry.suffixes + entry.shared))
    readers = [name for name, entry in RUNTIMES.items() if suffix in entry.shared]
    but = f" (a {suffix} of {' or '.join(readers)} begins otherwise)" if readers and path.is_file() else ""
    end = f"known are {known}. Set inference.model.runtime otherwise"
    return ModelLoadError(f"{path.name}: no runtime reads such a file{but}; {end}")


def runtime_by_head(file: Path) -> str | None:
    """The runtime whose models begin as this file does."""
    try:
        with file.open("rb") as content:
            head = content.read(HEAD_BYTES)
    except OSError:
        return None
    return next((name for name, entry in RUNTIMES.items() if entry.head and re.match(entry.head, head, re.DOTALL)), None)


def told_by_content(error: ModelLoadError, file: Path, runtime: str) -> ModelLoadError:
    """Why a runtime cannot read a file: where it begins as another's, that."""
    from kfunc.storage.pages import PAGE, is_page  # start-up time

    if is_page(file):
        return ModelLoadError(f"{file}: {PAGE}")
    real = runtime_by_head(file) if file.is_file() else None
    if real in (None, runtime):
        return error
    way = f"give it its own ending, or set inference.model.runtime: {real}"
    return ModelLoadError(f"{file}: this looks like a file of {real}: {way} ({error.message})")


def marked_runtime(folder: Path, runtime: str = "auto", *, code: bool = True) -> str | None:
    """The runtime, of all or the one that is asked about, for which the folder itself is a model; without `code` not Python."""
    entries = RUNTIMES.items() if runtime == "auto" else [(runtime, RUNTIMES[runtime])]
    known = ((name, entry) for name, entry in entries if code or name != "python")
    return next((name for name, entry in known if any((folder / mark).is_file() for mark in entry.marks)), None)


def is_model(file: Path, runtime: str = "auto") -> bool:
    """Whether a file is a model of the runtime, or of any."""
    suffix = file.suffix.lower()
    entries = RUNTIMES.items() if runtime == "auto" else [(runtime, RUNTIMES[runtime])]
    return any(
        suffix in entry.suffixes or (suffix in entry.shared and runtime_by_head(file) == name)
        for name, entry in entries
        if name != "python" or runtime == "python"  # a folder of code is known by its handler.py
    )


def missing_packages(runtime: str) -> list[str]:
    """The packages that `runtime` needs and that are not installed."""
    return [package for package in RUNTIMES[runtime].packages if find_spec(package) is None]


def how_to_install(extra: str) -> str:
    """The command that installs an extra: of the checkout that this runs from, or of the package."""
    root = Path(__file__).parents[2]
    if (root / "pyproject.toml").is_file():
        return f"pip install -e '{root}[{extra}]'"
    return f"pip install 'kfunc[{extra}]'"


def create(runtime: str) -> "Handler":
    """An instance of a runtime's class. Raises ModelLoadError where a package is missing."""
    entry = RUNTIMES[runtime]
    missing = missing_packages(runtime)
    if missing:
        raise ModelLoadError(f"runtime {runtime} needs {', '.join(missing)}: {how_to_install(entry.extra)}")
    module, _, name = entry.target.partition(":")
    handler: Handler = getattr(import_module(module), name)()
    return handler
