"""Finds and loads the models of a function: fetched, found in their folders, opened. Blocking; runs in threads."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kfunc.config.pod import PodConfig, PodModel
from kfunc.errors import ModelLoadError
from kfunc.handlers.origins import Origins
from kfunc.handlers.slots import Load, Loaded, Served

if TYPE_CHECKING:
    from kfunc.handlers.layout import FoundModel

Found = dict[str, dict[str, PodConfig]]
"""Settings of each version of each model, versions from old to new."""
AllServed = dict[str, dict[str, Served]]


class Loader:
    """The models that a configuration names."""

    def __init__(self, config: PodConfig, load_one: Load, origins: Origins) -> None:
        self._config = config
        self._load_one = load_one
        self.origins = origins
        self.versions: dict[str, str] = {}  # by URI: what was fetched last
        self.names: dict[str, list[str]] = {}  # by URI: the models that were there

    @property
    def sources(self) -> list[PodModel]:
        """The places that models come from, the default one first."""
        return [self._config.model, *self._config.models]

    def default_name(self, names: list[str]) -> str:
        """Which of the default source's models is the default one. Raises ModelLoadError where that is open."""
        wanted = self._config.model.name
        if wanted in names or len(names) == 1:
            return wanted if wanted in names else names[0]
        raise ModelLoadError(
            f"{self._config.model.uri}: holds the models {', '.join(names)}; "
            "set inference.model.name to the default one of them"
        )

    def find(self, sources: list[PodModel]) -> Found:
        """What is at these places now. Raises ModelLoadError where two have the same name."""
        return self.joined({source.uri: self._find(source) for source in sources})

    def joined(self, by_source: Mapping[str, Found]) -> Found:
        """The models of several places as one. Raises ModelLoadError."""
        found: Found = {}
        for uri, models in by_source.items():
            if uri == self._config.model.uri:
                self.default_name(list(models))
            self.names[uri] = list(models)
            for name, versions in models.items():
                if name in found:
                    raise ModelLoadError(f"{uri}: there is another model {name!r} already")
                found[name] = versions
        return found

    def _find(self, source: PodModel) -> Found:
        local, version = self.origins.fetch(source)
        models = self._found(source, local)
        self.versions[source.uri] = version
        found: Found = {}
        for each in models:
            found.setdefault(each.name, {})[each.version] = self._settings(local, each)
        return found

    def _found(self, source: PodModel, local: PodModel) -> "list[FoundModel]":
        """What lies at a model's place on this machine; code from elsewhere is none that anybody asked for."""
        from kfunc.handlers.layout import find_models

        path = Path(local.uri.removeprefix("file://"))
        vouched = source.trust and source.digest is not None
        code = vouched or not self.origins.is_remote(source)
        return find_models(path, source.name, source.version, source.runtime, code=code)

    def _settings(self, source: PodModel, found: "FoundModel") -> PodConfig:
        own = {"name": found.name, "version": found.version, "uri": str(found.path), "runtime": found.runtime}
        return msgspec.structs.replace(self._config, model=msgspec.structs.replace(source, **own))

    def settings_of(self, source: PodModel) -> PodConfig:
        """The settings of a model before it is fetched."""
        return msgspec.structs.replace(self._config, model=source)

    def load_newest(self, settings: PodConfig) -> Loaded:
        """One model by itself: fetched, and the newest of its versions loaded."""
        local, version = self.origins.fetch(settings.model)
        self.versions[settings.model.uri] = version
        newest = self._found(settings.model, local)[-1]
        own = {"version": newest.version, "uri": str(newest.path), "runtime": newest.runtime}
        return self._load_one(msgspec.structs.replace(settings, model=msgspec.structs.replace(local, **own)))

    def changed(self, model: PodModel) -> str:
        """The version that is at a model's URI now, if it is another than that which was fetched; else empty."""
        version = self.origins.version(model)
        return "" if version == self.versions.get(model.uri) else version

    def load(self, found: Mapping[str, Mapping[str, PodConfig]]) -> AllServed:
        """All of them, or none. Raises ModelLoadError for the first that cannot be loaded."""
        loaded: AllServed = {}
        try:
            for name, versions in found.items():
                for version, settings in versions.items():
                    loaded.setdefault(name, {})[version] = self._load_one(settings)
        except BaseException:
            close_all(loaded)
            raise
        return loaded


def close_all(loaded: AllServed) -> None:
    """Let go of models that will not be served."""
    for versions in loaded.values():
        for model in versions.values():
            model.close()
