"""A loaded model: a Handler made into a `Model` of the core contract."""

import asyncio
import inspect
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, UnsetType

from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, KfuncError, ModelFailed, ModelLoadError, Unavailable, Unsupported
from kfunc.handlers.columns import inputs_of
from kfunc.handlers.contract import Handler
from kfunc.handlers.execution import Execution, too_late
from kfunc.handlers.isolation import IsolatedHandler
from kfunc.handlers.parts import parts_of, yields
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.read_ahead import read_ahead
from kfunc.handlers.registry import create, runtime_of, told_by_content
from kfunc.handlers.tensors import to_response
from kfunc.protocol import v1
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata
from kfunc.telemetry.business import BusinessMetrics
from kfunc.telemetry.current import CURRENT

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Step = tuple[Callable[..., Any], bool]
    """A method of a handler, and whether what it gives is to be awaited."""

log = logging.getLogger("kfunc.model")
PREDICT = ("preprocess", "predict", "postprocess")
STREAM = ("preprocess", "predict_stream", "postprocess")
EXPLAIN = ("preprocess", "explain")
TIMEOUT = b"grpc-timeout"  # what a call of gRPC says passes through the pod


def load_handler(config: PodConfig, metrics: BusinessMetrics | None = None) -> Handler:
    """Load the model, here or in a process of its own. Raises ModelLoadError with the file and the reason."""
    if config.model.execution != "process":
        return load_here(config, metrics)
    handler = IsolatedHandler()
    handler.config, handler.metrics = config, metrics or handler.metrics
    handler.load(_path(config))
    return handler


def load_here(config: PodConfig, metrics: BusinessMetrics | None = None) -> Handler:
    """Create the runtime and load the model in this process. Raises ModelLoadError with the file and the reason."""
    path = _path(config)
    if config.model.digest is not None and not config.model.checked:
        _check_digest(path, config.model.digest)
    # Beside a folder's code it would be another digest at the next start.
    sys.dont_write_bytecode |= config.model.digest is not None and path.is_dir()
    read_ahead(path)
    runtime = runtime_of(path)[0] if config.model.runtime == "auto" else config.model.runtime
    if config.model.runtime_version:
        from kfunc.handlers.versions import require_pinned  # here: importlib.metadata costs a start 20 ms

        require_pinned(runtime, config.model.runtime_version)
    if config.accelerator not in ("auto", "cpu"):
        from kfunc.handlers.accelerators.demand import require_usable

        require_usable(config.accelerator, runtime)
    handler = create(runtime)
    handler.config, handler.metrics = config, metrics or handler.metrics
    if config.model.outputs and not handler.chooses_outputs:
        raise ModelLoadError(f"{path}: this runtime answers with all outputs of a model; remove inference.model.outputs")
    try:
        handler.load(path)
    except ModelLoadError as error:
        raise told_by_content(error, path, runtime) from None
    if config.explain is not None:
        from kfunc.handlers.explainers.attach import attach

        attach(handler, config.explain, path, is_own(handler, "explain"))
    return handler


def _path(config: PodConfig) -> Path:
    path = Path(config.model.uri.removeprefix("file://"))
    if not path.exists():
        raise ModelLoadError(f"{path}: there is no such model file (inference.model.uri)")
    return path


def _check_digest(path: Path, digest: str) -> None:
    if path.is_dir():
        from kfunc.storage.digests import check

        check(path, digest, str(path))
        return
    import hashlib  # here: it costs 1.5 ms of every start

    with path.open("rb") as file:
        actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if actual != digest:
        raise ModelLoadError(f"{path}: the file's digest is {actual}, func.yaml says {digest}")


# ---- a handler's methods as one call


def is_own(handler: Handler, name: str) -> bool:
    """Whether the handler has a method of its own, not only the contract's."""
    return getattr(getattr(handler, name), "__func__", None) is not vars(Handler)[name]


def explains(handler: Handler) -> bool:
    """Whether the model has explanations."""
    return handler.explains if isinstance(handler, IsolatedHandler) else is_own(handler, "explain")


def steps_of(handler: Handler, names: tuple[str, ...]) -> "list[Step]":
    """The methods that do something, in order; the last one but postprocess always stands there."""
    own = [getattr(handler, name) for name in names if name not in ("preprocess", "postprocess") or is_own(handler, name)]
    return [(step, _is_async(step)) for step in own]


def _is_async(step: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(step) or inspect.iscoroutinefunction(getattr(step, "__call__", None))  # noqa: B004


def pipeline(handler: Handler) -> "Callable[[Arrays], Arrays]":
    """preprocess → predict → postprocess in one sync call, without the steps that do nothing."""
    return _joined(steps_of(handler, PREDICT))


def explainer(handler: Handler) -> "Callable[[Arrays], Arrays]":
    """preprocess → explain in one sync call."""
    return _joined(steps_of(handler, EXPLAIN))


def _joined(steps: "list[Step]") -> "Callable[[Arrays], Arrays]":
    if any(awaited for _, awaited in steps):
        runner = asyncio.Runner()
        return lambda inputs: runner.run(_chain(steps, inputs))
    calls = [step for step, _ in steps]
    if len(calls) == 1:
        only: Callable[[Arrays], Arrays] = calls[0]
        return only

    def call(arrays: "Arrays") -> "Arrays":
        for step in calls:
            arrays = step(arrays)
        return arrays

    return call


async def _chain(steps: "list[Step]", arrays: "Arrays") -> "Arrays":
    for step, awaited in steps:
        arrays = await step(arrays) if awaited else step(arrays)
    return arrays


class LoadedModel:
    """A Model whose calls run where Execution decides."""

    def __init__(self, config: PodConfig, handler: Handler) -> None:
        self._config = config
        self._handler = handler
        self._pool: Executor | None = None
        self._in_flight = 0
        self._retired = False
        self._limit = config.limits.max_concurrency
        self._timeout_s = config.timeout_s
        self.metadata = ModelMetadata(
            config.model.name, [config.model.version], handler.platform, handler.inputs, handler.outputs, _parameters(handler)
        )
        self._yields = yields(handler)
        self._parts_steps = STREAM if is_own(handler, "predict_stream") else PREDICT
        self._inputs = inputs_of(handler, self.metadata)
        predict, explain = steps_of(handler, PREDICT), steps_of(handler, EXPLAIN)
        self._async_predict = predict if any(awaited for _, awaited in predict) else None
        self._async_explain = explain if any(awaited for _, awaited in explain) else None
        self._explain = explainer(handler) if explains(handler) and self._async_explain is None else None
        self.explains = explains(handler)
        isolated = isinstance(handler, IsolatedHandler)  # it takes one call at a time
        automatic = 1 if handler.platform == "python" else usable_processors()
        self._concurrency = 1 if isolated else config.model.concurrency or automatic
        mode = "thread" if self._async_predict or isolated else config.model.execution
        self._execution = Execution(
            _unused if self._async_predict else pipeline(handler),
            mode,
            self._executor,
            self._isolate if mode == "auto" and _is_movable(handler) else None,
            alone=self._concurrency == 1,
            announces=handler.platform == "python",  # its code may log, and call other services
        )

    def _executor(self) -> Executor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._concurrency, "model")
        return self._pool

    # ---- isolation

    def _isolate(self) -> None:
        """Calls hold the GIL: load the model in a process of its own, and switch when it is there."""
        log.warning("the model's calls hold the GIL; it moves to a worker process (model.execution: process says so at once)")
        asyncio.get_running_loop().run_in_executor(None, self._move)

    def _move(self) -> None:
        isolated = IsolatedHandler()
        isolated.config, isolated.metrics = self._config, self._handler.metrics
        try:
            isolated.load(_path(self._config))
        except (OSError, ModelLoadError) as error:
            log.warning("the model stays in the handler's process: %s", error)
            return
        self._handler = isolated
        if self._explain is not None:
            self._explain = isolated.explain
        self._execution = Execution(isolated.predict, "thread", self._executor)

    # ---- Model

    @property
    def ready(self) -> bool:
        """Whether the model can be asked."""
        return self._handler.ready()

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """Check, run, name. Raises InvalidRequest for what the model does not take, Unavailable past the limit."""
        if type(request) is v1.V1Request:
            request = self._inputs.typed(request)
        arrays = self._inputs.arrays(request)
        if self._yields:
            raise InvalidRequest(
                "this model answers in parts: ask by ModelStreamInfer, or POST to /v2/models/NAME/infer_stream"
            )
        execution = self._execution
        size = 0
        for array in arrays.values():
            size += array.size
        if size > execution.loop_size:
            return self._wait(request, arrays, size, context, self._async_predict)
        try:
            outputs = execution.run(arrays, size, context)
        except KfuncError:
            raise
        except Exception as error:
            raise failure_of(error) from error
        return to_response(request, self.metadata, outputs)

    def explain(self, request: InferRequest, context: Context) -> Awaitable[InferResponse]:
        """Check, explain in a thread, name. Raises Unsupported where the handler has no explain."""
        if not self.explains:
            raise Unsupported("this model does not explain its answers: its handler has no explain method")
        if type(request) is v1.V1Request:
            request = self._inputs.typed(request)
        return self._wait(request, self._inputs.arrays(request), 0, context, self._async_explain, self._explain)

    async def _wait(
        self,
        request: InferRequest,
        arrays: "Arrays",
        size: int,
        context: Context,
        steps: "list[Step] | None",
        call: "Callable[[Arrays], Arrays] | None" = None,
    ) -> InferResponse:
        """Run the async `steps`; or `call`, or else the model, in a thread."""
        timeout_s = seconds_left(context, self._timeout_s)
        self._enter()
        try:
            if steps is not None:
                outputs = await self._run_async(steps, arrays, timeout_s, context)
            else:
                outputs = await self._execution.run_in_thread(arrays, size, timeout_s, context, call)
        except KfuncError:
            raise
        except Exception as error:
            raise failure_of(error) from error
        finally:
            self._leave()
        return to_response(request, self.metadata, outputs)

    def _enter(self) -> None:
        if self._in_flight >= self._limit:
            raise Unavailable("too many requests wait for the model (limits.max_concurrency); try again later")
        self._in_flight += 1

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._retired and not self._in_flight:
            self.close()

    async def _run_async(self, steps: "list[Step]", arrays: "Arrays", timeout_s: float, context: Context) -> "Arrays":
        CURRENT.set(context)  # of this task, and those that it makes
        task = asyncio.ensure_future(_chain(steps, arrays))  # the user's code may need a task: asyncio.timeout does
        timer = asyncio.get_running_loop().call_later(timeout_s, task.cancel)
        context.compute_at = began_at = perf_counter()
        try:
            return await task
        except asyncio.CancelledError:
            if context.cancelled:
                raise
            raise too_late() from None
        finally:
            context.compute_s = perf_counter() - began_at
            timer.cancel()

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        """Each part when it is there; the one answer of a model that does not yield."""
        if type(request) is v1.V1Request:
            request = self._inputs.typed(request)
        return self._parts(request, self._inputs.arrays(request), context)

    async def _parts(self, request: InferRequest, arrays: "Arrays", context: Context) -> AsyncGenerator[InferResponse]:
        if not self._yields and self._parts_steps is PREDICT:
            yield await self._wait(request, arrays, 0, context, self._async_predict)
            return
        self._enter()
        steps = steps_of(self._handler, self._parts_steps)
        stream = parts_of(steps, arrays, self._execution, context, lambda: seconds_left(context, self._timeout_s))
        try:
            async for outputs in stream:
                yield to_response(request, self.metadata, outputs)
        except KfuncError:
            raise
        except Exception as error:
            raise failure_of(error) from error
        finally:
            await stream.aclose()
            self._leave()

    def stuck(self) -> bool:
        """Whether a call has run past hang_timeout_s; those in a worker process are ended there."""
        return not isinstance(self._handler, IsolatedHandler) and self._execution.stuck(self._config.hang_timeout_s)

    def retire(self) -> None:
        """Close when the calls that wait or run have ended; no others come."""
        self._retired = True
        if not self._in_flight:
            self.close()

    def close(self) -> None:
        """Let go of threads and processes. Waits for no thread; one that is stuck must not keep the process."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(self._handler, IsolatedHandler):
            self._handler.close()


def _is_movable(handler: Handler) -> bool:
    """Whether a worker process could do all that it does; on a GPU a second copy would take its memory again."""
    on_gpu = handler.choice is not None and handler.choice.accelerator != "cpu"
    return not (on_gpu or handler.signatures or is_own(handler, "predict_stream"))


def _parameters(handler: Handler) -> dict[str, str] | UnsetType:
    """What the metadata say besides: the accelerator, and why a GPU that is there is not it."""
    choice = handler.choice
    if choice is None:
        return UNSET
    reason = choice.why if choice.fell_back else ""
    told = {"accelerator": choice.accelerator, "device": choice.device, "accelerator_reason": reason}
    return {name: value for name, value in told.items() if value}


def seconds_left(context: Context, most: float) -> float:
    """The time for an answer: `most`, or what the caller gives it. Raises DeadlineExceeded where that is over."""
    deadline = context.deadline
    if deadline:
        most = min(most, deadline - asyncio.get_running_loop().time())
    elif TIMEOUT in context.headers:
        from kfunc.protocol.grpc.status import decode_timeout

        try:
            most = min(most, decode_timeout(context.headers[TIMEOUT]))
        except InvalidRequest:
            pass  # only callers of gRPC say so, and a process before this one has read it
    if most <= 0:
        raise too_late()
    return most


def failure_of(error: Exception) -> KfuncError:
    """The error of the caller; the log gets the model's own."""
    from kfunc.handlers.accelerators.memory import is_out_of_memory, release_memory  # start-up time

    if is_out_of_memory(error):
        log.warning("out of the accelerator's memory: %s", str(error).strip().partition("\n")[0])
        release_memory()
        return Unavailable("the accelerator's memory is full; try again later, or with fewer rows")
    log.exception("the model failed")
    return ModelFailed("the model failed; the log of the handler says more")


def _unused(arrays: "Arrays") -> "Arrays":
    raise ModelFailed("an async handler runs on the event loop")
