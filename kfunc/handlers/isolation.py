"""A model in a process of its own, for calls that hold the GIL. Frames of pickled arrays over a socket pair.

The other end is our own child, started by us: nothing from the network is unpickled.
"""

import logging
import mmap
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kfunc.config.pod import VARIABLE, PodConfig, encode
from kfunc.errors import InvalidRequest, KfuncError, ModelFailed, ModelLoadError, Unavailable, WorkerDied
from kfunc.handlers.contract import Choice, Handler
from kfunc.protocol.messages import TensorSpec
from kfunc.telemetry.business import BusinessMetrics
from kfunc.telemetry.current import passed

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

log = logging.getLogger("kfunc.model")

LOAD_TIMEOUT_S = 600.0
GONE_S = 1.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0


class Description(Struct, frozen=True):
    """What a child says of the model that it has loaded."""

    platform: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    exact_datatypes: bool
    explains: bool
    choice: Choice | None = None
    columns: tuple[str, ...] = ()
    optional_inputs: list[TensorSpec] = []
    is_table: bool = False
    takes_images: bool = False
    yields: bool = False
    streams: bool = False
    is_users_code: bool = False


def send_frame(connection: socket.socket, value: Any) -> None:
    """A pickled value with its length in front."""
    send_bytes(connection, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def send_bytes(connection: socket.socket, data: bytes) -> None:
    """A value that is pickled already."""
    connection.sendall(len(data).to_bytes(8, "little") + data)


def receive_bytes(connection: socket.socket) -> bytearray:
    """The next value, pickled. Raises EOFError at the end."""
    return _exactly(connection, int.from_bytes(_exactly(connection, 8), "little"))


def receive_frame(connection: socket.socket) -> Any:
    """The next value. Raises EOFError at the end."""
    return pickle.loads(receive_bytes(connection))  # noqa: S301  (our own child, or our own parent)


def _exactly(connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view, done = memoryview(data), 0
    while done < length:
        count = connection.recv_into(view[done:])
        if count == 0:
            raise EOFError
        done += count
    return data


class WorkerProcess:
    """One child that holds the model; `call` blocks and is for a thread, one call at a time.

    A child that died or was stuck is replaced at once, with a growing pause; `ready` is false until
    the new one has loaded the model.
    """

    description: Description

    def __init__(self, config: PodConfig, metrics: BusinessMetrics) -> None:
        self._config = config
        self._metrics = metrics
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._page: mmap.mmap | None = None
        self._closed = threading.Event()
        self._life = threading.Lock()  # a child is this one's to end, or it is not started

    @property
    def ready(self) -> bool:
        """Whether the child lives, has loaded the model, and the model says so."""
        if self._connection is None or self._process is None or self._process.poll() is not None:
            return False
        return self._page is not None and bool(self._page[0])

    def start(self) -> None:
        """Start the child and wait until it has loaded the model; not once this is closed. Raises ModelLoadError."""
        ours, theirs = socket.socketpair()
        shared = os.memfd_create("kfunc-ready")
        os.ftruncate(shared, 1)
        page = mmap.mmap(shared, 1)
        passed = (theirs.fileno(), shared)
        command = [sys.executable, "-P", "-m", "kfunc.handlers.isolated", *map(str, passed)]
        # What else it sets of the function is in the configuration, and there would be taken for this model's.
        others = {name: value for name, value in os.environ.items() if not name.startswith("KFUNC_")}
        environment = {**others, VARIABLE: encode(self._config)}
        try:
            with self._life:
                if self._closed.is_set():
                    ours.close()
                    return
                process = self._process = subprocess.Popen(command, env=environment, pass_fds=passed)
        finally:
            theirs.close()
            os.close(shared)
        ours.settimeout(LOAD_TIMEOUT_S)
        told = self._first_words(ours, process)
        if not isinstance(told, Description):
            _end(process, ours)
            raise ModelLoadError(told)
        ours.settimeout(self._config.hang_timeout_s)
        with self._life:
            if self._closed.is_set():
                _end(process, ours)
                return
            self.description = told
            self._connection, self._page = ours, page
        threading.Thread(target=self._replace_when_dead, args=(process,), daemon=True).start()

    def _first_words(self, connection: socket.socket, process: "subprocess.Popen[bytes]") -> Any:
        """A Description, or why there is none."""
        try:
            return receive_frame(connection)
        except TimeoutError:
            return f"{self._config.model.uri}: the model's worker process has not loaded it within {LOAD_TIMEOUT_S:.0f} s"
        except (OSError, EOFError):
            _end(process, connection, GONE_S)
            how = how_it_ended(process.returncode)
            return f"{self._config.model.uri}: the model's worker process ended ({how}) while it loaded the model"

    def _replace_when_dead(self, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        pause_s = FIRST_PAUSE_S
        while not self._closed.is_set():
            log.warning("the model's worker process ended (%s); starting it again in %.1f s", process.returncode, pause_s)
            if self._closed.wait(pause_s):
                return
            try:
                self.start()
                return
            except (OSError, ModelLoadError) as error:
                log.error("the model's worker process does not start: %s", error)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def call(self, verb: str, value: Any) -> Any:
        """Run one of the child's calls (`predict`, `explain` …). Raises what it raised, or Unavailable where it is lost."""
        request = pickle.dumps((verb, value, passed()), pickle.HIGHEST_PROTOCOL)
        with self._lock:
            connection, process = self._connection, self._process
            if connection is None or process is None:
                raise Unavailable("the model's worker process is being started; try again later")
            try:
                send_bytes(connection, request)
                received = receive_bytes(connection)
            except TimeoutError:
                self._lose(connection, process)
                raise ModelFailed("the model was stuck for longer than hang_timeout_s; it has been ended") from None
            except (OSError, EOFError):
                self._lose(connection, process)
                raise WorkerDied("the model's worker process died during the call") from None
        kind, answer, updates = pickle.loads(received)  # noqa: S301  (our own child)
        self._metrics.apply(updates)
        if kind == "invalid":
            raise InvalidRequest(answer)
        if kind == "failed":
            raise ModelFailed(*answer)
        if kind == "unavailable":
            raise Unavailable(answer)
        return answer

    def _lose(self, connection: socket.socket, process: "subprocess.Popen[bytes]") -> None:
        """Give up a child in the middle of a call: a late answer must not be taken for the next call's."""
        self._connection = None
        connection.close()
        process.kill()

    def close(self) -> None:
        """End the child."""
        with self._life:
            self._closed.set()
            process, connection, self._connection = self._process, self._connection, None
        if connection is not None:
            connection.close()
        if process is not None:  # it may be loading the model still
            process.kill()
            process.wait()


class IsolatedHandler(Handler):
    """Stands for the Handler that a worker process has loaded."""

    def load(self, path: Path) -> None:
        """Start the process, which loads the model. Raises ModelLoadError."""
        self._worker = WorkerProcess(self.config, self.metrics)
        self._worker.start()
        told = self._worker.description
        self.platform, self.exact_datatypes = told.platform, told.exact_datatypes
        self.inputs, self.outputs, self.explains = told.inputs, told.outputs, told.explains
        self.choice, self.takes_images, self.is_users_code = told.choice, told.takes_images, told.is_users_code
        self.columns, self.is_table, self.optional_inputs = told.columns, told.is_table, told.optional_inputs
        if told.yields:
            self.predict = self._parts  # type: ignore[method-assign, assignment]
        if told.streams:
            self.predict_stream = self._parts  # type: ignore[method-assign]

    def ready(self) -> bool:
        """Whether the process answers."""
        return self._worker.ready

    def predict(self, inputs: "Arrays") -> "Arrays":
        """All three steps, over there."""
        arrays: Arrays = self._worker.call("predict", inputs)
        return arrays

    def _parts(self, inputs: "Arrays") -> "Iterator[Arrays]":
        """Each part when it is asked for; other calls run between them."""
        number = self._worker.call("open", inputs)
        under_way = False
        try:
            while (part := self._worker.call("next", number)) is not None:
                under_way = True
                yield part
                under_way = False
        finally:
            if under_way:  # nobody wants the rest
                with suppress(KfuncError):
                    self._worker.call("close", number)

    def explain(self, inputs: "Arrays") -> "Arrays":
        """Both steps, over there."""
        arrays: Arrays = self._worker.call("explain", inputs)
        return arrays

    def close(self) -> None:
        """End the process."""
        self._worker.close()


def how_it_ended(status: int) -> str:
    """`SIGSEGV`, `exit status 1`; the status as `subprocess` gives it."""
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _end(process: "subprocess.Popen[bytes]", connection: socket.socket, patience_s: float = 0.0) -> None:
    connection.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    process.kill()
    process.wait()
