"""MLflow's `/invocations`: tables by columns or by records, and the bodies of TensorFlow Serving's API. Sans-IO."""

from typing import Any

import msgspec

from kfunc.errors import InvalidRequest
from kfunc.protocol import v1
from kfunc.protocol.datatypes import JSON
from kfunc.protocol.json_text import ERRORS, cause
from kfunc.protocol.messages import Tensor

SPLIT, RECORDS = "dataframe_split", "dataframe_records"

_DOCUMENT = msgspec.json.Decoder(dict[str, Any])


def decode_request(body: bytes, model_name: str = "", model_version: str = "") -> v1.V1Request:
    """A request of MLflow's scoring server (its REST API, version 2.0 and later) as one of V1. Raises InvalidRequest."""
    try:
        document = _DOCUMENT.decode(body)
    except ERRORS as error:
        raise InvalidRequest(f"the request is not a JSON object: {cause(error)}") from None
    if document.pop("params", None):
        raise InvalidRequest("params are not taken here: the model answers by its inputs alone")
    forms = [name for name in (SPLIT, RECORDS, v1.ROWS, v1.COLUMNS) if name in document]
    if len(forms) != 1:
        raise InvalidRequest(f"expected exactly one of {SPLIT}, {RECORDS}, {v1.ROWS} and {v1.COLUMNS}")
    if forms[0] in (v1.ROWS, v1.COLUMNS):
        return v1.decode_request(msgspec.json.encode(document), model_name, model_version)
    rows = _split(document[SPLIT]) if forms[0] == SPLIT else document[RECORDS]
    if type(rows) is not list or not rows:
        raise InvalidRequest(f'"{forms[0]}" must hold at least one row')
    return v1.V1Request([Tensor(v1.ROWS, [len(rows)], JSON, rows)], "", None, None, model_name, model_version)


def _split(table: Any) -> list[Any]:
    """Rows as objects, or as arrays where the columns have no names."""
    data = table.get("data") if type(table) is dict else None
    if type(data) is not list or any(type(row) is not list for row in data):
        raise InvalidRequest(f'"{SPLIT}" must be an object with "data", an array of rows, and "columns", their names')
    columns = table.get("columns") or []
    if not columns or any(type(name) is not str for name in columns):
        return data
    wrong = next((number for number, row in enumerate(data) if len(row) != len(columns)), None)
    if wrong is not None:
        raise InvalidRequest(f"row {wrong} has {len(data[wrong])} values, and there are {len(columns)} columns")
    return [dict(zip(columns, row, strict=True)) for row in data]
