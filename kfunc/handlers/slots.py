"""Places that requests are for: of a model's versions, and of its default one. What stands in them changes on the loop."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Protocol, Self

from kfunc.config.pod import PodConfig
from kfunc.errors import NotFound, Unavailable
from kfunc.handlers.local_files import LocalFiles
from kfunc.protocol.contract import Model
from kfunc.protocol.messages import ModelMetadata, Tensor, TensorSpec

LOADING, READY, UNLOADED = "LOADING", "READY", "UNAVAILABLE"


class Served(Model, Protocol):
    """A model that has a place in this process, in memory or not."""

    @property
    def yields(self) -> bool:
        """Whether it answers in parts, by `stream` and not by `infer`."""

    @property
    def takes_images(self) -> bool:
        """Whether bodies may be pictures."""

    @property
    def told(self) -> ModelMetadata | None:
        """Its metadata as far as they are known; it is not brought into memory for them."""

    @property
    def loaded(self) -> "Loaded | None":
        """What of it is in memory."""

    @property
    def state(self) -> tuple[str, str]:
        """For the index of the repository, with the reason."""

    def require_ready(self) -> None:
        """Raises Unavailable where a request would be refused."""

    def require_part(self) -> None:
        """Raises Unavailable where the function as a whole is not ready because of this model."""

    def coming(self) -> "Awaitable[Loaded] | None":
        """What waits for metadata that nobody has seen yet, where requests wait."""

    async def brought(self) -> "Loaded":
        """What of it is in memory, after as long a wait as requests have. Raises Unavailable."""

    def stuck(self) -> bool:
        """Whether a call hangs."""

    def retire(self) -> None:
        """Nobody is asked any more: close when the calls that wait or run have ended."""

    def close(self) -> None:
        """Let go of what it holds."""


class Loaded(Served, Protocol):
    """A model that this process has loaded from files."""

    @property
    def other_inputs(self) -> Sequence[TensorSpec]:
        """Inputs that requests may bring besides those that its metadata tell."""

    def keep(self, files: LocalFiles) -> None:
        """Hold the files that it was loaded from until it is closed."""

    def sample(self, shapes: dict[str, list[int]]) -> list[Tensor] | None:
        """Inputs for a warm-up, of these shapes; None: zeros will do."""


class InMemory:
    """What a model says that is in memory as long as it has its place."""

    yields = takes_images = False
    other_inputs: Sequence[TensorSpec] = ()
    state = READY, ""

    @property
    def told(self: Model) -> ModelMetadata | None:
        """All that there is."""
        return self.metadata

    @property
    def loaded(self) -> Self:
        """Itself."""
        return self

    def require_ready(self: Model) -> None:
        """Raises Unavailable."""
        if not self.ready:
            raise Unavailable(f"the model {self.metadata.name} is not ready")

    require_part = require_ready

    def coming(self) -> Awaitable[Loaded] | None:
        """Nothing is waited for."""
        return None

    async def brought(self) -> Self:
        """Itself, at once."""
        return self

    def sample(self, shapes: dict[str, list[int]]) -> list[Tensor] | None:
        """None: zeros."""
        return None


Load = Callable[[PodConfig], Loaded]


class Slot:
    """A place that requests are for; what stands in it may change while they come.

    The slot of a model's default version has the newest one's model and version.
    """

    __slots__ = ("__weakref__", "model", "name", "reason", "state", "version")

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.model: Served | None = None
        self.state = LOADING
        self.reason = ""

    def fill(self, version: str, model: Served) -> None:
        """From now on `model` answers."""
        self.version, self.model, self.state, self.reason = version, model, READY, ""

    def clear(self, reason: str) -> None:
        """From now on nothing answers."""
        self.model, self.state, self.reason = None, UNLOADED, reason

    def taken(self) -> Served:
        """The model. Raises Unavailable while it loads, NotFound once it is unloaded."""
        if self.model is not None:
            return self.model
        if self.state == LOADING:
            raise Unavailable(f"the model {self.name} is loading")
        raise NotFound(f"the model {self.name} is not loaded: {self.reason}")

    @property
    def shown(self) -> tuple[str, str]:
        """State and reason; what stands here tells its own."""
        return (self.state, self.reason) if self.model is None else self.model.state


Slots = MutableMapping[tuple[str, str], Slot]
"""By a model's name and version, empty for its default one: of those that are gone, too, while a request holds them."""


class Entry:
    """One model's slots: `versions` from old to new, and `default` for requests that name none.

    A version that comes back gets the slot that it had, if that is among `known` still.
    """

    __slots__ = ("_known", "default", "name", "versions")

    def __init__(self, name: str, version: str, known: Slots) -> None:
        self.name = name
        self.default = known.setdefault((name, ""), Slot(name, version))
        self.versions: dict[str, Slot] = {}
        self._known = known

    def rename(self, name: str) -> None:
        """Its requests' slot goes with it, and is not that of a model which gets the old name later."""
        del self._known[self.name, ""]
        self.name = self.default.name = name
        self._known[name, ""] = self.default

    def fill(self, models: Mapping[str, Served]) -> None:
        """From now on these versions, from old to new, are what there is."""
        for version, slot in self.versions.items():
            if version not in models:
                slot.clear("its files are gone")
        self.versions = {version: self._slot(version) for version in models}
        if not models:
            self.default.clear("its files are gone")
        for version, model in models.items():
            self.versions[version].fill(version, model)
            self.default.fill(version, model)

    def _slot(self, version: str) -> Slot:
        return self._known.setdefault((self.name, version), Slot(self.name, version))
