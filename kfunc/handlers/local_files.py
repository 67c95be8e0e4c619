"""A model's files on this machine, with those who need them there."""

import threading
from collections.abc import Callable

from kfunc.config.pod import PodModel


class LocalFiles:
    """`model` has a path as its `uri`. Its files stay until all who hold them have let go; who made this holds them.

    `version` is what was found under the model's own URI. Threads hold, the event loop lets go.
    """

    def __init__(self, model: PodModel, version: str, gone: Callable[[], None] = lambda: None) -> None:
        self.model = model
        self.version = version
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
