"""Models at which the process has ended: whoever outlives it counts that in a file, and the next process leaves them alone.

The files are in the cache of models, which outlives a container. Blocking; for threads.
"""

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from kfunc.config.pod import PodModel
from kfunc.config.residency import ModelCache
from kfunc.errors import ModelLoadError, NotYet
from kfunc.handlers.origins import cache_folder, path_of
from kfunc.handlers.registry import RUNTIMES
from kfunc.handlers.versions import installed
from kfunc.process.memory_limit import memory_limit
from kfunc.process.watcher import CURE

FOLDER = "ended"
FIRST_S, LONGEST_S = 60.0, 3600.0
"""How long a model is left alone that has ended the process once, and at most; each time twice as long."""


class Record(Struct, frozen=True):
    """The file for a model, empty where there is no place for one, and how often the process has ended at it."""

    path: str = ""
    count: int = 0

    def forget(self) -> None:
        """It was loaded now."""
        with suppress(OSError):
            os.unlink(self.path)


class Crashes:
    """What is known of earlier processes' ends; `memory_bytes` is what this one may take, 0: what there is."""

    def __init__(self, settings: ModelCache, memory_bytes: int = 0) -> None:
        self._settings = settings
        self._memory_bytes = memory_bytes or memory_limit()

    def record(self, source: PodModel, local: PodModel) -> Record:
        """Of the model at `source`, whose files are at `local` now.

        Other files have another one, and so have another release of the library and more memory, which may be the cure.
        Raises NotYet while the model is to be left alone.
        """
        try:
            folder = cache_folder(self._settings) / FOLDER
            file = path_of(local).stat()
        except (ModelLoadError, OSError):  # no cache; loading says what is wrong with the file
            return Record()
        changed = 0 if source.sealed else file.st_mtime_ns  # it is decrypted at another time
        library = installed(RUNTIMES[local.runtime].distributions)
        about = (source.name, source.uri, local.version, file.st_size, changed, *library, self._memory_bytes)
        path = Path(folder, hashlib.sha256("\0".join(map(str, about)).encode()).hexdigest()[:40])
        try:
            found = path.stat()
        except OSError:
            return Record(str(path))
        self._refuse(source, found.st_size, found.st_mtime)
        return Record(str(path), found.st_size)

    def _refuse(self, model: PodModel, count: int, last_at: float) -> None:
        from kfunc.storage.names import shown

        wait_s = min(FIRST_S * 2 ** max(0, min(count, 10) - 1), LONGEST_S) - (time.time() - last_at)
        if wait_s > 0:
            times = "once" if count == 1 else f"{count} times"
            raise NotYet(
                f"{shown(model.uri)}: loading it has ended the handler {times}, and is tried again in {wait_s:.0f} s: {CURE}"
            )
