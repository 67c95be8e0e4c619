"""Events as objects of S3, Google Cloud Storage or Azure: one object for each batch, JSON lines or Parquet.

An object is named by its first event, so that one that is written again, after a lost answer or a restart, replaces
itself: nothing is in the store twice. A batch that the store refuses for good is halved until it takes a part of it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any

from msgspec import UNSET

from kfunc.config.logger import Logger, SinkSettings
from kfunc.config.sink_addresses import SinkAddress
from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry, SinkContext
from kfunc.logger_sidecar.object_outcomes import TOO_LARGE, outcome_of
from kfunc.logger_sidecar.sink_libraries import read_address

TRIES, TRIES_S = 2, 20.0  # of one upload; after them the delivery waits and tries again
UPLOAD_TIMEOUT = "60s"
CONNECT_TIMEOUT = "5s"


class ObjectSink:
    """One bucket. Credentials come from the environment or the pod's identity, as the clouds' own tools read them."""

    def __init__(self, settings: SinkSettings, context: SinkContext) -> None:
        self._address = address = read_address(settings, context)
        self._folder = "/".join(part for part in (address.path, context.namespace, context.function) if part)
        self._environ = context.environ
        self._parquet = settings.format == "parquet"
        self._store: Any = None
        default = Logger()
        self.max_events = default.batch_events if settings.batch_events is UNSET else settings.batch_events
        self.max_bytes = default.batch_bytes if settings.batch_bytes is UNSET else settings.batch_bytes
        self.linger_s = default.batch_s if settings.batch_s is UNSET else settings.batch_s
        self._most = self.max_events  # events in the next object: fewer after one that was refused
        self._too_large: float = float("inf")  # bytes of the smallest batch that was refused for its size

    async def open(self) -> None:
        """Find the store's client; it connects when it is used."""
        self._store = open_store(self._address, self._environ)
        if self._parquet:
            await in_thread(_import_parquet)

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Write one object, of all of them unless the store refuses that for good: then of as many as it takes."""
        tried = events[: self._most]
        outcome = await in_thread(self._write, self._store, tried)
        while isinstance(outcome, Refused) and len(tried) > 1:
            tried = tried[: len(tried) // 2]
            self._most = len(tried)
            outcome = await in_thread(self._write, self._store, tried)
        if isinstance(outcome, Retry):
            return [outcome] if in_order else [outcome] * len(tried)
        if outcome is None:
            self._most = min(2 * self._most, self.max_events)
        return [outcome] * len(tried)

    def _write(self, store: Any, events: Sequence[Event]) -> Outcome:
        """Write one object; several events that are larger than what was refused before are not sent again."""
        import obstore
        from obstore.exceptions import BaseError

        name, content = self._object(events)
        if len(events) > 1 and len(content) >= self._too_large:
            return Refused("its size", TOO_LARGE)
        try:
            obstore.put(store, name, content, use_multipart=False)
        except (BaseError, OSError) as error:
            outcome = outcome_of(error)
            if isinstance(outcome, Refused) and outcome.code == TOO_LARGE and len(events) > 1:
                self._too_large = len(content)
            return outcome
        return None

    def _object(self, events: Sequence[Event]) -> tuple[str, bytes]:
        if self._parquet:
            from kfunc.logger_sidecar.parquet import to_parquet

            return object_name(self._folder, events[0], "parquet"), to_parquet(events)
        return object_name(self._folder, events[0], "jsonl"), json_lines(events)

    async def close(self) -> None:
        """Let go of the client."""
        self._store = None


async def in_thread(function: Callable[..., Outcome], *arguments: Any) -> Outcome:
    """Call it in a thread of its own: an upload that hangs holds up no other sink, and not the end of a command.

    obstore's asynchronous calls are not for that: their threads still use Python when the last answer is here, and a process
    that ends then is aborted.
    """
    answer: Future[Outcome] = Future()

    def call() -> None:
        answer.set_running_or_notify_cancel()
        try:
            answer.set_result(function(*arguments))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=call, name="objects", daemon=True).start()
    return await asyncio.wrap_future(answer)


def open_store(address: SinkAddress, environ: Mapping[str, str]) -> Any:
    """The store of an s3:, gs: or az: address."""
    from datetime import timedelta

    from obstore.store import AzureStore, GCSStore, S3Store

    kind: Any
    kind, prefix = {"s3": (S3Store, "AWS"), "gs": (GCSStore, "GOOGLE"), "az": (AzureStore, "AZURE")}[address.scheme]
    plain = environ.get(f"{prefix}_ALLOW_HTTP", "").lower() in ("true", "1")
    return kind(
        address.hosts,
        client_options={"timeout": UPLOAD_TIMEOUT, "connect_timeout": CONNECT_TIMEOUT, "allow_http": plain},
        retry_config={"max_retries": TRIES, "retry_timeout": timedelta(seconds=TRIES_S)},
    )


def object_name(folder: str, first: Event, suffix: str) -> str:
    """`FOLDER/date=2026-11-25/hour=09/5130.123456-ID.jsonl`: by the time and id of the first event; names sort by time."""
    attributes = first.attributes()
    date, _, clock = str(attributes["time"]).rstrip("Z").partition("T")
    hour, minute, second = clock.split(":")
    side = "response" if first.is_response else "request"
    return f"{folder}/date={date}/hour={hour}/{minute}{second}-{first.id}-{side}.{suffix}"


def json_lines(events: Sequence[Event]) -> bytes:
    """One structured event a line."""
    return b"".join([event.structured() + b"\n" for event in events])


def _import_parquet() -> None:
    import pyarrow.parquet  # noqa: F401 (here it takes no time of the loop's)
