"""Reads the Parquet files that the logger writes to object stores."""

from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import msgspec

from kfunc.errors import StartupError
from kfunc.event_log.stored import Stored
from kfunc.protocol.incoming_events import Event


def read_parquet(content: bytes, name: str, on_fault: Callable[[str], None]) -> Iterator[Stored]:
    """The events of a file. Raises StartupError without the library."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise StartupError(f"{name} needs a library that is not here: pip install 'kfunc[parquet]'") from None
    try:
        table = pq.read_table(BytesIO(content))
        for batch in table.to_batches(max_chunksize=1024):
            for row in batch.to_pylist():
                yield _event(row)
    except (pa.ArrowException, KeyError, ValueError, msgspec.MsgspecError) as error:
        on_fault(f"{name}: {error}")


def _event(row: dict[str, Any]) -> Stored:
    data, time, more = row.pop("data"), row.pop("time"), row.pop("extensions")
    attributes = {name: value for name, value in row.items() if value is not None}
    attributes["time"] = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Stored(Event(attributes | (msgspec.json.decode(more) if more else {}), data or b""))
