"""What is known of a target of inference requests: whether they may be merged, and in what they may differ."""

from typing import TYPE_CHECKING

import msgspec
from msgspec import UNSET

from kfunc.batcher_sidecar.padding import Padding
from kfunc.batcher_sidecar.policy import Policy
from kfunc.batcher_sidecar.tuning import Tuner
from kfunc.batcher_sidecar.whole_answer import WholeAnswer
from kfunc.config.batcher import Batcher
from kfunc.errors import KfuncError
from kfunc.http.upstream import ResponseHead, UpstreamConnection
from kfunc.protocol.messages import ModelMetadata

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.calls import Alone, Member

METADATA_RETRY_S = 1.0
METADATA_AGAIN_S = 60.0
"""After which a model that was not to be merged is asked for its metadata again: it may be another one."""

# Paths that are remembered, and their bytes: they are the clients', and are not to fill the memory.
MAX_PATHS = 10_000
MAX_PATH = 512


class Path:
    """A target of inference requests.

    `batched`: whether requests may be merged; None: nobody knows yet. `alone` is a request that was sent unread,
    because there was nothing to merge it with: it gets its group when a second one comes. `width` are the elements
    that a row has at least, `fixed` the outputs without a batch dimension.
    """

    __slots__ = ("alone", "asked_at", "batched", "fixed", "flow", "is_v1", "padding", "refused", "target", "tuner", "width")

    def __init__(self, target: bytes, settings: Batcher, policy: "Policy[Member]") -> None:
        self.target = target
        self.is_v1 = target.endswith(b":predict")
        self.flow = policy.flow()
        self.alone: Alone | None = None
        self.asked_at = -METADATA_AGAIN_S  # in monotonic seconds
        self.refused = False  # an answer has shown that it cannot be
        self.width = 1
        self.fixed: frozenset[str] = frozenset()
        self.padding: Padding | None = None
        self.tuner: Tuner | None = None
        # V1's instances are rows by definition, until an answer says otherwise.
        self.batched: bool | None = True if self.is_v1 or settings.merge == "always" else None
        if settings.merge == "never":
            self.batched = False
            self.refused = True
        if settings.target_p99_ms is not UNSET:
            self.tuner = Tuner(settings.target_p99_ms / 1e3)
            self.flow.max_rows = self.tuner.rows

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return self.alone is None and not self.flow.in_flight and not self.flow.queued

    def wants_metadata(self, now: float) -> bool:
        """Whether it is time to ask the model."""
        again_s = METADATA_RETRY_S if self.batched is None else METADATA_AGAIN_S
        return not self.refused and not self.is_v1 and now - self.asked_at >= again_s

    def may_have_more_rows(self, body: bytes, binary: bool) -> bool:
        """Whether a request may have more rows than one call takes; it has not been read."""
        elements = self.flow.max_rows * self.width
        if len(body) <= 2 * elements:  # of an element there are at least a digit and a comma
            return False
        return binary or body.count(b",") >= elements

    def learn(self, metadata: ModelMetadata | None, settings: Batcher) -> None:
        """Decide what may be merged; None: the server does not tell."""
        if metadata is None or not metadata.inputs:
            self.batched = settings.merge == "always"
            return
        self.batched = settings.merge == "always" or all((*each.shape, 0)[0] == -1 for each in metadata.inputs)
        self.fixed = frozenset([each.name for each in metadata.outputs if (*each.shape, 0)[0] != -1])
        self.width = sum(_elements(each.shape[1:]) for each in metadata.inputs)
        if settings.pad is not UNSET:
            self.padding = Padding(settings.pad, metadata)

    def refuse(self) -> None:
        """Merging shows in the answers: no more of it."""
        self.batched = False
        self.refused = True


def _elements(shape: object) -> int:
    product = 1
    for dimension in shape:  # type: ignore[attr-defined]
        product *= max(1, dimension)
    return product


class MetadataCall(WholeAnswer):
    """Asks whether a model takes any number of rows (Model Metadata)."""

    idempotent = True

    def __init__(self, path: Path, settings: Batcher) -> None:
        super().__init__()
        self._path = path
        self._settings = settings

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the request."""
        path = self._path.target.removesuffix(b"/infer")
        connection.transport.write(b"GET %b HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n" % path)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """Learn from metadata; a server that has none is not merged for."""
        if head.status != 200:
            if head.status in (400, 404, 405, 501):
                self._path.learn(None, self._settings)
            return
        try:
            metadata = msgspec.json.decode(body, type=ModelMetadata)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            metadata = None
        self._path.learn(metadata, self._settings)

    def on_failure(self, error: KfuncError) -> None:
        """It is asked again with a later request."""
