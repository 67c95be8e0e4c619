"""The main of a model's worker process: frames of arrays in, frames of arrays out, until the parent is gone."""

import logging
import os
import signal
import socket
import sys
from typing import Any

from kfunc.config import pod
from kfunc.errors import InvalidRequest, StartupError
from kfunc.handlers.isolation import receive_frame, send_frame
from kfunc.handlers.loaded import load_handler, pipeline

log = logging.getLogger("kfunc.model")


def main(descriptor: int) -> None:
    """Serve calls on the socket `descriptor`."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # The end of the parent's socket is the end of this process; a group's signals are for the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    try:
        handler = load_handler(pod.decode(os.environ))
    except StartupError as error:
        send_frame(connection, error.message)
        return
    call = pipeline(handler)
    send_frame(connection, "")
    while True:
        try:
            inputs = receive_frame(connection)
        except (EOFError, OSError):
            return
        try:
            answer: tuple[str, Any] = ("ok", call(inputs))
        except InvalidRequest as error:
            answer = ("invalid", error.message)
        except Exception:
            log.exception("the model failed")
            answer = ("failed", "the model failed; the log of the handler says more")
        send_frame(connection, answer)


if __name__ == "__main__":
    main(int(sys.argv[1]))
