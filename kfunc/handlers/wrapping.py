"""What a model around a loaded one hands on to it; how it answers is its own."""

from typing import TYPE_CHECKING

from kfunc.handlers.slots import InMemory, Loaded

if TYPE_CHECKING:
    from kfunc.handlers.local_files import LocalFiles


class Wrapping(InMemory):
    """A model in memory whose life is the inner one's."""

    def __init__(self, inner: Loaded) -> None:
        self.inner = inner
        self.metadata = inner.metadata
        self.explains = inner.explains

    @property
    def ready(self) -> bool:
        """The inner one's."""
        return self.inner.ready

    def stuck(self) -> bool:
        """Whether a call hangs."""
        return self.inner.stuck()

    def keep(self, files: "LocalFiles") -> None:
        """Hold the files until it is closed."""
        self.inner.keep(files)

    def retire(self) -> None:
        """Close when the calls have ended."""
        self.inner.retire()

    def close(self) -> None:
        """Let go of what it holds."""
        self.inner.close()
