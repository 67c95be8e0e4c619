"""A loaded model: a Handler made into a `Model` of the core contract."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, KfuncError, ModelFailed, ModelLoadError, Unavailable, Unsupported
from kfunc.handlers.columns import inputs_of
from kfunc.handlers.contract import Handler
from kfunc.handlers.execution import Execution, too_late
from kfunc.handlers.in_flight import InFlight
from kfunc.handlers.isolation import IsolatedHandler
from kfunc.handlers.opening import load_isolated
from kfunc.handlers.parts import parts_of, yields
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.slots import InMemory
from kfunc.handlers.steps import EXPLAIN, PREDICT, STREAM, chain, explainer, explains, is_own, pipeline, steps_of
from kfunc.handlers.tensors import to_response
from kfunc.protocol import v1
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata
from kfunc.telemetry.current import CURRENT

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.local_files import LocalFiles
    from kfunc.handlers.steps import Step

    Respond = Callable[[InferRequest, ModelMetadata, Arrays], InferResponse]

log = logging.getLogger("kfunc.model")
TIMEOUT = b"grpc-timeout"  # what a call of gRPC says passes through the pod


class LoadedModel(InMemory):
    """A Model whose calls run where Execution decides."""

    def __init__(self, config: PodConfig, handler: Handler) -> None:
        self._config = config
        self._handler = handler
        self._pool: Executor | None = None
        self._in_flight = InFlight(config.limits.max_concurrency)
        self._files: list[LocalFiles] = []
        self._closed = False
        self._timeout_s = config.timeout_s
        self.metadata = ModelMetadata(
            config.model.name, [config.model.version], handler.platform, handler.inputs, handler.outputs, _parameters(handler)
        )
        declares = handler.is_users_code and bool(handler.outputs)
        self._respond = self._respond_first if declares else to_response
        self.takes_images = handler.takes_images
        self.yields = yields(handler)
        self._parts_steps = STREAM if is_own(handler, "predict_stream") else PREDICT
        self._inputs = inputs_of(handler, self.metadata)
        predict, explain = steps_of(handler, PREDICT), steps_of(handler, EXPLAIN)
        self._async_predict = predict if any(awaited for _, awaited in predict) else None
        self._async_explain = explain if any(awaited for _, awaited in explain) else None
        self._explain = explainer(handler) if explains(handler) and self._async_explain is None else None
        self.explains = explains(handler)
        isolated = isinstance(handler, IsolatedHandler)  # it takes one call at a time
        automatic = 1 if handler.is_users_code else usable_processors()
        self._concurrency = 1 if isolated else config.model.concurrency or automatic
        mode = "thread" if self._async_predict or isolated else config.model.execution
        self._execution = Execution(
            _unused if self._async_predict else pipeline(handler),
            mode,
            self._executor,
            self._isolate if mode == "auto" and _is_movable(handler) else None,
            alone=self._concurrency == 1,
            announces=handler.is_users_code,  # its code may log, and call other services
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
        try:
            isolated = load_isolated(self._config, self._handler.metrics)
        except (OSError, ModelLoadError) as error:
            log.warning("the model stays in the handler's process: %s", error)
            return
        self._handler = isolated  # from now on `close` ends it
        if self._closed:  # meanwhile
            isolated.close()
            return
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
        if self.yields:
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
            raise failure_of(error, context) from error
        return self._respond(request, self.metadata, outputs)

    def _respond_first(self, request: InferRequest, metadata: ModelMetadata, outputs: "Arrays") -> InferResponse:
        """The first answer, held against what the handler declares; the others cost nothing for it."""
        from kfunc.handlers.declared_outputs import tell_differences

        response = to_response(request, metadata, outputs)
        self._respond = to_response
        in_parts = self.yields or self._parts_steps is STREAM
        tell_differences(metadata, outputs, complete=not in_parts)
        return response

    def explain(self, request: InferRequest, context: Context) -> Awaitable[InferResponse]:
        """Check, explain in a thread, name. Raises Unsupported where the handler has no explain."""
        if not self.explains:
            raise Unsupported("no explanations here: set inference.explain, or write an explain method in handler.py")
        if type(request) is v1.V1Request:
            request = self._inputs.typed(request)
        return self._wait(request, self._inputs.arrays(request), 0, context, self._async_explain, self._explain, to_response)

    async def _wait(
        self,
        request: InferRequest,
        arrays: "Arrays",
        size: int,
        context: Context,
        steps: "list[Step] | None",
        call: "Callable[[Arrays], Arrays] | None" = None,
        respond: "Respond | None" = None,
    ) -> InferResponse:
        """Run the async `steps`; or `call`, or else the model, in a thread. `respond` makes the answer, if not as `infer`'s."""
        timeout_s = seconds_left(context, self._timeout_s)
        with self._in_flight:
            try:
                if steps is not None:
                    outputs = await self._run_async(steps, arrays, timeout_s, context)
                else:
                    outputs = await self._execution.run_in_thread(arrays, size, timeout_s, context, call)
            except KfuncError:
                raise
            except Exception as error:
                raise failure_of(error, context) from error
        return (respond or self._respond)(request, self.metadata, outputs)

    async def _run_async(self, steps: "list[Step]", arrays: "Arrays", timeout_s: float, context: Context) -> "Arrays":
        CURRENT.set(context)  # of this task, and those that it makes
        task = asyncio.ensure_future(chain(steps, arrays))  # the user's code may need a task: asyncio.timeout does
        late: list[bool] = []
        timer = asyncio.get_running_loop().call_later(timeout_s, _end_late, task, late)
        context.compute_at = began_at = perf_counter()
        try:
            return await task
        except asyncio.CancelledError:
            if context.cancelled or not late:
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
        if not self.yields and self._parts_steps is PREDICT:
            yield await self._wait(request, arrays, 0, context, self._async_predict)
            return
        with self._in_flight:
            steps = steps_of(self._handler, self._parts_steps)
            stream = parts_of(steps, arrays, self._execution, context, lambda: seconds_left(context, self._timeout_s))
            try:
                async for outputs in stream:
                    yield self._respond(request, self.metadata, outputs)
            except KfuncError:
                raise
            except Exception as error:
                raise failure_of(error, context) from error
            finally:
                await stream.aclose()

    def stuck(self) -> bool:
        """Whether a call has run past hang_timeout_s; those in a worker process are ended there."""
        return not isinstance(self._handler, IsolatedHandler) and self._execution.stuck(self._config.hang_timeout_s)

    def keep(self, files: "LocalFiles") -> None:
        """Hold the files that it was loaded from until it is closed: it may read them at any time."""
        files.hold()
        self._files.append(files)

    def retire(self) -> None:
        """Close when the calls that wait or run have ended; no others come."""
        self._in_flight.end(self.close)

    def close(self) -> None:
        """Let go of threads, processes and files. Waits for no thread; one that is stuck must not keep the process."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if isinstance(self._handler, IsolatedHandler):
            self._handler.close()
        while self._files:
            self._files.pop().let_go()


def _is_movable(handler: Handler) -> bool:
    """Whether a worker process could do all that it does; on a GPU a second copy would take its memory again."""
    on_gpu = handler.choice is not None and handler.choice.accelerator != "cpu"
    return not (on_gpu or handler.signatures or is_own(handler, "predict_stream"))


def _parameters(handler: Handler) -> dict[str, str] | UnsetType:
    """What the metadata say besides: pictures, the accelerator, and why none of the better ones where that is to be told."""
    told: dict[str, str] = {}
    if handler.takes_images:
        from kfunc.protocol.pictures import ANY_PICTURE, MEDIA_TYPE  # start-up time

        told[MEDIA_TYPE] = ANY_PICTURE
    choice = handler.choice
    if choice is not None:
        reason = choice.why if choice.tells_why else ""
        told |= {"accelerator": choice.accelerator, "device": choice.device, "accelerator_reason": reason}
    return {name: value for name, value in told.items() if value} or UNSET


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


def failure_of(error: Exception, request: object) -> KfuncError:
    """The error of the caller; the log gets the model's own, with the ids of the request."""
    from kfunc.handlers.accelerators.memory import is_out_of_memory, release_memory  # start-up time

    if is_out_of_memory(error):
        reason = str(error).strip().partition("\n")[0]
        log.warning("out of the accelerator's memory: %s", reason, extra={"exchange": request})
        release_memory()
        return Unavailable("the accelerator's memory is full; try again later, or with fewer rows")
    log.exception("the model failed", extra={"exchange": request})
    return ModelFailed("the model failed; the log of the handler says more", type(error).__name__)


def _end_late(task: "asyncio.Task[Arrays]", late: list[bool]) -> None:
    late.append(True)
    task.cancel()


def _unused(arrays: "Arrays") -> "Arrays":
    raise ModelFailed("an async handler runs on the event loop")
