"""Where the files of models are on this machine: those that are elsewhere are fetched. Blocking; for threads.

The storage's code is imported when a URI needs it.
"""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.model_addresses import is_remote
from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.residency import ModelCache
from kfunc.errors import ModelLoadError
from kfunc.telemetry.log_lines import PROGRESS

if TYPE_CHECKING:
    from kfunc.storage.fetching import Fetcher, Wish
    from kfunc.storage.progress import Progress

log = logging.getLogger("kfunc.model")
progress_log = logging.getLogger(PROGRESS)


class Origins:
    """The models' places. `phase` may be read by the event loop while a thread fetches."""

    def __init__(self, config: PodConfig) -> None:
        self._settings = config.model_cache
        self._fetcher: Fetcher | None = None
        self._progress: Progress | None = None
        self._phase = "loading"
        self._keys: dict[str, str] = {}  # by URI: what is held of the cache for it
        self._in_memory: dict[str, list[Path]] = {}  # by URI: decrypted models, the last two

    @property
    def phase(self) -> dict[str, int | str | bool]:
        """What is being done, with `done` and `total` bytes where some are moved."""
        return {"phase": self._phase} if self._progress is None else dict(self._progress.told())

    @property
    def described(self) -> str:
        """The same for people: `downloading 42 % (1.2 of 2.9 GB)`."""
        progress = self._progress
        if progress is None or not (progress.total or progress.done):
            return str(self.phase["phase"])
        return f"{progress.phase} {progress.described()}"

    def is_remote(self, model: PodModel) -> bool:
        """Whether a model's files are elsewhere."""
        return is_remote(model.uri)

    def close(self) -> None:
        """Nothing of the cache is in use here any more."""
        for key in self._keys.values():
            self._open().cache.release(key)
        self._keys.clear()
        for paths in self._in_memory.values():
            from kfunc.storage.unsealing import forget

            for path in paths:
                forget(path)
        self._in_memory.clear()

    def enter(self, phase: str) -> None:
        """Nothing is fetched now; something else is done."""
        self._progress, self._phase = None, phase

    def fetch(self, model: PodModel) -> tuple[PodModel, str]:
        """The model with its `uri` a path, and which version it is. Raises ModelLoadError."""
        if not is_remote(model.uri):
            version = signature(path_of(model)) if model.refresh_s else ""
            return self._unsealed(model.uri, self._local(model)), version
        from kfunc.storage.progress import Progress

        self._progress = progress = Progress(lambda line: progress_log.info("model %s: %s", model.name, line))
        try:
            fetched = self._open().fetch(_wish(model), progress)
        finally:
            self.enter("loading")
        before = self._keys.get(model.uri)
        self._keys[model.uri] = fetched.key
        if before is not None:  # each fetch holds, also the same version again
            self._open().cache.release(before)
        # A file's digest is checked again when it is opened: pickles are opened only so.
        checked = model.checked or fetched.path.is_dir() or fetched.path.name != model.uri.rpartition("/")[2]
        return self._unsealed(model.uri, replace(model, uri=str(fetched.path), checked=checked)), fetched.version

    def version(self, model: PodModel) -> str:
        """Which version is at the model's URI now. Raises ModelLoadError where it cannot be asked."""
        if not is_remote(model.uri):
            return signature(path_of(model))
        return self._open().version_of(_wish(model))

    def members(self, model: PodModel) -> list[PodModel]:
        """The models of a folder elsewhere, each with a URI of its own; none where it is a single model's."""
        from kfunc.handlers.layout import NAME, SUFFIXES, VERSION

        names: dict[str, None] = {}
        for file in self._open().files_of(_wish(model)):
            name, slash, _ = file.partition("/")
            if not slash and (name == "handler.py" or name.lower().endswith(SUFFIXES)):
                return []
            if slash and NAME.fullmatch(name):
                names[name] = None
        if not names or all(VERSION.fullmatch(name) for name in names):
            return []
        return [replace(model, name=name, uri=f"{model.uri.rstrip('/')}/{name}") for name in sorted(names)]

    def _local(self, model: PodModel) -> PodModel:
        path = path_of(model)
        if model.digest is None or not (path.is_dir() or model.sealed):
            return model
        from kfunc.storage.digests import check

        check(path, model.digest, str(path))
        return replace(model, checked=True)

    def _unsealed(self, uri: str, model: PodModel) -> PodModel:
        """A sealed model decrypted into memory; any other as it is."""
        if not model.sealed:
            return model
        from kfunc.storage.credentials import Credentials
        from kfunc.storage.progress import Progress
        from kfunc.storage.unsealing import forget, unsealed

        self._progress = progress = Progress(lambda line: progress_log.info("model %s: %s", model.name, line))
        try:
            path = unsealed(path_of(model), Credentials(os.environ), progress)
        finally:
            self.enter("loading")
        kept = self._in_memory.setdefault(uri, [])
        kept.append(path)
        while len(kept) > 2:  # the version before may still answer
            forget(kept.pop(0))
        return replace(model, uri=str(path), checked=model.digest is not None)

    def _open(self) -> "Fetcher":
        if self._fetcher is None:
            from kfunc.storage.cache import Cache
            from kfunc.storage.fetching import Fetcher

            settings = self._settings
            cache = Cache(cache_folder(settings), settings.max_bytes)
            self._fetcher = Fetcher(cache, os.environ, settings.connections)
        return self._fetcher


def cache_folder(settings: ModelCache) -> Path:
    """The configured one, or the user's own. Raises ModelLoadError where there is neither."""
    if settings.path is not UNSET:
        return Path(settings.path)
    usual = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME", ""), ".cache")
    if not os.path.isabs(usual):
        raise ModelLoadError("there is no home folder for the cache of models: inference.model_cache.path names a folder")
    return Path(usual, "kfunc", "models")


def path_of(model: PodModel) -> Path:
    """The path that a local model's URI means."""
    return Path(model.uri.removeprefix("file://"))


def signature(path: Path) -> str:
    """Of the files at a path: their names, sizes and times."""
    found = [path, *path.rglob("*")] if path.is_dir() else [path]
    try:
        facts = [(str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in sorted(found) if each.is_file()]
    except OSError:  # one goes while it is looked at
        facts = []
    return str(hash(tuple(facts)))


def _wish(model: PodModel) -> "Wish":
    from kfunc.storage.fetching import Wish

    return Wish(model.uri, model.digest or "", model.files)
