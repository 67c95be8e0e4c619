"""What is known of a target of inference requests: whether they may be merged, and in what they may differ."""

import logging
from collections.abc import Hashable, Mapping

import msgspec
from msgspec import UNSET

from kfunc.batcher_sidecar.models import Model
from kfunc.batcher_sidecar.padding import Padding
from kfunc.batcher_sidecar.whole_answer import WholeAnswer
from kfunc.config.batcher import Batcher
from kfunc.errors import KfuncError
from kfunc.http.upstream import ResponseHead, UpstreamConnection
from kfunc.http.wire import header_lines
from kfunc.protocol.datatypes import DATATYPES
from kfunc.protocol.messages import ModelMetadata

log = logging.getLogger("kfunc.batcher")

CREDENTIALS = (b"authorization", b"cookie")
METADATA_RETRY_S = 1.0
METADATA_AGAIN_S = 60.0
"""After which a model that was not to be merged is asked for its metadata again: it may be another one."""
UNMERGED_S, MOST_UNMERGED_S = 60.0, 3600.0
"""For which requests of a form in whose answers merging showed are not merged: twice as long each time, to the second."""
MAX_UNMERGED = 64
"""Forms that are remembered so; with more it is the whole path."""
ALL = None
"""In `Path.unmerged`: the key of all groups."""

# Paths that are remembered, and their bytes: they are the clients', and are not to fill the memory.
MAX_PATHS = 10_000
MAX_PATH = 512


class Path:
    """A target of inference requests.

    `batched`: whether requests may be merged; None: nobody knows yet; `never`: they never may. `width` are the elements
    that a row has at least, `binary_row` their bytes in a binary request. `fixed` are the outputs without a batch
    dimension, `rowed` those with one. `unmerged` are the groups in whose answers merging showed, each with until
    when it is not done and for how long; by the hash of the key, which holds credentials.
    """

    __slots__ = (
        "_settings",
        "asked_at",
        "batched",
        "binary_row",
        "fixed",
        "is_refused",
        "is_v1",
        "model",
        "never",
        "padding",
        "rowed",
        "target",
        "unmerged",
        "width",
    )

    def __init__(self, target: bytes, settings: Batcher, model: Model) -> None:
        self._settings = settings
        self.target = target
        self.is_v1 = target.endswith(b":predict")
        self.model = model
        self.asked_at = -METADATA_AGAIN_S  # in monotonic seconds
        self.is_refused = False  # the server lets nobody see its metadata
        self.width = self.binary_row = 1
        self.fixed: frozenset[str] = frozenset()
        self.rowed: frozenset[str] = frozenset()
        self.unmerged: dict[int | None, tuple[float, float]] = {}
        self.padding: Padding | None = None
        # V1's instances are rows by definition, until an answer says otherwise.
        self.batched: bool | None = True if self.is_v1 or settings.merge == "always" else None
        self.never = settings.merge == "never" or len(target) > MAX_PATH
        if self.never:
            self.batched = False

    def wants_metadata(self, now: float) -> bool:
        """Whether it is time to ask the model."""
        again_s = METADATA_RETRY_S if self.batched is None else METADATA_AGAIN_S
        return not self.never and not self.is_v1 and now - self.asked_at >= again_s

    def may_have_more_rows(self, body: bytes, binary: bool) -> bool:
        """Whether a request may have more rows than one call takes; it has not been read."""
        if binary:
            return len(body) > self.model.flow.max_rows * self.binary_row
        elements = self.model.flow.max_rows * self.width
        if len(body) <= 2 * elements:  # of an element there are at least a digit and a comma
            return False
        return body.count(b",") >= elements

    def learn(self, metadata: ModelMetadata | None) -> None:
        """Decide what may be merged; None: the server does not tell."""
        always = self._settings.merge == "always"
        if metadata is None or not metadata.inputs:
            self.batched = always
            return
        self.batched = always or all((*each.shape, 0)[0] == -1 for each in metadata.inputs)
        self.rowed = frozenset([each.name for each in metadata.outputs if (*each.shape, 0)[0] == -1])
        self.fixed = frozenset([each.name for each in metadata.outputs]) - self.rowed
        widths = [(_elements(each.shape[1:]), DATATYPES.get(each.datatype)) for each in metadata.inputs]
        self.width = sum([width for width, _ in widths])
        self.binary_row = sum([width if size == 1 else 2 * width for width, size in widths])  # 2: it may be JSON all the same
        if self._settings.pad is not UNSET:
            self.padding = Padding(self._settings.pad, metadata)

    def part_from_others(self, key: Hashable, now: float) -> bool:
        """Merging shows in the answers to requests of a group: no more of it for a while. Whether that is news.

        Only of that group, since it may be for a parameter of their own; of all where that happens again and again.
        """
        self.unmerged = {each: kept for each, kept in self.unmerged.items() if kept[0] + MOST_UNMERGED_S > now}
        if len(self.unmerged) >= MAX_UNMERGED:
            self.unmerged = {each: kept for each, kept in self.unmerged.items() if kept[0] > now}
        number: int | None = hash(key)
        if number not in self.unmerged and len(self.unmerged) >= MAX_UNMERGED:
            number = ALL
        known = self.unmerged.pop(number, None)
        if known is not None and known[0] > now:  # of what was in flight when it was seen
            self.unmerged[number] = known
            return False
        seconds = UNMERGED_S if known is None else min(MOST_UNMERGED_S, 2 * known[1])
        self.unmerged[number] = now + seconds, seconds
        return known is None

    def is_merged(self, key: Hashable, now: float) -> bool:
        """Whether requests of a group are, where there are some that are not.

        The oldest of those is forgotten some time after its end: with the last of them no request has to be asked about.
        """
        oldest = next(iter(self.unmerged))
        if self.unmerged[oldest][0] + MOST_UNMERGED_S <= now:
            del self.unmerged[oldest]
        never = (0.0, 0.0)
        return max(self.unmerged.get(hash(key), never), self.unmerged.get(ALL, never))[0] <= now


def _elements(shape: object) -> int:
    product = 1
    for dimension in shape:  # type: ignore[attr-defined]
        product *= max(1, dimension)
    return product


class MetadataCall(WholeAnswer):
    """Asks whether a model takes any number of rows (Model Metadata), with the credentials of a caller of the model."""

    idempotent = True

    def __init__(self, path: Path, headers: Mapping[bytes, bytes]) -> None:
        super().__init__()
        self._path = path
        self._credentials = [(name, headers[name]) for name in CREDENTIALS if name in headers]

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the request."""
        target = self._path.target.removesuffix(b"/infer")
        fields = header_lines([(b"host", b"localhost"), (b"accept", b"application/json"), *self._credentials])
        connection.transport.write(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields))

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """Learn from metadata; a server that has none is not merged for."""
        path = self._path
        if head.status in (401, 403) and not path.is_refused and not path.batched:
            path.is_refused = True
            log.warning(
                "%s: the server refuses a caller of the model its metadata (%d); nothing is merged until it gives them "
                "(batcher.merge: always merges all the same)",
                path.target.decode("latin-1"),
                head.status,
            )
        if head.status != 200:
            if head.status in (400, 404, 405, 501):
                path.learn(None)
            return
        try:
            metadata = msgspec.json.decode(body, type=ModelMetadata)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            metadata = None
        path.learn(metadata)

    def on_failure(self, error: KfuncError) -> None:
        """It is asked again with a later request."""
