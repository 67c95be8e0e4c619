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
from kfunc.errors import ModelLoadError
from kfunc.handlers.origins import cache_folder, path_of
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
    """What is known of earlier processes' ends."""

    def __init__(self, settings: ModelCache) -> None:
        self._settings = settings

    def record(self, source: PodModel, local: PodModel) -> Record:
        """Of the model at `source`, whose files are at `local` now: other files have another one.

        Raises ModelLoadError while the model is to be left alone.
        """
        try:
            folder = cache_folder(self._settings) / FOLDER
            file = path_of(local).stat()
        except (ModelLoadError, OSError):  # no cache; loading says what is wrong with the file
            return Record()
        changed = 0 if source.sealed else file.st_mtime_ns  # it is decrypted at another time
        about = "\0".join((source.name, source.uri, local.version, str(file.st_size), str(changed)))
        path = Path(folder, hashlib.sha256(about.encode()).hexdigest()[:40])
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
            raise ModelLoadError(
                f"{shown(model.uri)}: loading it has ended the handler {times}, and is tried again in {wait_s:.0f} s: {CURE}"
            )
