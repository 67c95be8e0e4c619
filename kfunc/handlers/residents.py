"""Models that are loaded when they are first asked for, and leave when memory is short.

A `ResidentModel` stands in a slot in place of the model; the `Shelf` loads one at a time, measures what it takes, and
lets the least recently used go.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from itertools import count
from math import ceil
from time import monotonic
from typing import Any

from kfunc.config.pod import PodConfig
from kfunc.config.residency import Residency
from kfunc.errors import KfuncError, ModelLoadError, NotFound, Unavailable
from kfunc.handlers import memory
from kfunc.handlers.crashes import Crashes, Record
from kfunc.handlers.loading import Loader
from kfunc.handlers.local_files import LocalFiles
from kfunc.handlers.residency_policy import Resident, leaving
from kfunc.handlers.slots import LOADING, READY, UNLOADED, Loaded
from kfunc.handlers.stages import Stage
from kfunc.handlers.warmup import warm_up
from kfunc.process.memory_limit import memory_limit
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata
from kfunc.telemetry.log_lines import PROGRESS

log = logging.getLogger("kfunc.model")
progress_log = logging.getLogger(PROGRESS)

PART_OF_LIMIT = 0.8
TRY_AGAIN_S = 10.0  # after a load that failed
NOT_IN_MEMORY = "not in memory: the next request loads it"
SEE_LOG = "cannot be loaded; the log of the handler says why"


class ResidentModel:
    """One version of one model, in memory or not."""

    yields = False

    def __init__(self, settings: PodConfig, shelf: "Shelf", *, pinned: bool, lazy: bool = False) -> None:
        self.settings = settings
        self.pinned = pinned
        self.lazy = lazy
        self.loaded: Loaded | None = None
        self.used_at = self.loads = self.evictions = self.size = 0
        self.loading: asyncio.Task[None] | None = None
        self.stage = Stage()
        self.failed_at: float | None = None
        self.gone = False  # it is not served any more, though requests may hold it
        self.measured: str | None = None  # the version that `size` is of
        self._shelf = shelf
        self._told: ModelMetadata | None = None

    @property
    def name(self) -> str:
        return self.settings.model.name

    @property
    def takes_images(self) -> bool:
        """Whether bodies may be pictures; of a model that is not there it is found out."""
        return self.loaded is None or self.loaded.takes_images

    @property
    def memory(self) -> int:
        """Bytes that it takes now."""
        return self.size if self.loaded is not None else 0

    def measure(self, size: int, version: str) -> None:
        """What a load of a version took. The first one of a runtime also pays for what that keeps: a later one knows better."""
        self.size = min(size, self.size) if self.measured == version else size
        self.measured = version

    @property
    def state(self) -> tuple[str, str]:
        """For the index of the repository."""
        if self.loaded is not None:
            return READY, ""
        if self.loading is not None:
            return LOADING, ""
        return UNLOADED, NOT_IN_MEMORY if self.failed_at is None else SEE_LOG

    @property
    def metadata(self) -> ModelMetadata:
        """The model's, also when it has left memory. Raises Unavailable, and begins to load it, where it was never there."""
        told = self.told
        if told is None:
            raise self._shelf.absent(self)
        return told

    def coming(self) -> Coroutine[Any, Any, Loaded] | None:
        """What waits for metadata that nobody has seen yet, where `wait_s` lets requests wait."""
        return self._shelf.wait_for(self) if self.told is None and self._shelf.wait_s else None

    @property
    def told(self) -> ModelMetadata | None:
        """The same, without loading anything."""
        return self._told if self.loaded is None else self.loaded.metadata

    @property
    def ready(self) -> bool:
        """Whether a request would be answered: in memory, or after a wait."""
        return self._shelf.waits_for(self) if self.loaded is None else self.loaded.ready

    def require_ready(self) -> None:
        """Raises Unavailable where a request would be refused, and begins to load the model."""
        if self.loaded is not None:
            self.loaded.require_ready()
        elif not self._shelf.waits_for(self):
            raise self._shelf.absent(self)

    def require_part(self) -> None:
        """Raises Unavailable where the function is not ready: a lazy model could not be loaded, which it is to be again."""
        if self.loaded is not None:
            self.loaded.require_ready()
        elif self.lazy and self.failed_at is not None and not self.gone:
            raise self._shelf.absent(self)

    @property
    def explains(self) -> bool:
        """What the model says; of one that is not there it is found out."""
        return self.loaded is None or self.loaded.explains

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """The model's answer, where it is in memory. Raises Unavailable, and begins to load it, where it is not."""
        loaded, shelf = self.loaded, self._shelf
        if loaded is None:
            return self._later(request, context, explain=False) if shelf.wait_s else shelf.refuse(self)
        self.used_at = shelf.tick()
        return loaded.infer(request, context)

    def explain(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """The same for explanations."""
        loaded, shelf = self.loaded, self._shelf
        if loaded is None:
            return self._later(request, context, explain=True) if shelf.wait_s else shelf.refuse(self)
        self.used_at = shelf.tick()
        return loaded.explain(request, context)

    async def _later(self, request: InferRequest, context: Context, *, explain: bool) -> InferResponse:
        loaded = await self.brought()
        answer = loaded.explain(request, context) if explain else loaded.infer(request, context)
        return answer if isinstance(answer, InferResponse) else await answer

    async def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        """The model's parts."""
        loaded = await self.brought()
        async with aclosing(loaded.stream(request, context)) as parts:  # it ends with its caller, not when it is collected
            async for part in parts:
                yield part

    async def brought(self) -> Loaded:
        """The model itself, loaded within `wait_s` where it is not in memory. Raises Unavailable."""
        loaded = self.loaded or await self._shelf.wait_for(self)
        self.used_at = self._shelf.tick()
        return loaded

    def stuck(self) -> bool:
        """Whether a call hangs."""
        return self.loaded is not None and self.loaded.stuck()

    def leave(self) -> Loaded | None:
        """What was in memory, for the caller to end; the model's metadata stay known."""
        loaded, self.loaded = self.loaded, None
        if loaded is not None:
            self._told = loaded.metadata
        return loaded

    def retire(self) -> None:
        """It is not served any more."""
        loaded = self._shelf.forget(self)
        if loaded is not None:
            loaded.retire()

    def close(self) -> None:
        """Let go of the model at once."""
        loaded = self._shelf.forget(self)
        if loaded is not None:
            loaded.close()


OnPlace = Callable[[ResidentModel], None]


class Shelf:
    """What is in memory of all models, and the one that is being loaded."""

    def __init__(self, config: Residency, loader: Loader, on_place: OnPlace, on_failure: Callable[[], None]) -> None:
        self._loader = loader
        self._crashes = Crashes(loader.origins.settings)
        self._on_place = on_place
        self._on_failure = on_failure
        self._max_models = config.max_models
        self._max_bytes = config.max_bytes or int(memory_limit() * PART_OF_LIMIT)
        self._whose = "" if config.max_bytes else f" ({PART_OF_LIMIT:.0%} of the memory there is)"
        self.wait_s = config.wait_s
        self.tick = count(1).__next__
        self.models: list[ResidentModel] = []
        self._one_at_a_time = asyncio.Lock()

    def place(self, settings: PodConfig, *, pinned: bool, lazy: bool = False) -> ResidentModel:
        """One more model, not in memory yet."""
        model = ResidentModel(settings, self, pinned=pinned, lazy=lazy)
        self.models.append(model)
        self._on_place(model)
        return model

    def renew(self, model: ResidentModel, settings: PodConfig) -> None:
        """The model is served, again or as before; its settings may have changed, also while it is not in memory."""
        if model.gone:
            model.gone = False
            self.models.append(model)
            self._on_place(model)  # what was shown of it went with it
        if model.settings != settings:
            model.settings, model.failed_at = settings, None

    # ---- what requests ask

    def waits_for(self, model: ResidentModel) -> bool:
        """Whether a request for what is not in memory waits, and is not refused at once."""
        return bool(self.wait_s) and not model.gone and not self._try_again_s(model)

    def _try_again_s(self, model: ResidentModel) -> float:
        """How long a model that could not be loaded is left alone."""
        return 0.0 if model.failed_at is None else max(0.0, model.failed_at + TRY_AGAIN_S - monotonic())

    def absent(self, model: ResidentModel) -> KfuncError:
        """Begin to load the model; what its caller is told meanwhile."""
        if model.gone:
            return NotFound(f"the model {model.name} is not loaded: unloaded")
        if wait_s := self._try_again_s(model):
            error = Unavailable(f"the model {model.name} {SEE_LOG}")
            error.retry_after = ceil(wait_s)
            return error
        if model.loading is None:
            model.loading = asyncio.get_running_loop().create_task(self._load_later(model))
        return model.stage.loading(model.name)

    def refuse(self, model: ResidentModel) -> InferResponse:
        """The same, raised."""
        raise self.absent(model)

    async def wait_for(self, model: ResidentModel) -> Loaded:
        """The model, loaded within `wait_s`. Raises Unavailable."""
        if model.loaded is None:
            told = self.absent(model)
            if model.loading is None:
                raise told
            await asyncio.wait((model.loading,), timeout=self.wait_s)
            if model.loaded is None:
                raise self.absent(model)
        return model.loaded

    async def _load_later(self, model: ResidentModel) -> None:
        try:
            await self.bring(model)
        except Exception as error:
            self._on_failure()
            told = isinstance(error, ModelLoadError)
            log.error("model %s: cannot be loaded%s", model.name, f": {error}" if told else "", exc_info=not told)
        finally:
            model.loading = None

    # ---- loading and leaving

    async def bring(self, model: ResidentModel, *, again: bool = False) -> None:
        """Fetch and load a model, and warm it up; with `again` beside the one that is there, which it then replaces.

        Downloads do not wait for each other. Raises ModelLoadError.
        """
        fetch, settings = self._loader.origins.fetch, None
        try:
            while settings is not model.settings:  # they may change meanwhile
                again, settings = again or settings is not None, model.settings
                files = await self._loader.ask(fetch, settings.model, model.stage)
                try:
                    async with self._one_at_a_time:
                        if not model.gone and (again or model.loaded is None):
                            await self._load(model, settings, files)
                finally:
                    files.let_go()
        except Exception:
            if model.loaded is None:
                model.failed_at = monotonic()
            raise

    async def _load(self, model: ResidentModel, settings: PodConfig, files: LocalFiles) -> None:
        loop, loader = asyncio.get_running_loop(), self._loader
        newest = await loop.run_in_executor(None, loader.newest, settings, files)
        record = Record()
        if not (model.pinned or model.lazy or settings.model.execution == "process"):  # it ends nobody, or nobody else
            record = await loop.run_in_executor(None, self._crashes.record, settings.model, newest.model)
        await self._free(model.size, model)
        before = memory.resident_bytes(), memory.allocated_bytes()
        with loader.noted("loaded", settings.model, files, record.path):
            loaded = await self._opened(model, newest, files)
        if record.count:
            await loop.run_in_executor(None, record.forget)
        if model.gone:  # while it was loaded
            loaded.close()
            return
        after = memory.resident_bytes(), memory.allocated_bytes()
        model.measure(max(0, *(now - then for now, then in zip(after, before, strict=True))), files.version)
        loader.took_version(settings.model, files.version)
        old, model.loaded = model.loaded, loaded
        model.loads, model.failed_at, model.used_at = model.loads + 1, None, self.tick()
        if old is not None:
            old.retire()
            progress_log.info("model %s: a new version is served", model.name)
        if excess := await self._free(0, model):
            told = "model %s: with it the process takes %d bytes more than residency.max_bytes%s, and no other model may leave"
            log.warning(told, model.name, excess, self._whose)

    async def _opened(self, model: ResidentModel, newest: PodConfig, files: LocalFiles) -> Loaded:
        loaded = await asyncio.get_running_loop().run_in_executor(None, self._loader.open, newest, files)
        try:
            if newest.model.warmup.count:
                model.stage.enter("warming up")
            await warm_up(loaded, newest.model.warmup)
        except BaseException:
            loaded.close()
            raise
        finally:
            model.stage.enter("loading")
        return loaded

    async def require_room(self) -> None:
        """The process with what is pinned is within its bound. Raises ModelLoadError."""
        pinned = ", ".join(each.name for each in self.models if each.pinned)
        if memory.resident_bytes() > self._max_bytes:
            await asyncio.get_running_loop().run_in_executor(None, memory.give_back)
        taken = memory.resident_bytes()
        if taken > self._max_bytes:
            raise ModelLoadError(
                f"residency.max_bytes is {self._max_bytes}{self._whose}, and the process takes {taken} with the pinned models "
                f"({pinned}): give it more, or pin fewer"
            )

    async def _free(self, more_bytes: int, coming: ResidentModel) -> int:
        """Let models go until so much more fits beside what the process has now; the bytes too many where none may go."""
        loop = asyncio.get_running_loop()
        there = [model for model in self.models if model.loaded is not None and model is not coming]
        excess = memory.resident_bytes() + more_bytes - self._max_bytes
        surplus = len(there) + 1 - self._max_models if self._max_models else 0
        if excess > 0 and there:
            await loop.run_in_executor(None, memory.give_back)  # what earlier ones left may do
            excess = memory.resident_bytes() + more_bytes - self._max_bytes
        if excess <= 0 and surplus <= 0:
            return 0
        residents = [Resident(str(number), each.size, each.used_at, each.pinned) for number, each in enumerate(there)]
        going = leaving(residents, excess, surplus)
        for each in going:
            self._leave(there[int(each.name)])
        await asyncio.sleep(0)  # they close in the loop's next turn
        await loop.run_in_executor(None, memory.give_back)
        return 0 if going else max(0, excess)

    def _leave(self, model: ResidentModel) -> None:
        loaded = model.leave()
        if loaded is not None:
            model.evictions += 1
            progress_log.info("model %s: leaves memory (%d bytes)", model.name, model.size)
            loaded.retire()

    def forget(self, model: ResidentModel) -> Loaded | None:
        """A model that is not served any more; what is in memory of it is the caller's to close."""
        if not model.gone:
            model.gone = True
            self.models.remove(model)
        return model.leave()
