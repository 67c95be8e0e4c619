"""What is being done for a model until it answers: a thread sets it, the event loop tells it."""

import logging
from typing import TYPE_CHECKING

from kfunc.errors import Loading
from kfunc.telemetry.log_lines import PROGRESS

if TYPE_CHECKING:
    from kfunc.storage.progress import Progress

progress_log = logging.getLogger(PROGRESS)
log = logging.getLogger("kfunc.model")


class Stage:
    """One phase after the other; of one that moves bytes also how far it is."""

    def __init__(self) -> None:
        self._phase = "loading"
        self._progress: Progress | None = None

    def enter(self, phase: str) -> None:
        """Something is done that moves no bytes."""
        self._progress, self._phase = None, phase

    def follow(self, model: str) -> "Progress":
        """For what moves bytes: it says the phase, and its lines are logged. Ended by `enter`."""
        from kfunc.storage.progress import Progress

        self._progress = progress = Progress(
            lambda line: progress_log.info("model %s: %s", model, line),
            lambda line: log.warning("model %s: %s", model, line),
        )
        return progress

    def loading(self, model: str) -> Loading:
        """The answer to who asks meanwhile: `the model iris is loading: downloading 42 % (1.2 of 2.9 GB)`."""
        progress = self._progress
        details: dict[str, int | str | bool] = {"phase": self._phase} if progress is None else dict(progress.told())
        doing = str(details["phase"])
        if progress is not None and "done" in details:
            doing = f"{doing} {progress.described()}".rstrip()
        if "hindrance" in details:
            doing += f": {details['hindrance']}"
        return Loading(f"the model {model} is loading{'' if doing == 'loading' else f': {doing}'}", details)
