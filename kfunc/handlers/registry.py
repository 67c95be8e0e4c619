"""The runtimes, one line each; imported when one is chosen."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from msgspec import Struct

from kfunc.errors import ModelLoadError

if TYPE_CHECKING:
    from kfunc.handlers.contract import Handler


class RuntimeEntry(Struct, frozen=True):
    """A runtime: its class, the packages it imports, the extra that installs them, the files it reads."""

    target: str
    packages: tuple[str, ...]
    extra: str
    suffixes: tuple[str, ...]


RUNTIMES = {
    "onnx": RuntimeEntry("kfunc.handlers.onnx:OnnxHandler", ("onnxruntime",), "onnx", (".onnx",)),
    "sklearn": RuntimeEntry(
        "kfunc.handlers.sklearn:SklearnHandler", ("sklearn", "skops"), "sklearn", (".skops", ".joblib", ".pkl", ".pickle")
    ),
    "python": RuntimeEntry("kfunc.handlers.python:PythonHandler", (), "", (".py",)),
}

# Formats that another runtime cannot read either, with the way to one that can.
REFUSED = {
    ".params": "MXNet is not maintained any more: export the model to ONNX",
    ".pt": "a PyTorch model is not read by this version: export it with torch.onnx.export",
    ".h5": "a Keras model is not read by this version: export it with tf2onnx",
}


def runtime_of(file: str) -> tuple[str, str]:
    """The runtime for a model by its file's name, and why. Raises ModelLoadError."""
    name = PurePath(file).name
    suffix = PurePath(name).suffix.lower()
    for runtime, entry in RUNTIMES.items():
        if suffix in entry.suffixes:
            return runtime, f"the name ends in {suffix}"
    if suffix in REFUSED:
        raise ModelLoadError(f"{name}: {REFUSED[suffix]}")
    if not suffix:
        return "python", "a folder holds a handler.py"
    known = ", ".join(suffix for entry in RUNTIMES.values() for suffix in entry.suffixes)
    raise ModelLoadError(f"{name}: no runtime reads such a file; known are {known}. Set inference.model.runtime otherwise")


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
