"""An event as a line for a reader. Pure."""

import msgspec

from kfunc.event_log.stored import RESPONSE, Stored

MOST_BODY = 160
TIME = slice(11, 23)  # of 2026-11-25T09:30:00.123456Z


def show(event: Stored, *, body: bool = True) -> str:
    """Time, kind, model, what was called or what came of it, correlation id, and the beginning of the body."""
    told = event.attributes.get
    version = told("modelversion")
    model = f"{event.model or '-'}{f'/{version}' if version else ''}"
    if event.kind == RESPONSE:
        duration = int(told("durationus", 0)) / 1000
        what = f"{event.status or ''} in {duration:.1f} ms" if duration else str(event.status or "")
    else:
        what = event.endpoint or str(told("endpoint", ""))
    size = told("bodysize", len(event.data))
    marks = "".join(f" {mark}" for mark in ("truncated", "redacted") if told(mark))
    line = f"{event.time[TIME]} {event.kind:8} {model:16} {what}  {size} B{marks}  {event.correlation}"
    return f"{line}  {_body(event)}" if body and event.data else line


def show_full(event: Stored) -> str:
    """Every attribute on a line of its own, and behind them the whole body: JSON with line ends, other bytes by their size."""
    width = max(len(name) for name in event.attributes)
    lines = [f"{name:{width}}  {value}" for name, value in event.attributes.items()]
    return "\n".join([*lines, *_whole_body(event), ""])


def _whole_body(event: Stored) -> list[str]:
    text, rest = event.data[: event.json_length or None], event.data[event.json_length or len(event.data) :]
    lines = []
    if text:
        try:
            lines.append(msgspec.json.format(text).decode())
        except (msgspec.MsgspecError, UnicodeDecodeError):
            plain = text.decode(errors="replace")
            lines.append(plain if plain.isprintable() else f"{len(text)} bytes {text[:MOST_BODY]!r}")
    return [*lines, *([f"and {len(rest)} bytes of binary tensors"] if rest else [])]


def _body(event: Stored) -> str:
    shown = event.data[: event.json_length or None]
    text = shown[: MOST_BODY * 4].decode(errors="replace")
    plain = "".join(letter if letter.isprintable() else "·" for letter in text)
    return plain if len(plain) <= MOST_BODY else f"{plain[: MOST_BODY - 1]}…"
