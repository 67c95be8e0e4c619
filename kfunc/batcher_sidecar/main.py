"""The batcher's process."""

from typing import TYPE_CHECKING

from kfunc.batcher_sidecar.application import BatcherApplication
from kfunc.config.batcher import Batcher
from kfunc.process.sidecar import Parts, start_sidecar

if TYPE_CHECKING:
    from kfunc.process.watcher import Heartbeat

MANAGE = "0.0.0.0:9096"


def start(argv: list[str], heartbeat: "Heartbeat") -> int:
    """The batcher's main; the exit status."""
    return start_sidecar("batcher", argv, MANAGE, heartbeat, build)


def build(parts: Parts) -> BatcherApplication:
    """The application, with the function's settings or the defaults."""
    return BatcherApplication(parts.config.batcher or Batcher(), parts.pool, parts.metrics, parts.recorder)
