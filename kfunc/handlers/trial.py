"""Models whose library may end the process at a damaged file: a child opens them first, and predicts once. For threads.

This module's main is the child; why it refuses the model it says on its standard output. What one has opened is remembered
by the file's digest: in this process, and beside a model in the cache.
"""

import gc
import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from kfunc.config.pod import VARIABLE, PodConfig, encode
from kfunc.errors import ModelLoadError
from kfunc.handlers.isolation import how_it_ended
from kfunc.handlers.registry import RUNTIMES, create
from kfunc.handlers.versions import installed

if TYPE_CHECKING:
    from kfunc.handlers.contract import Handler

MOST_REMEMBERED = 1024
WALL_S, PATIENCE_S = 600, 30
CPU_S, CPU_S_PER_MB = 30, 2
"""Of processor time, which does not depend on what else the machine does: a good file of 1 MB takes less than 1."""
SPARE_BYTES, SPARE_TIMES = 2 << 30, 64
"""Memory beyond the file's size so many times; CatBoost's allocator reserves 1 GiB at once, without taking it."""
WAY = "fetch it again or save it anew, and set model.digest to that of a good one"
ENDLESS = (signal.SIGXCPU, signal.SIGALRM)

_opened: dict[str, None] = {}  # digests, the newest last


class Trial:
    """A child that opens the model of `config`, which is a file, while this process does something else."""

    def __init__(self, config: PodConfig) -> None:
        self._path = path = Path(config.model.uri)
        self._runtime, self._built = config.model.runtime, config.model.built
        self._found = _state(path)
        self._digest = _digest(path)
        self._process: subprocess.Popen[str] | None = None
        if self._digest in _opened or self._is_kept():
            return
        command = [sys.executable, "-P", "-m", "kfunc.handlers.trial"]
        environment = {**os.environ, VARIABLE: encode(config)}
        null = subprocess.DEVNULL
        try:
            self._process = subprocess.Popen(
                command, env=environment, stdin=null, stdout=subprocess.PIPE, stderr=null, text=True, errors="replace"
            )
        except OSError as error:
            raise ModelLoadError(f"{path}: no process can be started that tries it: {error.strerror}") from None

    def require(self) -> None:
        """Wait until the file has been opened over there. Raises ModelLoadError where it was not, or is another by now."""
        words, status = "", 0
        if self._process is not None:
            try:
                words, _ = self._process.communicate(timeout=WALL_S + PATIENCE_S)  # it ends itself before
            except subprocess.TimeoutExpired:
                self.end()
            status = self._process.returncode
        if _state(self._path) != self._found:
            raise ModelLoadError(f"{self._path}: was changed while it was opened: load it again when it is complete")
        if status:
            raise ModelLoadError(words.strip() or f"{self._path}: {ended(self._runtime, status)}")
        if self._process is not None:
            self._remember()

    def end(self) -> None:
        """The child is not needed any more."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # ---- what was opened before

    def _kept(self) -> Path:
        return Path(self._built, f"opened-{self._digest}")

    def _version(self) -> str:
        return " ".join(installed(RUNTIMES[self._runtime].distributions))

    def _is_kept(self) -> bool:
        """Whether this version of the library has opened the file, wherever that was."""
        try:
            return bool(self._built) and self._kept().read_text() == self._version()
        except (OSError, UnicodeError):
            return False

    def _remember(self) -> None:
        _opened[self._digest] = None
        while len(_opened) > MOST_REMEMBERED:
            del _opened[next(iter(_opened))]
        if self._built:
            with suppress(OSError):  # a volume that is read-only here
                self._kept().parent.mkdir(parents=True, exist_ok=True)
                self._kept().write_text(self._version())


def ended(library: str, status: int) -> str:
    """Why a process that opened a model is gone, and what to do; `status` as `subprocess` gives it."""
    how = how_it_ended(status)
    if -status == signal.SIGKILL:
        return f"the process that opened it was killed ({how}), as happens where memory is short: give the container more"
    if -status in ENDLESS:
        does = f"{library} does not come to an end with this file"
    else:
        does = f"{library} ended its process ({how}) at this file"
    return f"{does}: it is damaged, or made to do so: {WAY}"


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _digest(path: Path) -> str:
    import hashlib  # here: it costs 1.5 ms of every start

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- the child


def main() -> None:
    """Open the model, predict once and let go of it. Exit status 1 with the words of why it is refused."""
    told = os.dup(1)
    os.dup2(2, 1)  # libraries print what they like
    config = msgspec.json.decode(os.environ[VARIABLE], type=PodConfig)  # what else the environment sets is in it
    model = config.model
    words = ""
    try:
        _bound_time(Path(model.uri))
        handler = create(model.runtime)
        _bound_memory(Path(model.uri))
        handler.config = config
        handler.load(Path(model.uri))
        _predict(handler)
        del handler
        gc.collect()
    except ModelLoadError as error:
        words = error.message
    except MemoryError:
        words = f"{model.uri}: asks for more memory than a file of its size needs: it is damaged, or made to do so: {WAY}"
    except Exception as error:  # each library's own
        words = f"{model.uri}: {model.runtime} cannot open it: {error or type(error).__name__}"
    os.write(told, words.encode("utf-8", "replace"))
    os._exit(1 if words else 0)


def _bound_time(path: Path) -> None:
    """Nobody else may be there to end it; and it is the one to go where memory is short."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    seconds = CPU_S + CPU_S_PER_MB * (path.stat().st_size >> 20)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    signal.alarm(WALL_S)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _bound_memory(path: Path) -> None:
    """A damaged length may ask for any amount; what the library itself takes is there by now."""
    with suppress(OSError):  # no Linux
        status = Path("/proc/self/status").read_text()
        taken = int(status.partition("VmData:")[2].split()[0]) * 1024
        most = taken + SPARE_BYTES + SPARE_TIMES * path.stat().st_size
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _predict(handler: "Handler") -> None:
    """Of zeros, which mean nothing to some good models."""
    from kfunc.handlers.tensors import to_array
    from kfunc.handlers.warmup import zeros

    try:
        handler.predict({each.name: to_array(each) for each in zeros(handler.inputs, {})})
    except MemoryError:
        raise
    except Exception:  # noqa: S110  (a request gets it, too)
        pass


if __name__ == "__main__":
    main()
