"""The main of a model's worker process: frames of arrays in, frames of arrays out, until the parent is gone."""

import asyncio
import logging
import mmap
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from kfunc.config import pod
from kfunc.errors import InvalidRequest, StartupError, Unavailable
from kfunc.handlers.contract import Handler
from kfunc.handlers.isolated_parts import PartsUnderWay
from kfunc.handlers.isolation import Description, receive_frame, send_bytes, send_frame
from kfunc.handlers.loaded import failure_of
from kfunc.handlers.opening import load_here
from kfunc.handlers.parts import yields
from kfunc.handlers.steps import explainer, explains, is_own, pipeline
from kfunc.process.settings import environment
from kfunc.telemetry import log_lines
from kfunc.telemetry.business import BusinessMetrics, Update
from kfunc.telemetry.current import CURRENT

log = logging.getLogger("kfunc.model")

READY_S = 0.25


def main(descriptor: int, ready_descriptor: int) -> None:
    """Serve calls on the socket `descriptor`; whether the model is ready is written into the shared page."""
    log_lines.configure()
    # The end of the parent's socket is the end of this process; a group's signals are for the parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    page = mmap.mmap(ready_descriptor, 1)
    try:
        config = pod.decode(environment())
        log_lines.use(config.log_format)
        business = BusinessMetrics(keep=True)
        handler = load_here(config, business, alone=True)
        page[0] = handler.ready()
    except StartupError as error:
        send_frame(connection, error.message)
        return
    description = Description(
        handler.platform,
        list(handler.inputs),
        list(handler.outputs),
        handler.exact_datatypes,
        explains(handler),
        handler.choice,
        tuple(handler.columns),
        list(handler.optional_inputs),
        handler.is_table,
        handler.takes_images,
        yields(handler),
        is_own(handler, "predict_stream"),
        handler.is_users_code,
    )
    calls = calls_of(handler)
    send_frame(connection, description)
    threading.Thread(target=_tell_ready, args=(handler.ready, page), daemon=True).start()
    while True:
        try:
            verb, inputs, request = receive_frame(connection)
        except (EOFError, OSError):
            return
        CURRENT.set(request)
        send_bytes(connection, answer(calls[verb], inputs, business.take))


def calls_of(handler: Handler) -> dict[str, Callable[[Any], Any]]:
    """What the parent may ask for. Its async code runs on one loop, to which clients belong that `predict` has made.

    `ready`, which is asked in a thread of its own, has others.
    """
    runner = asyncio.Runner()
    calls: dict[str, Callable[[Any], Any]] = {
        "predict": pipeline(handler, runner.run),
        "explain": explainer(handler, runner.run),
    }
    if yields(handler) or is_own(handler, "predict_stream"):
        parts = PartsUnderWay(handler, runner.run)
        calls |= {"open": parts.open, "next": parts.next, "close": parts.close}
    return calls


def answer(call: Callable[[Any], Any], inputs: Any, updates: Callable[[], list[Update]]) -> bytes:
    """The answer as a frame's content; what the model raises, or answers and cannot be sent, is one too.

    `updates` is what the model's code has told its metrics.
    """
    try:
        return pickle.dumps(("ok", call(inputs), updates()), pickle.HIGHEST_PROTOCOL)
    except InvalidRequest as error:
        return pickle.dumps(("invalid", error.message, updates()))
    except Unavailable as error:
        return pickle.dumps(("unavailable", error.message, updates()))
    except Exception as error:
        failure = failure_of(error, CURRENT.get())
        if isinstance(failure, Unavailable):
            return pickle.dumps(("unavailable", failure.message, updates()))
        return pickle.dumps(("failed", (failure.message, type(error).__name__), updates()))


def _tell_ready(ready: Callable[[], bool], page: mmap.mmap) -> None:
    while True:
        time.sleep(READY_S)
        try:
            page[0] = bool(ready())
        except Exception:
            log.exception("the model's ready failed")
            page[0] = 0


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
