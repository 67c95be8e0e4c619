"""How a repository gets its models: all of them loaded at once, or each when it is first asked for."""

import asyncio
import logging
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Protocol

from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.residency import Residency
from kfunc.errors import ModelLoadError, NotYet
from kfunc.handlers.loading import AllLoaded, AllServed, Found, Loader, Versions, close_all

if TYPE_CHECKING:
    from kfunc.handlers.residents import OnPlace, ResidentModel, Shelf

log = logging.getLogger("kfunc.model")

Placed = dict[str, dict[str, "ResidentModel"]]


class Supply(Protocol):
    """Where a repository's models come from."""

    @property
    def unseen(self) -> Mapping[str, str]:
        """The sources that could not be asked at the start, by name, and why; each has a place as one model."""

    async def models(self, sources: list[PodModel], only: str = "", without: Container[str] = ()) -> AllServed:
        """The models at these places as they are now, but those `without`, or `only` one; all or none.

        Of each source one call at a time. Raises ModelLoadError.
        """


def supply_of(config: PodConfig, loader: Loader, on_place: "OnPlace", on_failure: Callable[[], None]) -> Supply:
    """The one that the configuration asks for."""
    residency = config.residency
    if residency is None and config.model.lazy:
        return OnDemand(loader, Residency(wait_s=config.timeout_s), on_place, on_failure, lazy=True)
    return AtStart(loader) if residency is None else OnDemand(loader, residency, on_place, on_failure)


class AtStart:
    """Every version of every model is loaded, and warmed up."""

    unseen: Mapping[str, str] = {}

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self._one_at_a_time = asyncio.Lock()

    async def models(self, sources: list[PodModel], only: str = "", without: Container[str] = ()) -> AllServed:
        """Found and loaded in a thread; of several sources one is loaded at a time."""
        loader = self._loader
        found = await loader.ask(loader.find, sources)
        try:
            wanted = {name: each for name, each in found.models.items() if only in ("", name) and name not in without}
            async with self._one_at_a_time:
                loaded = await asyncio.get_running_loop().run_in_executor(None, loader.load, found, wanted)
                try:
                    await self._warm(found, wanted, loaded)
                except BaseException:
                    close_all(loaded)
                    raise
        finally:
            found.let_go()
        loader.took(found, only)
        return {name: {**versions} for name, versions in loaded.items()}

    async def _warm(self, found: Found, wanted: Versions, loaded: AllLoaded) -> None:
        for name, versions in wanted.items():
            files = found.files[found.source_of[name]]
            for version, settings in versions.items():
                if settings.model.warmup.count:
                    from kfunc.handlers.warmup import warm_up

                    self._loader.stage.enter("warming up")
                    with self._loader.noted("warmed up", settings.model, files):
                        await warm_up(loaded[name][version], settings.model.warmup)


class OnDemand:
    """Each model is placed on a shelf; those that are pinned are brought at once.

    `lazy`: there is but one, and the function is ready only as long as that can be loaded.
    """

    def __init__(
        self,
        loader: Loader,
        residency: Residency,
        on_place: "OnPlace",
        on_failure: Callable[[], None],
        *,
        lazy: bool = False,
    ) -> None:
        self._loader = loader
        self._residency = residency
        self._on_place = on_place
        self._on_failure = on_failure
        self._lazy = lazy
        self._shelf: Shelf | None = None
        self._begun = False
        self.unseen: dict[str, str] = {}
        self._placed: dict[tuple[str, str], ResidentModel] = {}

    async def models(self, sources: list[PodModel], only: str = "", without: Container[str] = ()) -> AllServed:
        """Found in a thread and placed; those in memory that have changed are loaded again, and `only` in any case.

        One that cannot be loaded again stays as it is, and keeps no other from it.
        """
        loader = self._loader
        found = await loader.ask(loader.list_only, sources, self._may_be_unseen())
        if sources == loader.sources:
            self._require_places(found)
        self._tell_unseen(sources, found)
        placed: Placed = {
            name: {version: self._place(name, version, each) for version, each in versions.items()}
            for name, versions in found.models.items()
            if only in ("", name) and name not in without
        }
        for name, versions in placed.items():
            for model in versions.values():
                try:
                    await self._bring(model, must=bool(only))
                except ModelLoadError as error:
                    if only or (model.pinned and model.loaded is None):
                        raise
                    self._on_failure()
                    log.error("model %s: stays as it is: %s", name, error.message)
                    if isinstance(error, NotYet):
                        _look_again(found, name)
                if model.loading is not None:  # for a request, and what is on its way may be older than what was listed
                    _look_again(found, name)
        if self._residency.pinned and not self._begun:
            await self._open().require_room()
        self._begun = True
        if not only:
            self._forget_gone(sources, placed, without)
        loader.took(found, only)
        return {name: {**versions} for name, versions in placed.items()}

    def _forget_gone(self, sources: list[PodModel], placed: Placed, without: Container[str]) -> None:
        """What these sources had and do not have any more comes back, if it does, as another model."""
        had = {name for source in sources for name in self._loader.names_of(source) if name not in without}
        self._placed = {
            (name, version): model
            for (name, version), model in self._placed.items()
            if name not in had or version in placed.get(name, {})
        }

    def _may_be_unseen(self) -> list[str]:
        """The sources that the start does not depend on."""
        if self._begun or self._lazy:
            return []
        return [each.name for each in self._loader.sources if each.name not in self._residency.pinned]

    def _tell_unseen(self, sources: list[PodModel], found: Found) -> None:
        for source in sources:
            self.unseen.pop(source.name, None)
        for name, error in found.unseen.items():
            self.unseen[name] = error.message
            self._on_failure()
            log.error("model %s: cannot be found, and its requests are 503 until it can be: %s", name, error.message)

    def _require_places(self, found: Found) -> None:
        """The pinned models are there, and leave a place for others. Raises ModelLoadError."""
        pinned, most, names = self._residency.pinned, self._residency.max_models, list(found.models)
        for name in pinned:
            if name not in names:
                for error in found.unseen.values():  # it may be there
                    raise error
                from difflib import get_close_matches  # start-up time

                near = get_close_matches(name, names, n=1)
                meant = f": did you mean {near[0]!r}?" if near else ""
                raise ModelLoadError(f"residency.pinned names {name!r}{meant}; the models are {', '.join(names)}")
        count = {name: len(versions) for name, versions in found.models.items()}
        staying = sum(count[name] for name in set(pinned))
        least = staying + (sum(count.values()) > staying)
        if pinned and most and least > most:
            others = "" if least == staying else ", and the others need a place"
            raise ModelLoadError(
                f"residency.max_models is {most}, and {staying} are pinned, with all their versions{others}: "
                f"make it {least} or more, or pin fewer"
            )

    def _place(self, name: str, version: str, settings: PodConfig) -> "ResidentModel":
        shelf, model = self._open(), self._placed.get((name, version))
        if model is None:
            model = shelf.place(settings, pinned=name in self._residency.pinned, lazy=self._lazy)
            self._placed[name, version] = model
        else:
            shelf.renew(model, settings)
        return model

    async def _bring(self, model: "ResidentModel", *, must: bool) -> None:
        version = ""
        if model.loaded is not None and not must:
            version = await self._loader.ask(self._loader.changed, model.settings.model)
        if must or version:
            await self._open().bring(model, again=True)
        elif model.pinned and model.loaded is None:
            await self._open().bring(model)

    def _open(self) -> "Shelf":
        if self._shelf is None:
            from kfunc.handlers.residents import Shelf

            self._shelf = Shelf(self._residency, self._loader, self._on_place, self._on_failure)
        return self._shelf


def _look_again(found: Found, name: str) -> None:
    """The version of a model's source is not taken for served, so that the next look finds it once more."""
    found.versions.pop(found.source_of[name], None)
