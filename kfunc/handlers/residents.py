"""Models that are loaded when they are first asked for, and leave when memory is short.

A `ResidentModel` stands in a slot in place of the model; the `Shelf` loads one at a time, measures what it takes, and
lets the least recently used go.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from itertools import count
from time import monotonic
from typing import Any

from kfunc.config.pod import PodConfig
from kfunc.config.residency import Residency
from kfunc.errors import KfuncError, ModelLoadError, Unavailable
from kfunc.handlers import memory
from kfunc.handlers.residency_policy import Resident, leaving
from kfunc.handlers.slots import LOADING, READY, UNLOADED, Load, Loaded
from kfunc.handlers.warmup import warm_up
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata
from kfunc.telemetry.log_lines import PROGRESS

log = logging.getLogger("kfunc.model")
progress_log = logging.getLogger(PROGRESS)

PART_OF_LIMIT = 0.8
TRY_AGAIN_S = 10.0  # after a load that failed


class ResidentModel:
    """One version of one model, in memory or not."""

    yields = False

    def __init__(self, settings: PodConfig, shelf: "Shelf", *, pinned: bool) -> None:
        self.settings = settings
        self.pinned = pinned
        self.loaded: Loaded | None = None
        self.used_at = self.loads = self.evictions = self.size = 0
        self.loading: asyncio.Task[None] | None = None
        self.failed_at, self.failure = 0.0, ""
        self._shelf = shelf
        self._told: ModelMetadata | None = None

    @property
    def name(self) -> str:
        return self.settings.model.name

    @property
    def takes_images(self) -> bool:
        """Whether bodies may be pictures; of a model that is not there it is found out."""
        return self.loaded is None or getattr(self.loaded, "takes_images", False)

    @property
    def memory(self) -> int:
        """Bytes that it takes now."""
        return self.size if self.loaded is not None else 0

    @property
    def state(self) -> tuple[str, str]:
        """For the index of the repository."""
        if self.loaded is not None:
            return READY, ""
        return (
            (LOADING, "")
            if self.loading is not None
            else (UNLOADED, self.failure or "not in memory: the next request loads it")
        )

    @property
    def metadata(self) -> ModelMetadata:
        """The model's, also when it has left memory. Raises Unavailable, and begins to load it, where it was never there."""
        if self.loaded is not None:
            self._told = self.loaded.metadata
        if self._told is None:
            raise self._shelf.absent(self)
        return self._told

    def coming(self) -> Coroutine[Any, Any, Loaded] | None:
        """What waits for metadata that nobody has seen yet, where `wait_s` lets requests wait."""
        return self._shelf.wait_for(self) if self.told is None and self._shelf.wait_s else None

    @property
    def told(self) -> ModelMetadata | None:
        """The same, without loading anything."""
        return self._told if self.loaded is None else self.loaded.metadata

    @property
    def ready(self) -> bool:
        """It can be asked at any time."""
        return self.loaded is None or self.loaded.ready

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
        loaded = await self._shelf.wait_for(self)
        self.used_at = self._shelf.tick()
        answer = loaded.explain(request, context) if explain else loaded.infer(request, context)
        return answer if isinstance(answer, InferResponse) else await answer

    async def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        """The model's parts."""
        loaded = self.loaded or await self._shelf.wait_for(self)
        self.used_at = self._shelf.tick()
        async for part in loaded.stream(request, context):
            yield part

    def require(self) -> Loaded:
        """The model itself. Raises Unavailable, and begins to load it, where it is not in memory."""
        if self.loaded is None:
            raise self._shelf.absent(self)
        self.used_at = self._shelf.tick()
        return self.loaded

    def stuck(self) -> bool:
        """Whether a call hangs."""
        return self.loaded is not None and self.loaded.stuck()

    def retire(self) -> None:
        """It is not served any more."""
        self._shelf.forget(self)

    close = retire


OnPlace = Callable[[ResidentModel], None]


class Shelf:
    """What is in memory of all models, and the one that is being loaded."""

    def __init__(self, config: Residency, load: Load, on_place: OnPlace = lambda model: None) -> None:
        self._load = load
        self._on_place = on_place
        self._max_models = config.max_models
        self._max_bytes = config.max_bytes or int(memory.memory_limit() * PART_OF_LIMIT)
        self.wait_s = config.wait_s
        self.tick = count(1).__next__
        self.models: list[ResidentModel] = []
        self.failures = 0
        self._one_at_a_time = asyncio.Lock()

    def place(self, settings: PodConfig, *, pinned: bool) -> ResidentModel:
        """One more model, not in memory yet."""
        model = ResidentModel(settings, self, pinned=pinned)
        self.models.append(model)
        self._on_place(model)
        return model

    # ---- what requests ask

    def absent(self, model: ResidentModel) -> KfuncError:
        """Begin to load the model; what its caller is told meanwhile."""
        if model.failure and monotonic() - model.failed_at < TRY_AGAIN_S:
            return Unavailable(f"the model {model.name} cannot be loaded; the log of the handler says why")
        self._begin(model)
        return Unavailable(f"the model {model.name} is loading")

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

    def _begin(self, model: ResidentModel) -> None:
        if model.loading is None:
            model.loading = asyncio.get_running_loop().create_task(self._load_later(model))

    async def _load_later(self, model: ResidentModel) -> None:
        try:
            await self.bring(model)
        except ModelLoadError as error:
            log.error("model %s: cannot be loaded: %s", model.name, error.message)
        except Exception:
            log.exception("model %s: cannot be loaded", model.name)
        finally:
            model.loading = None

    # ---- loading and leaving

    async def bring(self, model: ResidentModel, *, again: bool = False) -> None:
        """Load a model and warm it up; with `again` beside the one that is there, which it then replaces.

        Raises ModelLoadError.
        """
        async with self._one_at_a_time:
            if model.loaded is not None and not again:
                return
            await self._free(model.size, model)
            before = memory.resident_bytes(), memory.allocated_bytes()
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(None, self._load, model.settings)
                try:
                    await warm_up(loaded, model.settings.model.warmup)
                except BaseException:
                    loaded.close()
                    raise
            except Exception as error:
                model.failed_at, model.failure = monotonic(), str(error)
                self.failures += 1
                raise
            after = memory.resident_bytes(), memory.allocated_bytes()
            model.size = max(0, *(now - then for now, then in zip(after, before, strict=True)))
            old, model.loaded = model.loaded, loaded
            model.loads, model.failure, model.used_at = model.loads + 1, "", self.tick()
            if old is not None:
                old.retire()
            await self._free(0, model)

    async def _free(self, more_bytes: int, coming: ResidentModel) -> None:
        """Let models go until so much more fits beside what the process has now."""
        loop = asyncio.get_running_loop()
        there = [model for model in self.models if model.loaded is not None and model is not coming]
        excess = memory.resident_bytes() + more_bytes - self._max_bytes
        surplus = len(there) + 1 - self._max_models if self._max_models else 0
        if excess > 0 and there:
            await loop.run_in_executor(None, memory.give_back)  # what earlier ones left may do
            excess = memory.resident_bytes() + more_bytes - self._max_bytes
        if excess <= 0 and surplus <= 0:
            return
        residents = [Resident(str(number), each.size, each.used_at, each.pinned) for number, each in enumerate(there)]
        for each in leaving(residents, excess, surplus):
            self._leave(there[int(each.name)])
        await loop.run_in_executor(None, memory.give_back)

    def _leave(self, model: ResidentModel) -> None:
        loaded, model.loaded = model.loaded, None
        if loaded is not None:
            model.evictions += 1
            progress_log.info("model %s: leaves memory (%d bytes)", model.name, model.size)
            loaded.retire()

    def forget(self, model: ResidentModel) -> None:
        """A model that is not served any more."""
        if model in self.models:
            self.models.remove(model)
        if model.loading is not None:
            model.loading.cancel()
        loaded, model.loaded = model.loaded, None
        if loaded is not None:
            loaded.retire()
