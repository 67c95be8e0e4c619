"""A model in a process of its own, for calls that hold the GIL. Frames of pickled arrays over a socket pair.

The other end is our own child, started by us: nothing from the network is unpickled.
"""

import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from kfunc.config.pod import VARIABLE, PodConfig, encode
from kfunc.errors import InvalidRequest, ModelFailed, ModelLoadError, Unavailable

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

log = logging.getLogger("kfunc.model")

LOAD_TIMEOUT_S = 600.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0


def send_frame(connection: socket.socket, value: Any) -> None:
    """A pickled value with its length in front."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    connection.sendall(len(data).to_bytes(8, "little") + data)


def receive_frame(connection: socket.socket) -> Any:
    """The next value. Raises EOFError at the end."""
    length = int.from_bytes(_exactly(connection, 8), "little")
    return pickle.loads(_exactly(connection, length))  # noqa: S301  (our own child)


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

    def __init__(self, config: PodConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether the child lives and has loaded the model."""
        return self._connection is not None and self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the child and wait until it has loaded the model. Raises ModelLoadError."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "kfunc.handlers.isolated", str(theirs.fileno())]
        environment = {**os.environ, VARIABLE: encode(self._config)}
        with theirs:
            process = subprocess.Popen(command, env=environment, pass_fds=(theirs.fileno(),))
        ours.settimeout(LOAD_TIMEOUT_S)
        try:
            failure = receive_frame(ours)
        except (OSError, EOFError):
            failure = "the model's worker process ended while it loaded the model"
        if failure:
            _end(process, ours)
            raise ModelLoadError(failure)
        ours.settimeout(self._config.hang_timeout_s)
        self._process, self._connection = process, ours
        threading.Thread(target=self._replace_when_dead, args=(process,), daemon=True).start()

    def _replace_when_dead(self, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        pause_s = FIRST_PAUSE_S
        while not self._closed:
            log.warning("the model's worker process ended (%s); starting it again in %.1f s", process.returncode, pause_s)
            time.sleep(pause_s)
            try:
                self.start()
                return
            except (OSError, ModelLoadError) as error:
                log.error("the model's worker process does not start: %s", error)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def call(self, inputs: "Arrays") -> "Arrays":
        """Run the model in the child. Raises what it raised, or Unavailable where the child is lost."""
        with self._lock:
            connection, process = self._connection, self._process
            if connection is None or process is None:
                raise Unavailable("the model's worker process is being started; try again later")
            try:
                send_frame(connection, inputs)
                kind, value = receive_frame(connection)
            except TimeoutError:
                self._lose(connection, process)
                raise ModelFailed("the model was stuck for longer than hang_timeout_s; it has been ended") from None
            except (OSError, EOFError):
                self._lose(connection, process)
                raise Unavailable("the model's worker process died during the call") from None
        if kind == "invalid":
            raise InvalidRequest(value)
        if kind == "failed":
            raise ModelFailed(value)
        arrays: Arrays = value
        return arrays

    def _lose(self, connection: socket.socket, process: "subprocess.Popen[bytes]") -> None:
        """Give up a child in the middle of a call: a late answer must not be taken for the next call's."""
        self._connection = None
        connection.close()
        process.kill()

    def close(self) -> None:
        """End the child."""
        self._closed = True
        if self._process is not None and self._connection is not None:
            _end(self._process, self._connection)


def _end(process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
    connection.close()
    process.kill()
    process.wait()
