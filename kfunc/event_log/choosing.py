"""Which events are meant: by kind, model, status, time and id. Sans-IO; `now` is the caller's."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from kfunc.event_log.stored import Stored

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
AGO = re.compile(r"([0-9]+)([smhd])")
STATUSES = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")

Choice = Callable[[Stored], bool]


def choose(
    *,
    kind: str = "",
    model: str = "",
    status: str = "",
    since: str = "",
    until: str = "",
    identity: str = "",
    now: datetime,
) -> Choice:
    """A test of an event that asks for all that is given. Raises ValueError that says what is wrong."""
    least, most = statuses(status) if status else (0, 0)
    first, last = (moment(each, now) if each else "" for each in (since, until))

    def chosen(event: Stored) -> bool:
        if kind and kind not in (event.kind, event.attributes["type"]):
            return False
        if model and not fnmatchcase(event.model, model):
            return False
        if status and not least <= event.status <= most:
            return False
        if identity and identity not in (event.id, event.correlation):
            return False
        return (not first or event.time >= first) and (not last or event.time < last)

    return chosen


def statuses(text: str) -> tuple[int, int]:
    """The least and the greatest status of `404`, `5xx` or `400-499`. Raises ValueError."""
    match = STATUSES.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no status; write 404, 5xx or 400-499")
    if match[1]:
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    return int(match[2]), int(match[3] or match[2])


def moment(text: str, now: datetime) -> str:
    """A time of RFC 3339, a date, or how long ago (`90s`, `15m`, `2h`, `1d`), as events write theirs. Raises ValueError."""
    if ago := AGO.fullmatch(text):
        time = now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    else:
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is no time; write 2026-11-25T09:30:00Z, 2026-11-25, or 15m for fifteen minutes ago"
            ) from None
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
