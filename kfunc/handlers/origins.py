"""Where the files of models are on this machine: those that are elsewhere are fetched. Blocking; for threads.

The storage's code is imported when a URI needs it.
"""

import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.model_addresses import AddressFault, is_remote, parse_address
from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.residency import ModelCache
from kfunc.errors import ModelLoadError, NotFetched
from kfunc.handlers.local_files import LocalFiles
from kfunc.handlers.stages import Stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from kfunc.storage.fetching import Fetcher, Wish

    T = TypeVar("T")


log = logging.getLogger("kfunc.model")


class Origins:
    """The models' places. Threads ask it, several at once."""

    def __init__(self, config: PodConfig) -> None:
        self.settings = config.model_cache
        self._fetcher: Fetcher | None = None
        self._opening = threading.Lock()
        self._closed = False

    def is_remote(self, model: PodModel) -> bool:
        """Whether a model's files are elsewhere."""
        return is_remote(model.uri)

    def close(self) -> None:
        """Nothing that was decrypted here stays. What is held of the cache the models let go of, or the process's end."""
        self._closed = True
        if "kfunc.storage.unsealing" in sys.modules:
            from kfunc.storage.unsealing import forget_all

            forget_all()

    def fetch(self, model: PodModel, stage: Stage) -> LocalFiles:
        """The model's files, here; `stage` tells how far they are. Raises ModelLoadError, of storage that fails NotFetched."""
        if not is_remote(model.uri):
            version = signature(path_of(model)) if model.refresh_s else ""
            return self._unsealed(LocalFiles(self._local(model), version), stage)
        try:
            fetched = self._ask(model, lambda fetcher: fetcher.fetch(_wish(model), stage.follow(model.name)))
        finally:
            stage.enter("loading")
        # A file's digest is checked again when it is opened: pickles are opened only so.
        checked = model.checked or fetched.path.is_dir() or fetched.path.name != model.uri.rpartition("/")[2]
        cache = self._open().cache
        vouched = model.sealed or (model.trust and model.digest is not None)
        built = "" if vouched else str(cache.beside(fetched.key))
        found = replace(model, uri=str(fetched.path), checked=checked, built=built)
        from kfunc.storage.names import shown

        files = LocalFiles(found, fetched.version, lambda: cache.release(fetched.key), origin=shown(model.uri))
        return self._unsealed(files, stage)

    def version(self, model: PodModel) -> str:
        """Which version is at the model's URI now. Raises ModelLoadError where it cannot be asked."""
        if not is_remote(model.uri):
            return signature(path_of(model))
        return self._ask(model, lambda fetcher: fetcher.version_of(_wish(model)))

    def members(self, model: PodModel) -> list[PodModel]:
        """The models of a folder elsewhere, each with a URI of its own; none where it is a single model's."""
        from kfunc.handlers.layout import NAME, NO_NAME, VERSION, makes_one_model
        from kfunc.storage.names import shown

        names: dict[str, None] = {}
        for file in self._ask(model, lambda fetcher: fetcher.files_of(_wish(model))):
            name, slash, _ = file.partition("/")
            if not slash and makes_one_model(name, model.runtime):
                return []
            if slash:
                names[name] = None
        for name in [each for each in names if not NAME.fullmatch(each)]:
            del names[name]
            if not name.startswith((".", "_")):
                log.warning("%s/%s: is left out: %s", shown(model.uri).rstrip("/"), name, NO_NAME)
        if not names or all(VERSION.fullmatch(name) for name in names):
            return []
        return [replace(model, name=name, uri=f"{model.uri.rstrip('/')}/{name}") for name in sorted(names)]

    def _local(self, model: PodModel) -> PodModel:
        path = path_of(model)
        if model.digest is None or model.checked or not (path.is_dir() or model.sealed):
            return model
        from kfunc.storage.digests import check

        check(path, model.digest, str(path))
        return replace(model, checked=True)

    def _unsealed(self, files: LocalFiles, stage: Stage) -> LocalFiles:
        """A sealed model decrypted into memory, where nothing else of it is needed; any other as it is."""
        model = files.model
        if not model.sealed:
            return files
        require_libraries(model)
        from kfunc.storage.credentials import Credentials
        from kfunc.storage.unsealing import forget, unsealed

        try:
            path = unsealed(path_of(model), Credentials(os.environ), stage.follow(model.name))
        finally:
            files.let_go()
            stage.enter("loading")
        opened = replace(model, uri=str(path), checked=model.digest is not None)
        if self._closed:
            forget(path)
            raise ModelLoadError("the handler ends")
        # In a thread: to free memory takes its time, and the event loop lets go.
        gone = threading.Thread(target=forget, args=(path,)).start
        return LocalFiles(opened, files.version, gone, origin=files.origin or str(path_of(model)))

    def _ask(self, model: PodModel, ask: "Callable[[Fetcher], T]") -> "T":
        """What the storage says. Raises NotFetched, and ModelLoadError for what will not change while the version does not."""
        from kfunc.storage.fetching import Wrong

        require_libraries(model)
        try:
            return ask(self._open())
        except Wrong:
            raise
        except ModelLoadError as error:
            raise NotFetched(error.message) from error

    def _open(self) -> "Fetcher":
        with self._opening:
            if self._fetcher is None:
                from kfunc.storage.cache import Cache
                from kfunc.storage.fetching import Fetcher

                settings = self.settings
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


def require_libraries(model: PodModel) -> None:
    """What fetches and decrypts the model is installed. Raises ModelLoadError."""
    needed = {"a sealed model": ("cryptography", "sealed")} if model.sealed else {}
    if is_remote(model.uri):
        try:
            address = parse_address(model.uri)
        except AddressFault as fault:
            raise ModelLoadError(f"inference.model.uri: {fault}") from None
        needed |= {f"{address.scheme}:": (address.kind.library, address.kind.extra)} if address.kind.library else {}
    if not needed:
        return
    from importlib.util import find_spec  # start-up time

    from kfunc.handlers.registry import how_to_install

    for what, (library, extra) in needed.items():
        if find_spec(library) is None:
            raise ModelLoadError(f"{what} needs {library}, not installed here: {how_to_install(extra)}")


def path_of(model: PodModel) -> Path:
    """The path that a local model's URI means."""
    return Path(model.uri.removeprefix("file://"))


def signature(path: Path) -> str:
    """Of the files at a path: their names, sizes and times. What Python keeps of code, and hidden files, do not count."""
    found = [each for each in path.rglob("*") if not _aside(each.relative_to(path))] if path.is_dir() else [path]
    try:
        facts = [(str(each), each.stat().st_size, each.stat().st_mtime_ns) for each in sorted(found) if each.is_file()]
    except OSError:  # one goes while it is looked at
        facts = []
    return str(hash(tuple(facts)))


def _aside(name: Path) -> bool:
    return any(part == "__pycache__" or part.startswith(".") for part in name.parts)


def _wish(model: PodModel) -> "Wish":
    from kfunc.storage.fetching import Wish

    return Wish(model.uri, model.digest or "", model.files)
