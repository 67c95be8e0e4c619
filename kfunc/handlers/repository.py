"""The models of a function by name and version: which are loaded, and loading and unloading them while others serve.

Reads the disk and runs models' code only in threads; what the event loop sees changes on the loop.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import msgspec

from kfunc.config.pod import PodConfig, PodModel
from kfunc.errors import InvalidRequest, KfuncError, ModelLoadError, NotFound, NotYet, Unavailable
from kfunc.handlers.loading import AllServed, Loader
from kfunc.handlers.origins import Origins
from kfunc.handlers.slots import Entry, Load, Loaded, Served, Slot
from kfunc.handlers.supply import Supply, supply_of
from kfunc.protocol.messages import ModelMetadata
from kfunc.telemetry.business import BusinessMetrics
from kfunc.telemetry.log_lines import PROGRESS

if TYPE_CHECKING:
    from kfunc.handlers.residents import OnPlace
    from kfunc.process.watcher import Note

log = logging.getLogger("kfunc.model")
progress_log = logging.getLogger(PROGRESS)

LOOK_AGAIN_S = 10.0  # for a source that could not be asked


class Repository:
    """What a function serves. Until `open` has read the folder, only the default model's slot is there, empty."""

    def __init__(
        self,
        config: PodConfig,
        load: Load | None = None,
        on_failure: Callable[[], None] = lambda: None,
        on_place: "OnPlace" = lambda model: None,
        on_change: Callable[[list[Slot]], None] = lambda slots: None,
        note: "Note | None" = None,
    ) -> None:
        self._config = config
        self._on_change = on_change
        self._on_failure = on_failure
        self.origins = Origins(config)
        self._loader = Loader(config, self._with_pictures(load or _load_one), self.origins, note)
        self.supply: Supply = supply_of(config, self._loader, on_place, on_failure)
        self._watching: list[asyncio.Task[None]] = []
        self._slots: WeakValueDictionary[tuple[str, str], Slot] = WeakValueDictionary()
        self._default = Entry(config.model.name, config.model.version, self._slots)
        self._entries: dict[str, Entry] = {config.model.name: self._default}
        self._complete = False
        self._loaded: set[Served] = set()
        self._unloaded: set[str] = set()  # names that somebody took out: only `load` brings them back
        # Of each source one change at a time. What is loaded is put in its place without waiting: no other lock is needed.
        self._changes = {each.name: asyncio.Lock() for each in self.sources}

    # ---- what requests ask

    @property
    def names(self) -> list[str]:
        """The models, by name; the default one keeps its place when its files are gone, and is not named."""
        return [name for name, entry in self._entries.items() if entry.versions or not self._complete]

    @property
    def sources(self) -> list[PodModel]:
        """The places that the models come from."""
        return self._loader.sources

    @property
    def slots(self) -> list[Slot]:
        """Every version of every model."""
        return [slot for entry in self._entries.values() for slot in entry.versions.values()]

    def find(self, name: str, version: str) -> Slot:
        """The slot for a request; no name: the default model, no version: the newest. Raises NotFound, Unavailable."""
        entry = self._entries.get(name) if name else self._default
        if entry is None and name == self._config.model.name:
            entry = self._default  # a folder gives its only model a name of its own
        if not self._complete and (entry is None or version):
            raise Unavailable("the models are loading")
        if entry is None:
            known = self.names
            raise NotFound(f"no model {name!r} here; the model{_s(known)} {', '.join(map(repr, known))}")
        if not version:
            return entry.default
        slot = entry.versions.get(version)
        if slot is None:
            known = list(entry.versions)
            raise NotFound(f"model {name!r} has no version {version!r}; its version{_s(known)} {', '.join(map(repr, known))}")
        return slot

    def metadata(self, slot: Slot) -> ModelMetadata:
        """A model's metadata with all its versions that are loaded. Raises Unavailable, NotFound."""
        told = slot.taken().metadata
        versions = [each.version for each in self._entry_of(slot).versions.values() if each.model is not None]
        return msgspec.structs.replace(told, name=slot.name, versions=versions)

    @property
    def described(self) -> list[ModelMetadata]:
        """The metadata of every version that is loaded, each on its own, from old to new. Raises Unavailable."""
        if not self._complete:
            raise Unavailable("the models are loading")
        return [
            msgspec.structs.replace(told, name=slot.name, versions=[slot.version])
            for slot in self.slots
            if slot.model is not None and (told := slot.model.told) is not None
        ]

    @property
    def explained(self) -> set[str]:
        """The names of the models that explain their answers."""
        return {slot.name for slot in self.slots if slot.model is not None and slot.model.explains}

    def require_ready(self, wanted: Slot | None = None) -> None:
        """One version, or every one that is in memory, can be asked. Raises Unavailable, NotFound."""
        if not self._complete:
            raise self._loader.stage.loading(self._config.model.name)
        if wanted is not None:
            wanted.taken().require_ready()
            return
        for slot in self.slots:
            if slot.model is not None:
                slot.model.require_part()

    def stuck(self) -> bool:
        """Whether a model's call hangs."""
        return any(model.stuck() for model in self._loaded)

    def _entry_of(self, slot: Slot) -> Entry:
        return self._entries.get(slot.name, self._default)

    # ---- start and end

    def serve(self, model: Served) -> None:
        """One model under the configured name and version, made by the caller."""
        self._default.fill({self._config.model.version: model})
        self._complete = True

    async def open(self) -> None:
        """Load every version of every model, or those that are not for later. Raises ModelLoadError for the first that
        cannot be loaded."""
        models: AllServed = await self.supply.models(self.sources)
        default = self._loader.default  # a folder gives its only model a name of its own
        self._default.rename(default)
        self._entries = {name: self._default if name == default else Entry(name, "", self._slots) for name in models}
        for name, versions in models.items():
            self._put(self._entries[name], versions)
        self._complete = True
        self._require_chosen()
        self._on_change(self.slots)
        changing = [each for each in self.sources if each.refresh_s and not each.digest]
        self._watching = [asyncio.ensure_future(self._watch(each)) for each in changing]
        unseen = [each for each in self.sources if each.name in self.supply.unseen]
        self._watching += [asyncio.ensure_future(self._look_for(each)) for each in unseen]

    def _require_chosen(self) -> None:
        """The models that pictures go to are there. Raises ModelLoadError."""
        known = [self._config.model.name, *self._entries]
        for choice in [] if self._config.images is None or self.supply.unseen else self._config.images.choose:
            if choice.model not in known:
                raise ModelLoadError(
                    f"inference.images.choose names {choice.model!r}, and the models are {', '.join(self._entries)}"
                )

    def close(self) -> None:
        """Let go of every model."""
        for task in self._watching:
            task.cancel()
        for model in self._loaded:
            model.close()
        self._loader.close()

    # ---- new versions

    async def _watch(self, source: PodModel) -> None:
        """Look now and then whether the URI has another version, and serve that."""
        refused = ""
        while True:
            await asyncio.sleep(source.refresh_s)
            version = ""
            try:
                version = await self._loader.ask(self._loader.changed, source)
                if not version or version == refused:
                    continue
                await self.refresh(source)
            except NotYet as error:  # tried again at the next look
                self._on_failure()
                log.error("model %s: stays as it is for now: %s", source.name, error.message)
            except Exception as error:
                refused = version or refused
                self._on_failure()
                told = isinstance(error, KfuncError)
                log.error("model %s: stays as it is%s", source.name, f": {error}" if told else "", exc_info=not told)

    async def _look_for(self, source: PodModel) -> None:
        """Ask a source that could not be asked at the start until it says what it holds; the log gets each reason once."""
        told = self.supply.unseen[source.name]
        while source.name in self.supply.unseen:
            await asyncio.sleep(LOOK_AGAIN_S)
            try:
                await self.refresh(source)
                progress_log.info("model %s: is there", source.name)
            except ModelLoadError as error:
                if error.message != told:
                    log.error("model %s: cannot be found: %s", source.name, error.message)
                told = error.message
            except Exception:
                self._on_failure()
                log.exception("model %s: cannot be found", source.name)

    async def refresh(self, source: PodModel) -> None:
        """Load what is at a source now beside what is served, switch, and let the old calls end. Raises ModelLoadError.

        What was unloaded stays so.
        """
        async with self._changing([source]):
            before = self._loader.names_of(source)
            models = await self.supply.models([source], without=self._unloaded)
            for name, versions in models.items():
                self._put_wanted(name, versions)
            gone = [name for name in before if name not in models and name in self._entries and name not in self._unloaded]
            for name in gone:
                self._put(self._entries[name], {})
            self._entries = {name: each for name, each in self._entries.items() if name not in gone or each is self._default}
            self._on_change(self.slots)

    @asynccontextmanager
    async def _changing(self, sources: list[PodModel]) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for source in sources:  # in the order of `sources`: nobody waits for who waits for him
                await stack.enter_async_context(self._changes[source.name])
            yield

    def _put_wanted(self, name: str, versions: dict[str, Served]) -> bool:
        """Serve a model, unless somebody has unloaded it while it was loaded; whether it is served."""
        if name not in self._unloaded:
            self._put(self._entry(name), versions)
            return True
        for model in versions.values():
            model.close()
        return False

    # ---- load and unload

    async def load(self, name: str) -> None:
        """Load a model's versions as they are at their source now; the old ones answer until then, and if it fails.

        Raises NotFound, InvalidRequest with what is wrong with the model's files.
        """
        self._require_complete()
        name = self._real_name(name)
        sources = self._loader.sources_of(name)
        async with self._changing(sources):
            out = name in self._unloaded
            self._unloaded.discard(name)
            try:
                models = await self.supply.models(sources, name)
            except BaseException as error:
                if out:
                    self._unloaded.add(name)
                if not isinstance(error, ModelLoadError):
                    raise
                self._on_failure()
                raise InvalidRequest(f"the model {name} cannot be loaded: {error.message}") from None
            if name not in models:
                raise NotFound(f"no model {name!r} in the repository")
            if not self._put_wanted(name, models[name]):
                raise NotFound(f"the model {name} was unloaded while it was loaded")
            self._on_change(self.slots)
            from kfunc.handlers.memory import settle_memory

            await asyncio.get_running_loop().run_in_executor(None, settle_memory)

    def _entry(self, name: str) -> Entry:
        entry = self._entries.get(name)
        if entry is None:
            entry = Entry(name, "", self._slots)
            self._entries = {**self._entries, name: entry}
        return entry

    async def unload(self, name: str) -> None:
        """Take a model's versions out; calls that run are finished. Raises NotFound."""
        self._require_complete()
        name = self._real_name(name)
        if name not in self._entries:
            raise NotFound(f"no model {name!r} here to unload")
        self._unloaded.add(name)
        entry = self._entries[name]
        for slot in [*entry.versions.values(), entry.default]:
            self._retire(slot.model)
            slot.clear("unloaded")
        self._on_change(self.slots)

    def _with_pictures(self, load: Load) -> Load:
        """`load`; the models that take pictures get them as numbers."""
        images = self._config.images
        if images is None:
            return load
        chosen = {each.model for each in images.choose}

        def load_wrapped(config: PodConfig) -> Loaded:
            loaded = load(config)
            if config.model.name not in (self._loader.default, *chosen):
                return loaded
            from kfunc.handlers.image_model import ImageModel

            try:
                return ImageModel(loaded, config, images, self._model_named)
            except BaseException:
                loaded.close()
                raise

        return load_wrapped

    async def _model_named(self, name: str) -> Loaded:
        """A model in memory. Raises NotFound, Unavailable."""
        return await self.find(name, "").taken().brought()

    def _require_complete(self) -> None:
        if not self._complete:
            raise Unavailable("the models are loading")

    def _real_name(self, name: str) -> str:
        configured = name == self._config.model.name and name not in self._entries
        return self._default.name if configured else name

    def _put(self, entry: Entry, models: dict[str, Served]) -> None:
        """Replace what an entry has, on the loop."""
        before = [slot.model for slot in entry.versions.values()]
        self._loaded.update(models.values())
        entry.fill(models)
        leaving = [model for model in before if model is not None and all(model is not each for each in models.values())]
        for model in leaving:
            self._retire(model)
        if leaving and models:
            progress_log.info("model %s: a new version is served", entry.name)

    def _retire(self, model: Served | None) -> None:
        """Close a model when its calls have ended."""
        for loaded in [each for each in self._loaded if each is model]:
            self._loaded.discard(loaded)
            loaded.retire()


def _load_one(config: PodConfig) -> Loaded:
    return load_one(config, None)


def load_one(config: PodConfig, metrics: BusinessMetrics | None) -> Loaded:
    """Load a model whose code may have `metrics` of its own. Raises ModelLoadError."""
    from kfunc.handlers.loaded import LoadedModel
    from kfunc.handlers.opening import load_handler

    handler = load_handler(config, metrics)
    default = LoadedModel(config, handler)
    if not handler.signatures:
        return default
    from kfunc.handlers.signatures import BySignature

    return BySignature(default, {name: LoadedModel(config, each) for name, each in handler.signatures.items()})


def _s(known: list[str]) -> str:
    return " is" if len(known) == 1 else "s are"
