"""Which calls are logged, and which of their header fields: paths, models, shares of traces. Sans-IO."""

import re
from collections.abc import Mapping
from fnmatch import translate
from zlib import crc32

import msgspec

from kfunc.config.logger import Logger
from kfunc.logger_sidecar.targets import is_call, is_event, model_of, segments

MAX_KNOWN = 1024
TRACEPARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
SPREAD = 2654435761  # Knuth's multiplier: neighbours in a checksum come apart
ALL = 1 << 32


def is_sampled(trace: bytes, share: float) -> bool:
    """Whether a trace is in the sample: the same in every process, and a smaller share is a part of a larger one."""
    return crc32(trace) * SPREAD % ALL < share * ALL


def trace_of(headers: Mapping[bytes, bytes], request_id: bytes) -> bytes:
    """What a call is sampled by: the id of its trace (W3C Trace Context), else of the request."""
    match = TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
    return match[1] if match is not None else request_id


class Filter:
    """What `paths`, `models` and `sample` let through."""

    def __init__(self, settings: Logger, default_model: str) -> None:
        self._paths = [re.compile(translate(pattern), re.DOTALL) for pattern in settings.paths]
        self._models = [re.compile(translate(pattern), re.DOTALL) for pattern in settings.models]
        self._default_model = default_model
        self.share = settings.sample
        self._known: dict[bytes, bool] = {}

    def is_logged(self, target: bytes, headers: Mapping[bytes, bytes]) -> bool:
        """Whether a POST is a call of a model whose calls are logged; sampling is another matter."""
        known = self._known.get(target)
        if known is None:
            known = is_call(target) and self._is_wanted(target)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            if len(target) <= MAX_KNOWN:
                self._known[target] = known
        return known or (is_event(target, headers) and self._is_wanted(target))

    def _is_wanted(self, target: bytes) -> bool:
        path = "/" + b"/".join(segments(target)).decode("utf-8", "replace")
        model = model_of(target)[0] or self._default_model
        return _matches(self._paths, path) and _matches(self._models, model)


def _matches(patterns: list[re.Pattern[str]], text: str) -> bool:
    return not patterns or any(pattern.match(text) for pattern in patterns)


def kept_headers(headers: Mapping[bytes, bytes], names: list[bytes]) -> bytes:
    """The fields of an allow-list as a JSON object; empty if there are none."""
    found = {name.decode(): headers[name].decode("latin-1") for name in names if name in headers}
    return msgspec.json.encode(found) if found else b""
