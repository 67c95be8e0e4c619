"""Events as a Parquet file: a column for each attribute that they have of their own, the rest as JSON."""

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from kfunc.logger_sidecar.contract import Event

COMPRESSION = "zstd"
TEXT = pa.string()
SCHEMA = pa.schema(
    [
        *(("id", TEXT), ("source", TEXT), ("type", TEXT), ("time", pa.timestamp("us", tz="UTC")), ("subject", TEXT)),
        *(("correlationid", TEXT), ("traceparent", TEXT), ("function", TEXT), ("namespace", TEXT), ("revision", TEXT)),
        *(("model", TEXT), ("modelversion", TEXT), ("endpoint", TEXT), ("statuscode", pa.int32()), ("durationus", pa.int64())),
        *(("datacontenttype", TEXT), ("extensions", TEXT), ("data", pa.binary())),
    ]
)
OWN = frozenset(SCHEMA.names) - {"time", "extensions", "data"}


def to_parquet(events: Sequence[Event]) -> bytes:
    """A file with one row group. `data` are the bytes of the body, `extensions` all other attributes as a JSON object."""
    columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
    for event in events:
        attributes = event.attributes()
        time = datetime.fromisoformat(str(attributes.pop("time")))
        for name in OWN:
            columns[name].append(attributes.pop(name, None))
        columns["time"].append(time)
        columns["extensions"].append(msgspec.json.encode(attributes).decode() if attributes else None)
        columns["data"].append(event.data or None)
    file = BytesIO()
    pq.write_table(pa.table(columns, schema=SCHEMA), file, compression=COMPRESSION)
    return file.getvalue()
