"""How a repository gets its models: all of them loaded at once, or each when it is first asked for."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.residency import Residency
from kfunc.errors import ModelLoadError
from kfunc.handlers.loading import AllServed, Found, Loader, close_all

if TYPE_CHECKING:
    from kfunc.handlers.residents import OnPlace, ResidentModel, Shelf


class Supply(Protocol):
    """Where a repository's models come from."""

    async def models(self, sources: list[PodModel], only: str = "") -> AllServed:
        """The models at these places as they are now, or `only` one of them; all or none. Raises ModelLoadError."""


def supply_of(config: PodConfig, loader: Loader, on_place: "OnPlace") -> Supply:
    """The one that the configuration asks for."""
    residency = config.residency
    if residency is None and config.model.lazy:
        residency = Residency(wait_s=config.timeout_s)
    return AtStart(loader) if residency is None else OnDemand(loader, residency, on_place)


class AtStart:
    """Every version of every model is loaded, and warmed up."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    async def models(self, sources: list[PodModel], only: str = "") -> AllServed:
        """Found and loaded in a thread."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, self._loader.find, sources)
        if only:
            found = {name: versions for name, versions in found.items() if name == only}
        loaded = await loop.run_in_executor(None, self._loader.load, found)
        try:
            await self._warm(found, loaded)
        except BaseException:
            close_all(loaded)
            raise
        return loaded

    async def _warm(self, found: Found, loaded: AllServed) -> None:
        for name, versions in found.items():
            for version, settings in versions.items():
                if settings.model.warmup.count:
                    from kfunc.handlers.warmup import warm_up

                    self._loader.origins.enter("warming up")
                    await warm_up(loaded[name][version], settings.model.warmup)


class OnDemand:
    """Each model is placed on a shelf; those that are pinned are brought at once."""

    def __init__(self, loader: Loader, residency: Residency, on_place: "OnPlace") -> None:
        self._loader = loader
        self._residency = residency
        self._on_place = on_place
        self._shelf: Shelf | None = None
        self._placed: dict[tuple[str, str], ResidentModel] = {}

    async def models(self, sources: list[PodModel], only: str = "") -> AllServed:
        """Found in a thread and placed; of those in memory, the ones that have changed are loaded again."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, self._find, sources)
        unknown = [name for name in self._residency.pinned if name not in found]
        if unknown and sources == self._loader.sources:
            raise ModelLoadError(f"residency.pinned names {unknown[0]!r}; the models are {', '.join(found)}")
        placed: AllServed = {}
        for name, versions in found.items():
            if only in ("", name):
                placed[name] = {version: await self._place(name, version, each) for version, each in versions.items()}
        return placed

    async def _place(self, name: str, version: str, settings: PodConfig) -> "ResidentModel":
        shelf, pinned = self._open(), name in self._residency.pinned
        model = self._placed.get((name, version))
        if model is None or model not in shelf.models:  # it was unloaded, or its files were gone
            model = self._placed[name, version] = shelf.place(settings, pinned=pinned)
        elif model.loaded is not None:
            model.settings = settings
            if await asyncio.get_running_loop().run_in_executor(None, self._loader.changed, settings.model):
                await shelf.bring(model, again=True)
        if pinned and model.loaded is None:
            await shelf.bring(model)
        return model

    def _open(self) -> "Shelf":
        if self._shelf is None:
            from kfunc.handlers.residents import Shelf

            self._shelf = Shelf(self._residency, self._loader.load_newest, self._on_place)
        return self._shelf

    def _find(self, sources: list[PodModel]) -> Found:
        return self._loader.joined({source.uri: self._find_in(source) for source in sources})

    def _find_in(self, source: PodModel) -> Found:
        """The models of one place; of what is elsewhere or sealed only the names are asked for."""
        loader = self._loader
        remote = loader.origins.is_remote(source)
        if not remote and not source.sealed:
            return loader.find([source])
        members = (loader.origins.members(source) if remote else []) or [source]
        loader.versions[source.uri] = loader.origins.version(source)
        return {each.name: {each.version: loader.settings_of(each)} for each in members}
