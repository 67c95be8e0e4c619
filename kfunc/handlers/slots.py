"""Places that requests are for: of a model's versions, and of its default one. What stands in them changes on the loop."""

from collections.abc import Callable, Mapping
from typing import Protocol

from kfunc.config.pod import PodConfig
from kfunc.errors import NotFound, Unavailable
from kfunc.handlers.local_files import LocalFiles
from kfunc.protocol.contract import Model
from kfunc.protocol.messages import ModelMetadata

LOADING, READY, UNLOADED = "LOADING", "READY", "UNAVAILABLE"


class Served(Model, Protocol):
    """A model that has a place in this process."""

    def stuck(self) -> bool:
        """Whether a call hangs."""

    def retire(self) -> None:
        """Nobody is asked any more: close when the calls that wait or run have ended."""

    def close(self) -> None:
        """Let go of what it holds."""


class Loaded(Served, Protocol):
    """A model that this process has loaded from files."""

    def keep(self, files: LocalFiles) -> None:
        """Hold the files that it was loaded from until it is closed."""


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
        if not models:
            self.default.clear("its files are gone")
        for version, model in models.items():
            self.versions[version].fill(version, model)
            self.default.fill(version, model)


def told_of(model: Model | None) -> ModelMetadata | None:
    """A model's metadata, without bringing it into memory where it is not."""
    if model is None:
        return None
    told: ModelMetadata | None = model.told if hasattr(model, "told") else model.metadata
    return told


def in_memory(model: Model | None) -> Model | None:
    """The model itself; None where it is not in memory."""
    there: Model | None = getattr(model, "loaded", model)
    return there


def state_of(slot: Slot) -> tuple[str, str]:
    """State and reason, of what is in the slot where that tells its own."""
    own: tuple[str, str] | None = getattr(slot.model, "state", None)
    return own or (slot.state, slot.reason)
