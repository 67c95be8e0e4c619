"""The models of a function by name and version: which are loaded, and loading and unloading them while others serve.

Reads the disk and runs models' code only in threads; what the event loop sees changes on the loop.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, ModelLoadError, NotFound, Unavailable
from kfunc.protocol.contract import Model
from kfunc.protocol.messages import ModelMetadata

if TYPE_CHECKING:
    from kfunc.handlers.layout import FoundModel

LOADING, READY, UNLOADED = "LOADING", "READY", "UNAVAILABLE"


class Loaded(Model, Protocol):
    """A model that this process holds."""

    def stuck(self) -> bool:
        """Whether a call hangs."""

    def retire(self) -> None:
        """Close when the calls that wait or run have ended."""

    def close(self) -> None:
        """Let go of what it holds."""


Load = Callable[[PodConfig], Loaded]


class Slot:
    """A place that requests are for; what stands in it may change while they come.

    The slot of a model's default version has the newest one's model and version.
    """

    __slots__ = ("model", "name", "reason", "state", "version")

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.model: Model | None = None
        self.state = LOADING
        self.reason = ""

    def fill(self, version: str, model: Model) -> None:
        """From now on `model` answers."""
        self.version, self.model, self.state, self.reason = version, model, READY, ""

    def clear(self, reason: str) -> None:
        """From now on nothing answers."""
        self.model, self.state, self.reason = None, UNLOADED, reason

    def taken(self) -> Model:
        """The model. Raises Unavailable while it loads, NotFound once it is unloaded."""
        if self.model is not None:
            return self.model
        if self.state == LOADING:
            raise Unavailable(f"the model {self.name} is loading")
        raise NotFound(f"the model {self.name} is not loaded: {self.reason}")


class Entry:
    """One model's slots: `versions` from old to new, and `default` for requests that name none."""

    __slots__ = ("_slots", "default", "versions")

    def __init__(self, name: str, version: str) -> None:
        self.default = Slot(name, version)
        self.versions: dict[str, Slot] = {}
        self._slots: dict[str, Slot] = {}  # of versions that are gone too: requests may hold them

    def fill(self, models: Mapping[str, Model]) -> None:
        """From now on these versions, from old to new, are what there is."""
        for version, slot in self.versions.items():
            if version not in models:
                slot.clear("its files are gone")
        self.versions = {version: self._slots.setdefault(version, Slot(self.default.name, version)) for version in models}
        for version, model in models.items():
            self.versions[version].fill(version, model)
            self.default.fill(version, model)


class Repository:
    """What a function serves. Until `open` has read the folder, only the default model's slot is there, empty."""

    def __init__(self, config: PodConfig, load: Load | None = None, on_failure: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._load_one: Load = load or _load_one
        self._on_failure = on_failure
        self._default = Entry(config.model.name, config.model.version)
        self._entries: dict[str, Entry] = {config.model.name: self._default}
        self._complete = False
        self._loaded: set[Loaded] = set()
        self._changes = asyncio.Lock()

    # ---- what requests ask

    @property
    def names(self) -> list[str]:
        """The models, by name."""
        return list(self._entries)

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
            msgspec.structs.replace(slot.model.metadata, name=slot.name, versions=[slot.version])
            for slot in self.slots
            if slot.model is not None
        ]

    @property
    def explained(self) -> set[str]:
        """The names of the models that explain their answers."""
        return {slot.name for slot in self.slots if slot.model is not None and slot.model.explains}

    def require_ready(self, wanted: Slot | None = None) -> None:
        """One version, or every one that is not unloaded, can be asked. Raises Unavailable, NotFound."""
        if not self._complete:
            raise Unavailable(f"the model {self._config.model.name} is loading")
        if wanted is not None:
            wanted.taken()
        for slot in self.slots if wanted is None else [wanted]:
            if slot.model is not None and not slot.model.ready:
                raise Unavailable(f"the model {slot.name} is not ready")

    def stuck(self) -> bool:
        """Whether a model's call hangs."""
        return any(model.stuck() for model in self._loaded)

    def _entry_of(self, slot: Slot) -> Entry:
        return self._entries.get(slot.name, self._default)

    # ---- start and end

    def serve(self, model: Model) -> None:
        """One model under the configured name and version, made by the caller."""
        self._default.fill({self._config.model.version: model})
        self._complete = True

    async def open(self) -> None:
        """Load every version of every model. Raises ModelLoadError for the first that cannot be loaded."""
        loop = asyncio.get_running_loop()
        models = await loop.run_in_executor(None, self._load_all, None)
        default = self._default_name(list(models))
        self._default.default.name = default
        self._entries = {name: Entry(name, "") for name in models}
        self._entries[default] = self._default
        for name, versions in models.items():
            self._put(self._entries[name], versions)
        self._complete = True

    def _default_name(self, names: list[str]) -> str:
        wanted = self._config.model.name
        if wanted in names or len(names) == 1:
            return wanted if wanted in names else names[0]
        raise ModelLoadError(
            f"{self._config.model.uri}: holds the models {', '.join(names)}; "
            "set inference.model.name to the default one of them"
        )

    def close(self) -> None:
        """Let go of every model."""
        for model in self._loaded:
            model.close()

    # ---- load and unload

    async def load(self, name: str) -> None:
        """Load a model's versions as they are on disk now; the old ones answer until then, and if it fails.

        Raises NotFound, InvalidRequest with what is wrong with the model's files.
        """
        async with self._changes:
            self._require_complete()
            name = self._real_name(name)
            try:
                models = await asyncio.get_running_loop().run_in_executor(None, self._load_all, name)
            except ModelLoadError as error:
                self._on_failure()
                raise InvalidRequest(f"the model {name} cannot be loaded: {error.message}") from None
            if name not in models:
                raise NotFound(f"no model {name!r} in the repository")
            entry = self._entries.get(name)
            if entry is None:
                entry = Entry(name, "")
                self._entries = {**self._entries, name: entry}
            self._put(entry, models[name])

    async def unload(self, name: str) -> None:
        """Take a model's versions out; calls that run are finished. Raises NotFound."""
        async with self._changes:
            self._require_complete()
            name = self._real_name(name)
            if name not in self._entries:
                raise NotFound(f"no model {name!r} here to unload")
            entry = self._entries[name]
            for slot in [*entry.versions.values(), entry.default]:
                self._retire(slot.model)
                slot.clear("unloaded")

    def _require_complete(self) -> None:
        if not self._complete:
            raise Unavailable("the models are loading")

    def _real_name(self, name: str) -> str:
        return self._default.default.name if name == self._config.model.name else name

    def _load_all(self, only: str | None) -> dict[str, dict[str, Loaded]]:
        """The models by name and version, from old to new; blocking. All of them, or none."""
        from kfunc.handlers.layout import find_models

        model = self._config.model
        path = Path(model.uri.removeprefix("file://"))
        loaded: dict[str, dict[str, Loaded]] = {}
        found = find_models(path, model.name, model.version, model.runtime)
        if model.digest is not None and len(found) > 1:
            raise ModelLoadError(f"{path}: model.digest is of one file, and this folder holds {len(found)} models")
        if only is None:
            self._default_name(list(dict.fromkeys(each.name for each in found)))
        try:
            for each in found:
                if only in (None, each.name):
                    loaded.setdefault(each.name, {})[each.version] = self._load_one(self._settings(each))
        except BaseException:
            for versions in loaded.values():
                for opened in versions.values():
                    opened.close()
            raise
        if only is not None:
            from kfunc.handlers.memory import settle_memory

            settle_memory()
        return loaded

    def _settings(self, found: "FoundModel") -> PodConfig:
        own = {"name": found.name, "version": found.version, "uri": str(found.path), "runtime": found.runtime}
        return msgspec.structs.replace(self._config, model=msgspec.structs.replace(self._config.model, **own))

    def _put(self, entry: Entry, models: dict[str, Loaded]) -> None:
        """Replace what an entry has, on the loop."""
        before = [slot.model for slot in entry.versions.values()]
        self._loaded.update(models.values())
        entry.fill(models)
        for model in before:
            self._retire(model)

    def _retire(self, model: Model | None) -> None:
        """Close a model when its calls have ended."""
        for loaded in [each for each in self._loaded if each is model]:
            self._loaded.discard(loaded)
            loaded.retire()


def _load_one(config: PodConfig) -> Loaded:
    from kfunc.handlers.loaded import LoadedModel, load_handler

    return LoadedModel(config, load_handler(config))


def _s(known: list[str]) -> str:
    return " is" if len(known) == 1 else "s are"
