"""Events as objects of S3, Google Cloud Storage or Azure: one object for each batch, JSON lines or Parquet.

An object is named by its first event, so that one that is written again, after a lost answer or a restart, replaces
itself: nothing is in the store twice.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from kfunc.config.logger import Logger, SinkSettings
from kfunc.config.sink_addresses import SinkAddress
from kfunc.logger_sidecar.contract import Event, Outcome, Retry, SinkContext
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

    async def open(self) -> None:
        """Find the store's client; it connects when it is used."""
        self._store = open_store(self._address, self._environ)
        if self._parquet:
            await asyncio.get_running_loop().run_in_executor(None, _import_parquet)

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """Write one object of all of them."""
        import obstore
        from obstore.exceptions import BaseError

        name = object_name(self._folder, events[0], "parquet" if self._parquet else "jsonl")
        if self._parquet:
            from kfunc.logger_sidecar.parquet import to_parquet

            content = await asyncio.get_running_loop().run_in_executor(None, to_parquet, events)
        else:
            content = json_lines(events)
        try:
            await obstore.put_async(self._store, name, content, use_multipart=False)
        except (BaseError, OSError) as error:
            return [Retry(str(error).partition("\n")[0], answered=False)]
        return [None] * len(events)

    async def close(self) -> None:
        """Let go of the client."""
        self._store = None


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
