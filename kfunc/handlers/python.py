"""The runtime for a user's handler.py: a class derived from Handler, or a plain `predict` function."""

import asyncio
import importlib
import inspect
import logging
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.contract import Handler
from kfunc.handlers.parts import is_source
from kfunc.handlers.steps import is_own

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

log = logging.getLogger("kfunc.model")

FILE = "handler.py"
PACKAGES = ("site-packages", "dist-packages")  # folders of what was installed, in an environment beside handler.py

_last: "list[tuple[str, set[str]]]" = []  # of the handler.py that was imported last: its folder, and the packages before it


class PythonHandler(Handler):
    """Stands in front of the user's object and gives its methods the one form that the server calls."""

    is_users_code = True

    def load(self, path: Path) -> None:
        """Import handler.py and load what it defines. Raises ModelLoadError with the user's line."""
        file = path / FILE if path.is_dir() else path
        try:
            module = import_file(file)
            user = _find(module, file)
            if isinstance(user, Handler):
                user.config, user.metrics = self.config, self.metrics
            if hasattr(user, "load"):
                _waited_for(user.load(file.parent))
            if inspect.iscoroutinefunction(getattr(user, "ready", None)):
                self.ready = AsyncReady(user.ready)  # type: ignore[method-assign]
            elif hasattr(user, "ready"):
                self.ready = user.ready  # type: ignore[method-assign]
            self._adopt(user)
            self._require_what_it_says(file)
        except ModelLoadError:
            raise
        except (Exception, SystemExit) as error:  # the user's own
            raise ModelLoadError(f"{place_of(error, file)}: {type(error).__name__}: {error}") from None

    def _adopt(self, user: Any) -> None:
        self.inputs = list(getattr(user, "inputs", ()))
        self.outputs = list(getattr(user, "outputs", ()))
        self.optional_inputs = list(getattr(user, "optional_inputs", ()))
        for name in ("exact_datatypes", "is_table", "platform", "takes_images"):
            setattr(self, name, getattr(user, name, getattr(self, name)))
        for name in ("preprocess", "postprocess"):
            if hasattr(user, name):
                setattr(self, name, getattr(user, name))
        only = self.outputs[0].name if len(self.outputs) == 1 else "output-0"
        self.predict = _method(user.predict, only)  # type: ignore[method-assign, assignment]
        for name, alone in (("explain", "explanation"), ("predict_stream", only)):
            method = getattr(user, name, None)
            if method is not None and getattr(method, "__func__", None) is not vars(Handler)[name]:
                setattr(self, name, _method(method, alone))

    def _require_what_it_says(self, file: Path) -> None:
        if is_own(self, "predict_stream") and not is_source(self.predict_stream):
            raise ModelLoadError(f"{file}: predict_stream does not yield: write `yield` in it, for each part of an answer")
        if self.takes_images and [each.datatype for each in self.inputs] != ["BYTES"]:
            raise ModelLoadError(f"{file}: takes_images is for a model with one input of BYTES: declare it in `inputs`")


def _waited_for(result: Any) -> Any:
    """What a method gives, or has given when it is an `async def`: this thread has a loop for it."""
    if not inspect.isawaitable(result):
        return result

    async def wait() -> Any:
        return await result

    return asyncio.run(wait())


class AsyncReady:
    """A `ready` that is an `async def`: what it answered last, asked again each time that somebody looks."""

    def __init__(self, ready: Callable[[], Awaitable[Any]]) -> None:
        self._ready = ready
        self._answer = bool(_waited_for(ready()))
        self._asking: asyncio.Future[None] | None = None

    def __call__(self) -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:  # a worker process has no loop
            self._answer = bool(_waited_for(self._ready()))
            return self._answer
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask())
        return self._answer

    async def _ask(self) -> None:
        try:
            self._answer = bool(await self._ready())
        except Exception:
            log.exception("the model's ready failed")
            self._answer = False


def _method(method: Callable[..., Any], only: str) -> Callable[["Arrays"], Any]:
    """The user's method as one that takes all arrays and gives arrays by name; a plain array gets the name `only`."""
    call = _by_name(method)
    if inspect.iscoroutinefunction(method):

        async def call_async(inputs: "Arrays") -> "Arrays":
            return _named(await call(inputs), only)

        return call_async
    if inspect.isasyncgenfunction(method):

        async def parts_async(inputs: "Arrays") -> "AsyncIterator[Arrays]":
            async with aclosing(call(inputs)) as given:  # its own end, too, comes at once
                async for part in given:
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
    _forget_last()
    folder = str(file.parent)
    _last.append((folder, {_package(name) for name in sys.modules}))
    sys.path.insert(0, folder)  # modules beside handler.py
    spec = spec_from_file_location("handler", file)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{file}: is not a Python file")
    module = module_from_spec(spec)
    sys.modules["handler"] = module
    spec.loader.exec_module(module)
    return module


def _forget_last() -> None:
    """Another model, or another version of this one, may have modules of the same names beside its handler.py.

    What was imported goes on with its own; an import within one of its functions finds the last model's. Packages that are
    installed below the folder, or were there before, stay: some cannot be imported twice in a process.
    """
    for folder, before in _last:
        if folder in sys.path:
            sys.path.remove(folder)
        beside = [
            name
            for name, module in sys.modules.items()
            if _package(name) not in before and _is_beside(getattr(module, "__file__", None) or "", folder)
        ]
        for name in beside:
            del sys.modules[name]
    _last.clear()
    importlib.invalidate_caches()


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_beside(file: str, folder: str) -> bool:
    installed = file.startswith(f"{sys.prefix}/") or any(f"/{name}/" in file for name in PACKAGES)
    return file.startswith(f"{folder}/") and not installed


def place_of(error: BaseException, file: Path) -> str:
    """file:line of the user's code that raised, or that called what raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    folder = file.parent.absolute()  # frames have whole paths, however handler.py was named
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).absolute().is_relative_to(folder)]
    return f"{file.parent / Path(own[-1].filename).absolute().relative_to(folder)}:{own[-1].lineno}" if own else str(file)


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
