"""The runtime for a user's handler.py: a class derived from Handler, or a plain `predict` function."""

import importlib
import inspect
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.contract import Handler

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

FILE = "handler.py"

_folders: list[str] = []  # of the handler.py that was imported last


class PythonHandler(Handler):
    """Stands in front of the user's object and gives its methods the one form that the server calls."""

    def load(self, path: Path) -> None:
        """Import handler.py and load what it defines. Raises ModelLoadError with the user's line."""
        file = path / FILE if path.is_dir() else path
        try:
            module = import_file(file)
            user = _find(module, file)
            if isinstance(user, Handler):
                user.config, user.metrics = self.config, self.metrics
            if hasattr(user, "load"):
                user.load(file.parent)
        except ModelLoadError:
            raise
        except (Exception, SystemExit) as error:  # the user's own
            raise ModelLoadError(f"{place_of(error, file)}: {type(error).__name__}: {error}") from None
        self._adopt(user)

    def _adopt(self, user: Any) -> None:
        self.inputs = list(getattr(user, "inputs", ()))
        self.outputs = list(getattr(user, "outputs", ()))
        self.exact_datatypes = getattr(user, "exact_datatypes", True)
        self.platform = getattr(user, "platform", "python")
        for name in ("preprocess", "postprocess", "ready"):
            if hasattr(user, name):
                setattr(self, name, getattr(user, name))
        only = self.outputs[0].name if len(self.outputs) == 1 else "output-0"
        self.predict = _method(user.predict, only)  # type: ignore[method-assign, assignment]
        explain = getattr(user, "explain", None)
        if explain is not None and getattr(explain, "__func__", None) is not Handler.explain:
            self.explain = _method(explain, "explanation")  # type: ignore[method-assign, assignment]


def _method(method: Callable[..., Any], only: str) -> Callable[["Arrays"], Any]:
    """The user's method as one that takes all arrays and gives arrays by name; a plain array gets the name `only`."""
    call = _by_name(method)
    if inspect.iscoroutinefunction(method):

        async def call_async(inputs: "Arrays") -> "Arrays":
            return _named(await call(inputs), only)

        return call_async
    if inspect.isasyncgenfunction(method):

        async def parts_async(inputs: "Arrays") -> "AsyncIterator[Arrays]":
            async for part in call(inputs):
                yield _named(part, only)

        return parts_async
    if inspect.isgeneratorfunction(method):

        def parts(inputs: "Arrays") -> "Iterator[Arrays]":
            for part in call(inputs):
                yield _named(part, only)

        return parts
    return lambda inputs: _named(call(inputs), only)


def import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise ModelLoadError(f"{file}: there is no such file")
    _forget_others()
    folder = str(file.parent)
    _folders.append(folder)
    sys.path.insert(0, folder)  # modules beside handler.py
    spec = spec_from_file_location("handler", file)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{file}: is not a Python file")
    module = module_from_spec(spec)
    sys.modules["handler"] = module
    spec.loader.exec_module(module)
    return module


def _forget_others() -> None:
    """Another model, or another version of this one, may have modules of the same names beside its handler.py.

    What was imported goes on with its own; an import within one of its functions finds the last model's.
    """
    for folder in _folders:
        if folder in sys.path:
            sys.path.remove(folder)
        beside = [
            name for name, module in sys.modules.items() if (getattr(module, "__file__", None) or "").startswith(f"{folder}/")
        ]
        for name in beside:
            del sys.modules[name]
    _folders.clear()
    importlib.invalidate_caches()


def place_of(error: BaseException, file: Path) -> str:
    """file:line of the user's code that raised, or that called what raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(file.parent)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else str(file)


def _find(module: ModuleType, file: Path) -> Any:
    """An instance of the handler class, or the module itself where it has a `predict` function."""
    own = [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]
    derived: list[type] = [each for each in own if issubclass(each, Handler)]
    derived = derived or [each for each in own if hasattr(each, "predict")]
    if len(derived) > 1:
        names = ", ".join(each.__name__ for each in derived)
        raise ModelLoadError(f"{file}: more than one handler class: {names}; keep one")
    if derived:
        return derived[0]()
    if inspect.isfunction(getattr(module, "predict", None)):
        return module
    raise ModelLoadError(f"{file}: defines neither a class derived from kfunc.Handler nor a function predict")


def _by_name(predict: Callable[..., Any]) -> Callable[["Arrays"], Any]:
    """`predict(inputs)` takes all arrays in a dict; any other signature takes them by name."""
    parameters = inspect.signature(predict).parameters.values()
    names = [each.name for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    required = {each.name for each in parameters if each.name in names and each.default is each.empty}
    others = any(each.kind == each.VAR_KEYWORD for each in parameters)
    if names == ["inputs"]:
        return predict
    if len(names) == 1 and not others:
        return lambda inputs: predict(_only(inputs, names[0]))

    def call(inputs: "Arrays") -> Any:
        if not required <= inputs.keys() or not (others or inputs.keys() <= set(names)):
            raise InvalidRequest(f"the model's inputs are {', '.join(names)}; given are {', '.join(inputs)}")
        return predict(**inputs)

    return call


def _only(inputs: "Arrays", name: str) -> Any:
    """The one array, whatever the caller named it: V1 has no names."""
    if len(inputs) != 1:
        raise InvalidRequest(f"the model's only input is {name}; {len(inputs)} are given")
    (array,) = inputs.values()
    return array


def _named(result: Any, only: str) -> "Arrays":
    if isinstance(result, dict):
        return {name: np.asarray(value) for name, value in result.items()}
    return {only: np.asarray(result)}
