"""The answer of a model as text for a reader. Pure."""

from math import prod
from typing import Any

import msgspec

MOST_ROWS = 10
MOST_COLUMNS = 8
LONGEST_TEXT = 60


def show_answer(body: Any) -> str:
    """Each output with its datatype, shape and values; anything that is no V1 or V2 answer as JSON."""
    if isinstance(body, dict) and isinstance(body.get("outputs"), list):
        return "\n".join(_show_output(output) for output in body["outputs"])
    if isinstance(body, dict) and isinstance(body.get("predictions"), list):
        rows = body["predictions"]
        return "\n".join([f"predictions ({len(rows)})", *_table([row if isinstance(row, list) else [row] for row in rows])])
    return msgspec.json.format(msgspec.json.encode(body)).decode()


def shorten(text: str, most: int) -> str:
    """The text, cut in the middle where it is longer than `most` characters."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} … {len(text) - 2 * half} characters … {text[-half:]}"


def _show_output(output: dict[str, Any]) -> str:
    shape = output.get("shape") or []
    values = _flat(output.get("data"))
    columns = shape[-1] if len(shape) > 1 else 1
    rows = [values[at : at + columns] for at in range(0, len(values), columns)] if columns > 0 else []
    if len(rows) * columns != prod(shape):
        rows = [values]
    return "\n".join([f"{output.get('name')} {output.get('datatype')} {shape}", *_table(rows)])


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [] if value is None else [value]
    if not any(isinstance(each, list) for each in value):
        return value
    return [leaf for each in value for leaf in _flat(each)]


def _table(rows: list[list[Any]]) -> list[str]:
    """The rows as aligned lines; what is left out is counted."""
    cells = [[_cell(value) for value in row[:MOST_COLUMNS]] for row in rows[:MOST_ROWS]]
    widths = [max(len(row[at]) for row in cells if len(row) > at) for at in range(max(map(len, cells), default=0))]
    lines = []
    for row, shown in zip(rows, cells, strict=False):
        line = "  " + "  ".join(text.rjust(width) for text, width in zip(shown, widths, strict=False))
        lines.append(line + (f"  … {len(row)} values" if len(row) > MOST_COLUMNS else ""))
    return [*lines, f"  … {len(rows)} rows"] if len(rows) > MOST_ROWS else lines


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return shorten(value, LONGEST_TEXT)
    if isinstance(value, dict):
        return "  ".join(f"{name}: {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        more = " …" if len(value) > MOST_COLUMNS else ""
        return f"[{', '.join(map(_cell, value[:MOST_COLUMNS]))}{more}]"
    return msgspec.json.encode(value).decode()
