"""MLflow's `/invocations`: tables by columns or by records, as CSV, and the bodies of TensorFlow Serving's API. Sans-IO."""

import csv
from collections.abc import Sequence
from io import StringIO
from math import isfinite
from typing import Any

import msgspec

from kfunc.errors import InvalidRequest
from kfunc.protocol import v1
from kfunc.protocol.datatypes import JSON
from kfunc.protocol.json_text import ERRORS, cause
from kfunc.protocol.messages import Tensor, TensorSpec

SPLIT, RECORDS = "dataframe_split", "dataframe_records"
BOOLEANS = {"true": True, "false": False}

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
    _require_as_wide(data, len(columns))
    return [dict(zip(columns, row, strict=True)) for row in data]


def decode_csv(body: bytes, inputs: Sequence[TensorSpec], model_name: str = "", model_version: str = "") -> v1.V1Request:
    """The same for a table in CSV (RFC 4180) whose first line names the columns. Raises InvalidRequest.

    A column of an input BYTES holds strings. Any other holds numbers or booleans where all its values are such,
    else strings; an empty value is none (null).
    """
    try:
        names, *lines = filter(None, csv.reader(StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError:
        raise InvalidRequest("the request is not CSV: it is not UTF-8") from None
    except csv.Error as error:
        raise InvalidRequest(f"the request is not CSV: {error}") from None
    except ValueError:
        raise InvalidRequest("the request has no line with the names of the columns") from None
    if "" in names:
        raise InvalidRequest(f"column {names.index('')} has no name; pandas' to_csv(index=False) leaves the index out")
    if len(set(names)) < len(names):
        raise InvalidRequest("two columns have the same name")
    if not lines:
        raise InvalidRequest("expected a line with the names of the columns, and at least one row")
    _require_as_wide(lines, len(names))
    texts = {spec.name for spec in inputs if spec.datatype == "BYTES"}
    columns = zip(names, zip(*lines, strict=True), strict=True)
    typed = [values if name in texts else _values(values) for name, values in columns]
    rows = [dict(zip(names, row, strict=True)) for row in zip(*typed, strict=True)]
    return v1.V1Request([Tensor(v1.ROWS, [len(rows)], JSON, rows)], "", None, None, model_name, model_version)


def _require_as_wide(rows: Sequence[Sequence[Any]], width: int) -> None:
    wrong = next((number for number, row in enumerate(rows) if len(row) != width), None)
    if wrong is not None:
        raise InvalidRequest(f"row {wrong} has {len(rows[wrong])} values, and there are {width} columns")


def _values(texts: Sequence[str]) -> Sequence[Any]:
    """The values of a column, as the narrowest type that all of them are."""
    if any("_" in text or not text.isascii() for text in texts):  # Python takes 1_000 and other scripts' digits for numbers
        return texts
    for read in (BOOLEANS.__getitem__, int, _fraction):
        try:
            return [read(text.strip().lower()) if text else None for text in texts]
        except (KeyError, ValueError):
            continue
    return texts


def _fraction(text: str) -> float:
    """A number that JSON has too."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number
