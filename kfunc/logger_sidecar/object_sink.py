"""Events as objects of S3, Google Cloud Storage or Azure: one object for each batch, JSON lines or Parquet.

An object is named by its first event, so that one that is written again, after a lost answer or a restart, replaces
itself: nothing is in the store twice.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import Any

from msgspec import UNSET

from kfunc.config.logger import Logger, SinkSettings
from kfunc.config.sink_addresses import SinkAddress
from kfunc.logger_sidecar.contract import Event, Outcome, Retry, SinkContext
from kfunc.logger_sidecar.sink_libraries import read_address

TRIES, TRIES_S = 2, 20.0  # of one upload; after them the delivery waits and tries again
UPLOAD_TIMEOUT = "60s"
CONNECT_TIMEOUT = "5s"
CAUSE = re.compile(r'(?:message|error): "([^"]+)"')


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

    async def open(self) -> None:
        """Find the store's client; it connects when it is used."""
        self._store = open_store(self._address, self._environ)
        if self._parquet:
            await in_thread(_import_parquet)

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Write one object of all of them."""
        from obstore.exceptions import BaseError

        try:
            await in_thread(self._write, self._store, events)
        except (BaseError, OSError) as error:
            return [Retry(reason(error), answered=False)]
        return [None] * len(events)

    def _write(self, store: Any, events: Sequence[Event]) -> None:
        import obstore

        if self._parquet:
            from kfunc.logger_sidecar.parquet import to_parquet

            name, content = object_name(self._folder, events[0], "parquet"), to_parquet(events)
        else:
            name, content = object_name(self._folder, events[0], "jsonl"), json_lines(events)
        obstore.put(store, name, content, use_multipart=False)

    async def close(self) -> None:
        """Let go of the client."""
        self._store = None


async def in_thread(function: Callable[..., object], *arguments: Any) -> None:
    """Call it in a thread of its own: an upload that hangs holds up no other sink, and not the end of a command.

    obstore's asynchronous calls are not for that: their threads still use Python when the last answer is here, and a process
    that ends then is aborted.
    """
    answer: Future[object] = Future()

    def call() -> None:
        answer.set_running_or_notify_cancel()
        try:
            answer.set_result(function(*arguments))
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=call, name="objects", daemon=True).start()
    await asyncio.wrap_future(answer)


def reason(error: Exception) -> str:
    """What obstore says on its first line, and the system's words in its debugging lines."""
    said, _, more = str(error).partition("\n")
    cause = CAUSE.search(more)
    return f"{said}: {cause[1]}" if cause else said


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
