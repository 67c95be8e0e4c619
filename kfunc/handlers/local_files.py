"""A model's files on this machine, with those who need them there."""

import threading
from collections.abc import Callable

from kfunc.config.pod import PodModel
from kfunc.errors import ModelLoadError


class LocalFiles:
    """`model` has a path as its `uri`. Its files stay until all who hold them have let go; who made this holds them.

    `version` is what was found under the model's own URI, which is `origin`, for people, where the files were fetched or
    decrypted from it. Threads hold, the event loop lets go.
    """

    def __init__(self, model: PodModel, version: str, gone: Callable[[], None] = lambda: None, *, origin: str = "") -> None:
        self.model = model
        self.version = version
        self.origin = origin
        self._gone = gone
        self._holders = 1
        self._lock = threading.Lock()

    def hold(self) -> None:
        """One more needs them."""
        with self._lock:
            self._holders += 1

    def let_go(self) -> None:
        """One of those who hold them does so no longer."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            self._gone()

    def told(self, error: ModelLoadError) -> ModelLoadError:
        """The same with the origin, which func.yaml names, for the place on this machine, which nobody knows."""
        if not self.origin:
            return error
        return type(error)(error.message.replace(self.model.uri, self.origin))
