"""What a sink is: what it gets, what it answers, and what it may know."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from kfunc.logger_sidecar.event import Attributes


class Event(Protocol):
    """An event in the forms that sinks need. `id` is unique, and the same at each try."""

    @property
    def id(self) -> str:
        """Unique in its source, but for KServe's names, where both events of a call share it."""

    @property
    def is_response(self) -> bool:
        """Whether it tells of the answer."""

    @property
    def data(self) -> bytes:
        """The body as it is kept, not encoded in any way."""

    @property
    def key(self) -> bytes:
        """What both events of a call have in common: its correlation id. For partitions."""

    def structured(self) -> bytes:
        """The whole event as JSON (JSON Event Format, 3) without a line end."""

    def attributes(self) -> Attributes:
        """All attributes but `specversion`; `datacontenttype` is the type of `data`."""


class Retry(Struct, frozen=True):
    """The sink could not take an event now; it is tried again."""

    reason: str
    after_s: float = 0.0
    """The sink asked to wait so long (Retry-After); else the pause grows with each try."""

    answered: bool = True
    """Whether the sink said so of this event: such tries are counted (`max_retries`), a lost connection is not."""

    code: int = 0
    """The sink's, for the dead letter that it becomes after too many tries; 0 without one."""


class Refused(Struct, frozen=True):
    """The sink will never take an event: it becomes a dead letter. `code` is the sink's, 0 without one."""

    reason: str
    code: int = 0


Outcome = Retry | Refused | None
"""What became of an event; None: the sink has it, and answers for it from now on."""


class SinkContext(Struct, frozen=True):
    """What a sink may know of its process: sinks do not read the environment themselves."""

    function: str
    namespace: str
    environ: Mapping[str, str]


class Sink(Protocol):
    """Takes events. One task calls it, one call at a time, and may cancel it at the end of the pod."""

    max_events: int
    """Most events that one call of `deliver` gets."""

    max_bytes: int
    """About the most bytes of bodies in one call; a single event may be larger."""

    linger_s: float
    """How long events may wait until a call is full; 0: they are handed over as they come."""

    async def open(self) -> None:
        """Connect. Whatever it raises is said, and it is called again later; it is called again after `close`, too."""

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Deliver, between `open` and `close`; the outcomes of the first events, in their order: those behind them were
        not tried.

        With `in_order` an event must not arrive before one that stands before it in `events`: the first `Retry` is
        the last outcome. Raises OSError, ConnectionError for a connection that was lost: all of them are to be tried
        again, over a new one. Anything else that is raised says that one of them cannot be sent at all, if others can.
        """

    async def close(self) -> None:
        """Let go of files and connections; what `deliver` has returned None for is safe already."""
