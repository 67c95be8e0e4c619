"""A loaded model: a Handler made into a `Model` of the core contract."""

import asyncio
import hashlib
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfunc.config.pod import PodConfig
from kfunc.errors import DeadlineExceeded, KfuncError, ModelFailed, ModelLoadError, Unavailable, Unsupported
from kfunc.handlers.contract import Handler
from kfunc.handlers.execution import Execution
from kfunc.handlers.isolation import WorkerProcess
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.registry import create, detect
from kfunc.handlers.tensors import InputCheck, to_response
from kfunc.protocol import v1
from kfunc.protocol.contract import Context
from kfunc.protocol.datatypes import JSON
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

log = logging.getLogger("kfunc.model")

HOOKS = ("preprocess", "predict", "postprocess")


def load_handler(config: PodConfig) -> Handler:
    """Create the runtime and load the model. Raises ModelLoadError with the file and the reason."""
    path = Path(config.model.uri.removeprefix("file://"))
    if not path.exists():
        raise ModelLoadError(f"{path}: there is no such model file (inference.model.uri)")
    if config.model.digest is not None:
        _check_digest(path, config.model.digest)
    runtime = config.model.runtime if config.model.runtime != "auto" else detect(config.model.uri)[0]
    handler = create(runtime)
    handler.config = config
    handler.load(path)
    return handler


def _check_digest(path: Path, digest: str) -> None:
    if path.is_dir():
        raise ModelLoadError(f"{path}: model.digest is of a file, and this is a folder")
    with path.open("rb") as file:
        actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if actual != digest:
        raise ModelLoadError(f"{path}: the file's digest is {actual}, func.yaml says {digest}")


def pipeline(handler: Handler) -> "Callable[[Arrays], Arrays]":
    """preprocess → predict → postprocess in one sync call, without the steps that do nothing."""
    steps: list[Any] = [getattr(handler, name) for name in HOOKS]
    steps = [
        step for step, name in zip(steps, HOOKS, strict=True) if getattr(step, "__func__", None) is not vars(Handler)[name]
    ]
    if any(map(inspect.iscoroutinefunction, steps)):
        runner = asyncio.Runner()
        return lambda inputs: runner.run(_chain(steps, inputs))
    if len(steps) == 1:
        only: Callable[[Arrays], Arrays] = steps[0]
        return only

    def call(arrays: "Arrays") -> "Arrays":
        for step in steps:
            arrays = step(arrays)
        return arrays

    return call


async def _chain(steps: list[Any], arrays: "Arrays") -> "Arrays":
    for step in steps:
        result: Arrays | Awaitable[Arrays] = step(arrays)
        arrays = await result if inspect.isawaitable(result) else result
    return arrays


class LoadedModel:
    """A Model whose calls run where Execution decides. `on_process` is told when a worker process is started."""

    def __init__(self, config: PodConfig, handler: Handler) -> None:
        self._config = config
        self._handler = handler
        self._worker: WorkerProcess | None = None
        self._in_flight = 0
        self._limit = config.limits.max_concurrency
        self._timeout_s = config.timeout_s
        self.metadata = ModelMetadata(
            config.model.name, [config.model.version], handler.platform, handler.inputs, handler.outputs
        )
        self._check = InputCheck(handler.inputs, exact_datatypes=handler.exact_datatypes)
        hooks = [getattr(handler, name) for name in HOOKS]
        self._async_steps = hooks if any(map(inspect.iscoroutinefunction, hooks)) else None
        mode = "thread" if self._async_steps else config.model.execution
        if mode == "process":
            self._isolate_now()
        call = self._worker.call if self._worker is not None else pipeline(handler) if not self._async_steps else _unused
        self._execution = Execution(
            call, "thread" if mode == "process" else mode, self._executor, self._isolate if mode == "auto" else None
        )

    def _executor(self) -> Executor:
        automatic = 1 if self._handler.platform == "python" else usable_processors()
        return ThreadPoolExecutor(self._config.model.concurrency or automatic, "model")

    # ---- isolation

    def _isolate_now(self) -> None:
        self._worker = WorkerProcess(self._config)
        self._worker.start()

    def _isolate(self) -> None:
        """Calls hold the GIL: load the model in a process of its own, and switch when it is there."""
        log.warning("the model's calls hold the GIL; it moves to a worker process (model.execution: process says so at once)")
        asyncio.get_running_loop().run_in_executor(None, self._move)

    def _move(self) -> None:
        worker = WorkerProcess(self._config)
        try:
            worker.start()
        except (OSError, ModelLoadError) as error:
            log.warning("the model stays in the handler's process: %s", error)
            return
        self._worker = worker
        self._execution = Execution(worker.call, "thread", self._executor)

    # ---- Model

    @property
    def ready(self) -> bool:
        """Whether the model can be asked."""
        return (self._worker is None or self._worker.ready) and self._handler.ready()

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """Check, run, name. Raises InvalidRequest for what the model does not take, Unavailable past the limit."""
        if request.inputs and request.inputs[0].datatype == JSON:
            request = v1.typed(request, self.metadata)
        arrays = self._check.arrays(request)
        execution = self._execution
        size = 0
        for array in arrays.values():
            size += array.size
        if size > execution.loop_size:
            return self._infer_elsewhere(request, arrays, size, context)
        try:
            outputs = execution.run(arrays, size)
        except KfuncError:
            raise
        except Exception as error:
            raise _model_failed() from error
        return to_response(request, self.metadata, outputs)

    async def _infer_elsewhere(self, request: InferRequest, arrays: "Arrays", size: int, context: Context) -> InferResponse:
        if self._in_flight >= self._limit:
            raise Unavailable("too many requests wait for the model (limits.max_concurrency); try again later")
        self._in_flight += 1
        try:
            if self._async_steps is not None:
                outputs = await self._run_async(_chain(self._async_steps, arrays))
            else:
                outputs = await self._execution.run_in_thread(arrays, size, self._timeout_s, context)
        except KfuncError:
            raise
        except Exception as error:
            raise _model_failed() from error
        finally:
            self._in_flight -= 1
        return to_response(request, self.metadata, outputs)

    async def _run_async(self, steps: "Coroutine[Any, Any, Arrays]") -> "Arrays":
        task = asyncio.ensure_future(steps)  # the user's code may need a task: asyncio.timeout does
        timer = asyncio.get_running_loop().call_later(self._timeout_s, task.cancel)
        try:
            return await task
        except asyncio.CancelledError:
            raise DeadlineExceeded("the model did not answer in time (timeout_s)") from None
        finally:
            timer.cancel()

    def stream(self, request: InferRequest, context: Context) -> AsyncIterator[InferResponse]:
        """No runtime of this version answers in parts."""
        raise Unsupported("this model does not answer in parts")

    def stuck(self) -> bool:
        """Whether a call has run past hang_timeout_s; those in a worker process are ended there."""
        return self._worker is None and self._execution.stuck(self._config.hang_timeout_s)

    def close(self) -> None:
        """Let go of threads and processes."""
        self._execution.close()
        if self._worker is not None:
            self._worker.close()


def _model_failed() -> ModelFailed:
    """The error of the caller; the log gets the model's own."""
    log.exception("the model failed")
    return ModelFailed("the model failed; the log of the handler says more")


def _unused(arrays: "Arrays") -> "Arrays":
    raise ModelFailed("an async handler runs on the event loop")
