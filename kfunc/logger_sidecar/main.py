"""The logger's process."""

import os
from typing import TYPE_CHECKING

from kfunc.config.logger import Logger
from kfunc.errors import StartupError
from kfunc.logger_sidecar.application import LoggerApplication
from kfunc.logger_sidecar.delivery import Delivery
from kfunc.logger_sidecar.events import EventWriter
from kfunc.logger_sidecar.sinks import open_sink
from kfunc.process.sidecar import Parts, start_sidecar

if TYPE_CHECKING:
    from kfunc.process.watcher import Heartbeat

MANAGE = "0.0.0.0:9095"


def start(argv: list[str], heartbeat: "Heartbeat") -> int:
    """The logger's main; the exit status."""
    return start_sidecar("logger", argv, MANAGE, heartbeat, build)


def build(parts: Parts) -> LoggerApplication:
    """The application, with the function's settings; a sink must be configured. Raises StartupError."""
    config = parts.config
    settings = config.logger or Logger()
    target = settings.sink if isinstance(settings.sink, str) else os.environ.get("K_SINK", "")
    if not target:
        raise StartupError("the logger has no sink: set inference.logger.sink, KFUNC_LOGGER_SINK, or K_SINK by a SinkBinding")
    prefix, mode, model = os.urandom(8).hex(), settings.mode, config.model
    writer = EventWriter(config.function, config.namespace, model.version, prefix, mode=mode, model=model.name)
    delivery = Delivery(settings, open_sink(target, settings), writer, parts.metrics)
    parts.at_end = delivery.flush
    return LoggerApplication(settings, parts.pool, delivery, parts.recorder)
