"""A model's URI → a path on this machine: from the cache, or downloaded, checked, unpacked and put there."""

import hashlib
import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from time import sleep

from msgspec import Struct
from msgspec.structs import replace

from kfunc.errors import ModelLoadError
from kfunc.storage import digests, planning
from kfunc.storage.archives import is_archive, unpack
from kfunc.storage.cache import About, Cache, size_below
from kfunc.storage.contract import UNKNOWN, Changed, Interrupted, Listing, Source
from kfunc.storage.credentials import Credentials
from kfunc.storage.download import FILES, JOURNAL, NO_ROOM, Download, boot_id
from kfunc.storage.names import shown, wanted
from kfunc.storage.outages import told, told_again
from kfunc.storage.pages import PAGE, is_page
from kfunc.storage.progress import Progress
from kfunc.storage.sources import open_uri

log = logging.getLogger("kfunc.model")

TRIES_OF_CHANGED = 3
MOST_LISTED = 4096
SOON_TRIES, SOON_S = 2, 20.0
ROOM_STEPS = 256  # of the whole cache, in which room is made for what an archive becomes


class Fetched(Struct, frozen=True):
    """Where a model is now, and which version of it; `key` is its name in the cache, held until it is released."""

    path: Path
    version: str
    key: str


class Wish(Struct, frozen=True):
    """What is to be fetched: all files, or those that match `files`; `digest` is `sha256:…`, or empty."""

    uri: str
    digest: str = ""
    files: Sequence[str] = ()


class Fetcher:
    """Fetches models into one cache."""

    def __init__(
        self,
        cache: Cache,
        environ: Mapping[str, str],
        connections: int,
        open_source: Callable[[str, Credentials], Source] = open_uri,
        part_bytes: int = planning.PART_BYTES,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self.cache = cache
        self._credentials = Credentials(environ)
        self._connections = connections
        self._open_source = open_source
        self._part_bytes = part_bytes
        self._pause = pause
        self._listed: dict[str, Listing] = {}  # by URI, where the storage can be asked whether it still holds
        self._blind: set[str] = set()  # URIs of which it was said that new versions are not seen

    def version_of(self, wish: Wish) -> str:
        """Which version is there now. Raises ModelLoadError where the storage cannot be asked."""
        listing = self._look(wish)
        blind = all(file.size == UNKNOWN and not file.version.strip() for file in listing.files)
        if blind and wish.uri not in self._blind:
            self._blind.add(wish.uri)
            log.warning(
                "%s: the server tells neither ETag, Last-Modified nor a length: a new version is not seen there",
                shown(wish.uri),
            )
        return version_of(listing)

    def files_of(self, wish: Wish) -> list[str]:
        """The names of the files that are there now. Raises ModelLoadError where the storage cannot be asked."""
        return [file.name for file in self._look(wish).files]

    def _look(self, wish: Wish) -> Listing:
        source, listing = self._list(wish, Progress().hinder)
        source.close()
        return listing

    def fetch(self, wish: Wish, progress: Progress) -> Fetched:
        """The model, whole. Raises ModelLoadError with the file or URI and the reason."""
        try:
            if wish.digest and (found := self._held(key := _key(wish.digest, *wish.files))):
                return Fetched(found, wish.digest, key)
            for _ in range(TRIES_OF_CHANGED):
                try:
                    return self._fetch(wish, progress)
                except Changed as error:
                    log.warning("%s; beginning again", error.message)
        except OSError as error:
            cause, way = error.strerror or error, "make it larger, or name" if error.errno in NO_ROOM else "name"
            raise ModelLoadError(
                f"{self.cache.folder}: cannot be written: {cause}; {way} another at inference.model_cache.path"
            ) from None
        raise ModelLoadError(f"{shown(wish.uri)}: changes all the time while it is downloaded")

    def _fetch(self, wish: Wish, progress: Progress) -> Fetched:
        progress.enter("asking the storage")
        try:
            ask = self._list_soon if self.cache.latest(_wish_key(wish)) else self._list
            source, listing = ask(wish, progress.hinder)
        except Unreachable as error:
            return self._last(wish, error)
        version = version_of(listing)
        key = _key(wish.digest, *wish.files) if wish.digest else _key(wish.uri, version, *wish.files)
        self.cache.hold(key)
        try:
            path = self.cache.find(key)
            if path is None:
                with self.cache.fetching(key, lambda: self._wait(key, listing, progress)) as completed:
                    path = completed or self._download(wish, source, listing, key, version, progress)
        except BaseException:
            self.cache.release(key)
            raise
        finally:
            source.close()
        return Fetched(path, version, key)

    def _held(self, key: str) -> Path | None:
        """The model in the cache, held; it is not held where it is not there."""
        self.cache.hold(key)
        path = self.cache.find(key)
        if path is None:
            self.cache.release(key)
        return path

    def _last(self, wish: Wish, error: "Unreachable") -> Fetched:
        """The newest copy that was fetched for the same wish: better than none while the storage is down."""
        last = self.cache.latest(_wish_key(wish))
        path = self._held(last[0]) if last else None
        if last is None or path is None:
            raise ModelLoadError(error.message)
        log.warning("%s; the copy in the cache is served", error.message)
        return Fetched(path, last[1], last[0])

    def _list_soon(self, wish: Wish, hinder: Callable[[str], None]) -> tuple[Source, Listing]:
        """The listing within SOON_S, for when there is a copy: a storage that is down must not keep it from being served."""
        answer: Future[tuple[Source, Listing]] = Future()
        given_up = threading.Event()

        def tell(what: str) -> None:
            if not given_up.is_set():  # later phases are hindered by other things
                hinder(what)

        def ask() -> None:
            try:
                answer.set_result(self._list(wish, tell, SOON_TRIES))
            except BaseException as error:
                answer.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            return answer.result(SOON_S)
        except TimeoutError:
            given_up.set()
            answer.add_done_callback(_close_late)
            raise Unreachable(f"{shown(wish.uri)}: the storage does not answer within {SOON_S:.0f} s") from None

    def _list(self, wish: Wish, hinder: Callable[[str], None], tries: int = planning.TRIES) -> tuple[Source, Listing]:
        failures = 0
        while True:
            source: Source | None = None
            try:
                source = self._open_source(wish.uri, self._credentials)
                listing = source.list_files(self._listed.get(wish.uri))
                break
            except ModelLoadError:
                if source is not None:
                    source.close()
                raise
            except (Interrupted, OSError) as error:
                if source is not None:
                    source.close()
                failures += 1
                if failures >= tries:
                    raise Unreachable(f"{shown(wish.uri)}: the storage does not answer: {told(error)}") from None
                pause_s = planning.pause_s(failures, getattr(error, "after_s", 0.0))
                hinder(told_again(error, pause_s, failures + 1, tries))
                self._pause(pause_s)
        if listing.mark:
            self._listed[wish.uri] = listing
            while len(self._listed) > MOST_LISTED:  # of models that are gone, too
                self._listed.pop(next(iter(self._listed.copy())), None)  # threads add to it
        files = listing.files if listing.is_file else [file for file in listing.files if wanted(file.name, wish.files)]
        if not files:
            raise ModelLoadError(f"{shown(wish.uri)}: no file matches model.files: {', '.join(wish.files)}")
        return source, replace(listing, files=files)

    def _wait(self, key: str, listing: Listing, progress: Progress) -> None:
        """Another process fetches it: tell how far that one is."""
        total = planning.all_bytes(listing.files)
        if progress.phase != "waiting for another download":
            progress.enter("waiting for another download", total)
        folder = self.cache.partial(key)
        try:
            text = (folder / JOURNAL).read_bytes()
            grown = [folder / FILES / file.name for file in listing.files if file.in_one_piece]
            there = sum(path.stat().st_size for path in grown)
        except OSError:
            return
        done = planning.read(text, planning.Head(listing.files, self._part_bytes, boot_id())) or []
        parts = [part for part in done if not listing.files[part.file].in_one_piece]
        progress.add(there + sum(part.stop - part.start for part in parts) - progress.done)

    # ---- what is not in the cache

    def _download(self, wish: Wish, source: Source, listing: Listing, key: str, version: str, progress: Progress) -> Path:
        self.cache.make_room(planning.known_bytes(listing.files), key)
        work = self.cache.partial(key)
        while True:
            try:
                bounds = (self._connections, self.cache.max_bytes, self._part_bytes)
                files = Download(source, listing.files, work, progress, *bounds, pause=self._pause).run()
                content, entry = self._checked(wish, listing, files, key, progress)
                self.cache.make_room(size := size_below(content), key)
                about = About(shown(wish.uri), _wish_key(wish), version, size, entry, boot_id())
                return self.cache.complete(key, content, about)
            except OSError as error:
                if error.errno in NO_ROOM and self.cache.remove_unused(key):
                    continue
                shutil.rmtree(work, ignore_errors=True)
                raise
            except ModelLoadError as error:
                if isinstance(error, Changed | Wrong):
                    shutil.rmtree(work, ignore_errors=True)
                raise

    def _checked(self, wish: Wish, listing: Listing, files: Path, key: str, progress: Progress) -> tuple[Path, str]:
        """The model's folder, and the path in it that the URI means. Raises Wrong where it is not what it should be."""
        try:
            for file in listing.files:
                if file.sha256:
                    digests.check(files / file.name, f"sha256:{file.sha256}", f"{shown(wish.uri)}: {file.name}", progress)
            only = files / listing.files[0].name if listing.is_file else files
            if wish.digest:
                digests.check(only, wish.digest, shown(wish.uri), progress)
            content = self._unpacked(wish, listing, files, key, progress)
        except ModelLoadError as error:
            raise Wrong(error.message) from None
        return content, listing.files[0].name if listing.is_file and content == files else ""

    def _unpacked(self, wish: Wish, listing: Listing, files: Path, key: str, progress: Progress) -> Path:
        """The folder with what archives hold; the files themselves where there is none."""
        single = listing.is_file and is_archive(listing.files[0].name)
        layers = [file for file in listing.files if file.unpack or single]
        if not layers:
            return files
        target = files.parent / "unpacked"
        shutil.rmtree(target, ignore_errors=True)
        progress.enter("unpacking")
        room = Room(self.cache, key, size_below(files))
        for file in layers:
            try:
                unpack(files / file.name, target, room.take, progress, listing.root)
            except ModelLoadError as error:
                if is_page(files / file.name):
                    raise ModelLoadError(f"{shown(wish.uri)}: {PAGE}") from None
                raise ModelLoadError(f"{shown(wish.uri)}: {error.message}") from None
            (files / file.name).unlink()
        for file in listing.files:
            if file not in layers:
                (target / file.name).parent.mkdir(parents=True, exist_ok=True)
                (files / file.name).rename(target / file.name)
        content = target / listing.root if listing.root else target
        if not content.is_dir() or not any(content.iterdir()):
            raise ModelLoadError(f"{listing.files[0].name}: holds no file{' in /' + listing.root if listing.root else ''}")
        return content


class Room:
    """What a model may still become when it is unpacked; the cache makes room as it grows."""

    def __init__(self, cache: Cache, key: str, packed: int) -> None:
        self._cache = cache
        self._key = key
        self._packed = packed
        self._taken = self._made = 0

    def take(self, count: int) -> bool:
        """So many more bytes are about to be written; False: the cache cannot hold the model."""
        self._taken += count
        if self._taken > self._cache.max_bytes:
            return False
        if self._taken > self._made:
            self._made = self._taken + self._cache.max_bytes // ROOM_STEPS
            self._cache.make_room(min(self._packed + self._made, self._cache.max_bytes), self._key)
        return True


class Unreachable(ModelLoadError):
    """The storage does not answer."""


class Wrong(ModelLoadError):
    """What was downloaded is not what it should be: it is not kept."""


def _close_late(answer: "Future[tuple[Source, Listing]]") -> None:
    """Nobody waits for this listing any more."""
    if answer.exception() is None:
        answer.result()[0].close()


def version_of(listing: Listing) -> str:
    """A digest of what is listed: another one where a file is."""
    files = sorted((file.name, file.size, file.version) for file in listing.files)
    return hashlib.sha256(repr(files).encode()).hexdigest()[:32]


def _wish_key(wish: Wish) -> str:
    """Without the URI itself: its query may hold a secret."""
    return _key(wish.uri, wish.digest, *wish.files)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
