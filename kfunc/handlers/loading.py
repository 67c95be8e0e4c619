"""Finds and loads the models of a function: fetched, found in their folders, opened. Blocking; runs in threads."""

import asyncio
import logging
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from kfunc.config.model_addresses import is_remote
from kfunc.config.pod import PodConfig, PodModel
from kfunc.errors import ModelLoadError
from kfunc.handlers.local_files import LocalFiles
from kfunc.handlers.origins import Origins
from kfunc.handlers.slots import Load, Loaded, Served
from kfunc.handlers.stages import Stage
from kfunc.process.watcher import Note
from kfunc.telemetry.log_lines import PROGRESS

log = logging.getLogger("kfunc.model")

if TYPE_CHECKING:
    from kfunc.handlers.layout import FoundModel

Versions = dict[str, dict[str, PodConfig]]
"""Settings of each version of each model, versions from old to new."""
AllServed = dict[str, dict[str, Served]]
AllLoaded = dict[str, dict[str, Loaded]]
WAITERS = 16
T = TypeVar("T")
MOST_NAMES = 5

progress_log = logging.getLogger(PROGRESS)


class Found:
    """What is at `sources` now: models, the name of the source that each is of, the sources' versions, files that are here."""

    def __init__(self, sources: list[PodModel]) -> None:
        self.sources = sources
        self.models: Versions = {}
        self.source_of: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.files: dict[str, LocalFiles] = {}
        self.unseen: dict[str, ModelLoadError] = {}  # by name: sources that could not be asked what they hold

    def names_of(self, source: PodModel) -> list[str]:
        """The models of a source."""
        return [name for name, each in self.source_of.items() if each == source.name]

    def let_go(self) -> None:
        """Who found the files needs them no longer."""
        while self.files:
            self.files.popitem()[1].let_go()


class Loader:
    """The models that a configuration names: each source has a name of its own, and several may have the same URI."""

    def __init__(self, config: PodConfig, load_one: Load, origins: Origins, note: Note | None = None) -> None:
        self._config = config
        self._load_one = load_one
        self._note = note or Note()
        self.origins = origins
        self.stage = Stage()
        self._versions: dict[tuple[str, str], str] = {}  # by name and URI: what is served, of sources and models
        self._source_of: dict[str, str] = {}  # by name: the source of each model that is served; replaced, never changed
        self.default = config.model.name  # the default model's name, from when its source is first listed
        self._waiters = ThreadPoolExecutor(WAITERS, "storage")

    async def ask(self, call: Callable[..., T], *arguments: object) -> T:
        """What `call` gives, in a thread of those that wait for storage: a dead one must not take the loop's few others."""
        return await asyncio.get_running_loop().run_in_executor(self._waiters, call, *arguments)

    def close(self) -> None:
        """Nothing is fetched any more."""
        self._waiters.shutdown(wait=False, cancel_futures=True)
        self.origins.close()

    @property
    def sources(self) -> list[PodModel]:
        """The places that models come from, the default one first."""
        return [self._config.model, *self._config.models]

    def sources_of(self, name: str) -> list[PodModel]:
        """Where a model comes from; of an unknown one that may be any."""
        return [each for each in self.sources if each.name == self._source_of.get(name)] or self.sources

    def names_of(self, source: PodModel) -> list[str]:
        """The models of a source that are served."""
        return [name for name, each in self._source_of.items() if each == source.name]

    def _default_name(self, names: list[str]) -> str:
        """Which of the default source's models is the default one. Raises ModelLoadError where that is open."""
        wanted = self._config.model.name
        if wanted in names or len(names) == 1:
            return wanted if wanted in names else names[0]
        raise ModelLoadError(
            f"{self._config.model.uri}: holds the models {', '.join(names)}; "
            "set inference.model.name to the default one of them"
        )

    # ---- finding

    def find(self, sources: list[PodModel]) -> Found:
        """What is at these places now, fetched. Raises ModelLoadError where two models have the same name."""
        found = Found(sources)
        try:
            for source in sources:
                self._find(found, source)
        except BaseException:
            found.let_go()
            raise
        return found

    def _find(self, found: Found, source: PodModel) -> None:
        files = found.files[source.name] = self.origins.fetch(source, self.stage)
        self._join(found, source, files.version, self._models_in(files, source))

    def _models_in(self, files: LocalFiles, source: PodModel, *, each_alone: bool = False) -> Versions:
        models: Versions = {}
        for each in self._found(source, files, each_alone=each_alone):
            models.setdefault(each.name, {})[each.version] = self._settings(files, each)
        return models

    def _found(self, source: PodModel, files: LocalFiles, *, each_alone: bool = False) -> "list[FoundModel]":
        """What lies at a model's place on this machine; code from elsewhere is none that anybody asked for."""
        from kfunc.handlers.layout import NAME, find_models, not_served

        path = Path(files.model.uri.removeprefix("file://"))
        vouched = source.trust and source.digest is not None
        code = vouched or not self.origins.is_remote(source)
        try:
            found = find_models(path, source.name, source.version, source.runtime, code=code, each_alone=each_alone)
        except ModelLoadError as error:
            raise files.told(error) from None
        for each in found:
            if each.fault:
                log.error("model %s: cannot be loaded: %s", each.name, each.fault)
            if each.beside:
                log.warning("model %s: %s is served%s", each.name, each.path.name, not_served(each))
        if source.runtime == "auto":
            _tell([each for each in found if not each.fault])
        return [each for each in found if NAME.fullmatch(each.name)]  # others nobody can ask for

    def _settings(self, files: LocalFiles, found: "FoundModel") -> PodConfig:
        own = {"name": found.name, "version": found.version, "uri": str(found.path), "runtime": found.runtime}
        return replace(self._config, model=replace(files.model, **own))

    def list_only(self, sources: list[PodModel], may_be_unseen: Container[str] = ()) -> Found:
        """The same without fetching: of what is elsewhere or sealed only the names are asked for. Raises ModelLoadError.

        A source that cannot be asked, and of those that `may_be_unseen`, counts as one model of its name.
        """
        found = Found(sources)
        for source, listed in zip(sources, self._all_listed(sources), strict=True):
            if isinstance(listed, tuple):
                version, models = listed
                _require_own_digests(source, models)
                self._join(found, source, version, models)
            elif source.name in may_be_unseen:
                found.unseen[source.name] = listed
                self._join(found, source, "", self._each([source]))
                del found.versions[source.name]  # whatever is there once it can be asked is another
            else:
                raise listed
        return found

    def _all_listed(self, sources: list[PodModel]) -> list[tuple[str, Versions] | ModelLoadError]:
        """What each source says, or why not. They are asked at once: dead storages are waited for together."""

        def listed(source: PodModel) -> tuple[str, Versions] | ModelLoadError:
            try:
                return self._listed(source)
            except ModelLoadError as error:
                return error

        if len(sources) == 1:
            return [listed(sources[0])]
        with ThreadPoolExecutor(WAITERS, "listing") as pool:
            return list(pool.map(listed, sources))

    def _listed(self, source: PodModel) -> tuple[str, Versions]:
        """The version of a source, and its models, which are fetched one by one where they are elsewhere."""
        remote = self.origins.is_remote(source)
        if not remote and not source.sealed:
            files = self.origins.fetch(source, self.stage)
            return files.version, self._models_in(files, source, each_alone=True)
        members = (self.origins.members(source) if remote else []) or [source]
        return self.origins.version(source), self._each(members)

    def _each(self, models: list[PodModel]) -> Versions:
        return {each.name: {each.version: replace(self._config, model=each)} for each in models}

    def _join(self, found: Found, source: PodModel, version: str, models: Versions) -> None:
        """Add a source's models. Raises ModelLoadError for a name that another source's model has."""
        if source.name == self._config.model.name:
            default = self._default_name(list(models))
            if not self._source_of:
                self.default = default
        looked_at = {each.name for each in found.sources}
        taken = {name: other for name, other in self._source_of.items() if other not in looked_at} | found.source_of
        for name in models:
            if name in taken:
                other = next(each.uri for each in self.sources if each.name == taken[name])
                raise ModelLoadError(f"{source.uri}: there is another model {name!r} already, at {other}; rename one of them")
        found.source_of |= dict.fromkeys(models, source.name)
        found.models |= models
        found.versions[source.name] = version

    # ---- loading

    def load(self, found: Found, wanted: Versions) -> AllLoaded:
        """All that are wanted of those that were found, or none. Raises ModelLoadError for the first that cannot be loaded."""
        loaded: AllLoaded = {}
        try:
            for name, versions in wanted.items():
                files = found.files[found.source_of[name]]
                for version, settings in versions.items():
                    with self.noted("loaded", settings.model, files):
                        loaded.setdefault(name, {})[version] = self.open(settings, files)
        except BaseException:
            close_all(loaded)
            raise
        return loaded

    @contextmanager
    def noted(self, did: str, model: PodModel, files: LocalFiles, record: str = "") -> Iterator[None]:
        """What the model's library is asked to do, for whoever outlives this process; one model at a time."""
        self._note.begin(f"{did} the model {model.name} from {files.origin or model.uri}", record)
        try:
            yield
        finally:
            self._note.end()

    def open(self, settings: PodConfig, files: LocalFiles) -> Loaded:
        """One version of one model. Raises ModelLoadError."""
        try:
            loaded = self._load_one(settings)
        except ModelLoadError as error:
            raise files.told(error) from None
        if settings.model.warmup.shapes:
            from kfunc.handlers.warmup import check_shapes  # start-up time

            try:
                check_shapes(loaded, settings.model.warmup.shapes)
            except ModelLoadError:
                loaded.close()
                raise
        loaded.keep(files)
        return loaded

    def newest(self, settings: PodConfig, files: LocalFiles) -> PodConfig:
        """The settings of the newest version that a single model's files hold; its runtime is imported."""
        model, there = files.model, self._found(settings.model, files)
        names, found = list(dict.fromkeys(each.name for each in there)), there[-1]
        if len(names) > 1:
            raise ModelLoadError(
                f"{settings.model.uri}: holds the models {', '.join(names)}, and what is loaded on demand from an archive or "
                "sealed is one model: give each its own entry in inference.models, or remove residency and lazy"
            )
        if model.execution != "process":
            _import(found.runtime)
        own = {"version": found.version, "uri": str(found.path), "runtime": found.runtime}
        return replace(settings, model=replace(model, **own))

    # ---- what is served

    def took(self, found: Found, only: str = "") -> None:
        """What was found is served, or `only` one of its models."""
        if only:
            own = {name: source for name, source in found.source_of.items() if name == only}
            self._source_of = self._source_of | own
        else:
            looked_at = {each.name for each in found.sources}
            others = {name: source for name, source in self._source_of.items() if source not in looked_at}
            self._source_of = others | found.source_of
            known = {*self._source_of, *(each.name for each in self.sources)}
            self._versions = {key: version for key, version in self._versions.items() if key[0] in known}
        for source in found.sources:
            if source.name in found.versions and (not only or found.names_of(source) == [only]):
                self.took_version(source, found.versions[source.name])

    def took_version(self, model: PodModel, version: str) -> None:
        """This version of a source, or of a model by itself, is served."""
        self._versions[model.name, model.uri] = version

    def changed(self, model: PodModel) -> str:
        """The version at the URI of a source, or of a model by itself, if it is not the one that is served; else empty."""
        version = self.origins.version(model)
        return "" if version == self._versions.get((model.name, model.uri)) else version


def _require_own_digests(source: PodModel, models: Versions) -> None:
    """Raises ModelLoadError where several models below a place elsewhere have one digest."""
    members = [name for name, versions in models.items() if any(each.model.uri != source.uri for each in versions.values())]
    if source.digest is None or not is_remote(source.uri) or not members:
        return
    names = ", ".join([*members[:MOST_NAMES], *(["…"] if len(members) > MOST_NAMES else [])])
    raise ModelLoadError(
        f"{source.uri}: holds {len(members)} models ({names}), which are fetched one by one, and a digest is one's: "
        "list them in inference.models, each with a digest of its own, or remove digest"
    )


def _tell(found: "list[FoundModel]") -> None:
    """Which runtimes were chosen, and why: a line for those of the same."""
    names: dict[tuple[str, str], dict[str, None]] = {}
    for each in found:
        names.setdefault((each.runtime, each.why), {})[each.name] = None
    for (runtime, why), named in names.items():
        more = f" and {len(named) - MOST_NAMES} more" if len(named) > MOST_NAMES else ""
        told = f"{'' if len(named) == 1 else 's'} {', '.join(list(named)[:MOST_NAMES])}{more}"
        progress_log.info("model%s: runtime %s, as %s", told, runtime, why)


def _import(runtime: str) -> None:
    """What a runtime's first model brings into memory is not that model's."""
    from kfunc.handlers import loaded  # noqa: F401
    from kfunc.handlers.registry import create

    try:
        create(runtime)
    except ModelLoadError:
        pass  # loading says so


def close_all(loaded: AllLoaded) -> None:
    """Let go of models that will not be served."""
    for versions in loaded.values():
        for model in versions.values():
            model.close()
