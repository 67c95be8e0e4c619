"""From a configuration to a `Handler` with its model: the runtime is chosen, what must hold is checked, files are opened."""

import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kfunc.config.pod import PodConfig
from kfunc.errors import ModelLoadError, StartupError
from kfunc.handlers.contract import Choice, Handler
from kfunc.handlers.isolation import IsolatedHandler
from kfunc.handlers.read_ahead import read_ahead
from kfunc.handlers.registry import RUNTIMES, create, runtime_of, told_by_content
from kfunc.handlers.steps import is_own
from kfunc.telemetry.business import BusinessMetrics

log = logging.getLogger("kfunc.model")

MOST_WORDS = 300

if TYPE_CHECKING:
    from kfunc.handlers.trial import Trial


def load_handler(config: PodConfig, metrics: BusinessMetrics | None = None) -> Handler:
    """Load the model, here or in a process of its own. Raises ModelLoadError with the file and the reason."""
    if config.model.execution != "process":
        return load_here(config, metrics)
    return load_isolated(config, metrics)


def load_isolated(config: PodConfig, metrics: BusinessMetrics | None) -> IsolatedHandler:
    """Load the model in a process of its own. Raises ModelLoadError with the file and the reason."""
    handler = IsolatedHandler()
    handler.config, handler.metrics = config, metrics or handler.metrics
    handler.load(_path(config))
    return handler


def load_here(config: PodConfig, metrics: BusinessMetrics | None = None, *, alone: bool = False) -> Handler:
    """Create the runtime and load the model in this process. Raises ModelLoadError with the file and the reason.

    `alone`: the process is there for this model only, and may end at it.
    """
    path = _path(config)
    if config.model.digest is not None and not config.model.checked:
        _check_digest(path, config.model.digest)
    # Beside a folder's code it would be another digest at the next start.
    sys.dont_write_bytecode |= config.model.digest is not None and path.is_dir()
    runtime = runtime_of(path)[0] if config.model.runtime == "auto" else config.model.runtime
    if runtime != "python":  # what its code reads is for the code to say
        read_ahead(path)
    if config.model.runtime_version:
        from kfunc.handlers.versions import require_pinned  # here: importlib.metadata costs a start 20 ms

        require_pinned(runtime, config.model.runtime_version)
    if config.accelerator not in ("auto", "cpu"):
        from kfunc.handlers.accelerators.demand import require_usable

        require_usable(config.accelerator, runtime)
    handler = _opened(config, metrics, path, runtime, alone=alone)
    if RUNTIMES[runtime].processor_only:
        handler.choice = Choice("cpu", why=f"{runtime} computes on the CPU", tells_why=True)
    if config.explain is not None:
        from kfunc.handlers.explainers.attach import attach

        attach(handler, config.explain, path, is_own(handler, "explain"))
    return handler


def _opened(config: PodConfig, metrics: BusinessMetrics | None, path: Path, runtime: str, *, alone: bool) -> Handler:
    """The runtime with its model; while it is imported, a child opens a file that might end this process."""
    with trial_of(config, path, runtime) if RUNTIMES[runtime].may_end and not alone else nullcontext() as trial:
        handler = create(runtime)
        handler.config, handler.metrics = config, metrics or handler.metrics
        if config.model.outputs and not RUNTIMES[runtime].chooses_outputs:
            raise ModelLoadError(f"{path}: this runtime answers with all outputs of a model; remove inference.model.outputs")
        try:
            if trial is not None:
                trial.require()
            handler.load(path)
        except ModelLoadError as error:
            raise told_by_content(error, path, runtime) from None
        except Exception as error:  # each library's own, at what is broken in a way that nobody thought of
            if runtime == "python" or isinstance(error, StartupError) or _may_pass(error):
                raise
            log.warning("%s: %s fails at it", path, runtime, exc_info=True)
            words = " ".join(str(error).split())[:MOST_WORDS]
            unread = ModelLoadError(f"{path}: {runtime} cannot read it: {type(error).__name__}: {words}")
            raise told_by_content(unread, path, runtime) from None
    return handler


def _may_pass(error: Exception) -> bool:
    """Whether the same file may be loaded at the next try."""
    from kfunc.handlers.accelerators.memory import is_out_of_memory  # start-up time

    return isinstance(error, MemoryError) or is_out_of_memory(error)


def trial_of(config: PodConfig, path: Path, runtime: str) -> "AbstractContextManager[Trial | None]":
    """A child that opens the file first, unless somebody vouches for it."""
    if (config.model.trust and config.model.digest is not None) or not path.is_file():
        return nullcontext()
    from kfunc.handlers.trial import Trial  # start-up time

    return Trial(replace(config, model=replace(config.model, uri=str(path), runtime=runtime)))


def _path(config: PodConfig) -> Path:
    path = Path(config.model.uri.removeprefix("file://"))
    if not path.exists():
        from kfunc.config.field_path import without_login  # of what was meant to be an address

        raise ModelLoadError(f"{without_login(str(path))}: there is no such model file (inference.model.uri)")
    return path


def _check_digest(path: Path, digest: str) -> None:
    if path.is_dir():
        from kfunc.storage.digests import check

        check(path, digest, str(path))
        return
    import hashlib  # here: it costs 1.5 ms of every start

    with path.open("rb") as file:
        actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if actual != digest:
        raise ModelLoadError(f"{path}: the file's digest is {actual}, func.yaml says {digest}")
