"""The models that are asked: what V1, V2 and every other path to one of them share."""

from typing import TYPE_CHECKING

from msgspec import UNSET

from kfunc.batcher_sidecar.policy import Policy
from kfunc.batcher_sidecar.tuning import Tuner
from kfunc.config.batcher import Batcher

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.calls import Alone, Member


class Model:
    """A model, or a version that is asked for by its number: its turns among the others, and the size of its batches.

    `alone` is a request that was sent unread, because there was nothing to merge it with: it gets its group when a second
    one comes.
    """

    __slots__ = ("alone", "flow", "tuner")

    def __init__(self, settings: Batcher, policy: "Policy[Member]") -> None:
        self.flow = policy.flow()
        self.alone: Alone | None = None
        self.tuner: Tuner | None = None
        if settings.target_p99_ms is not UNSET:
            self.tuner = Tuner(settings.target_p99_ms / 1e3)
            self.flow.max_rows = self.tuner.rows

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return self.alone is None and not self.flow.in_flight and not self.flow.queued


def name_and_version(target: bytes) -> tuple[bytes, bytes]:
    """Of the model that a path of inference names, whatever stands before `/models/`; a path without that is one of its own."""
    path = target.partition(b"?")[0]
    _, found, rest = path.partition(b"/models/")
    name, _, version = rest.removesuffix(b"/infer").removesuffix(b":predict").partition(b"/versions/")
    return (name, version) if found else (path, b"")
