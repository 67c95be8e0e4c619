"""Causes and phases as lines for people and as JSON for programs. Pure."""

from typing import Any

from kfunc.cluster.causes import Cause
from kfunc.cluster.diagnosis import Diagnosis


def cause_lines(cause: Cause) -> list[str]:
    """The cause, what to do, and the lines of a log that belong to it."""
    advice = [f"  {cause.advice}"] if cause.advice else []
    return [cause.text, *advice, *(f"  | {line}" for line in cause.lines)]


def to_json(diagnosis: Diagnosis, causes: list[Cause] | None = None) -> dict[str, Any]:
    """A diagnosis as an object; `causes` are others than its own."""
    listed = [
        {"code": cause.code, "text": cause.text, "advice": cause.advice, "log": cause.lines}
        for cause in (diagnosis.causes if causes is None else causes)
    ]
    return {
        "phase": diagnosis.phase,
        "detail": diagnosis.detail,
        "ready": diagnosis.phase == "ready",
        "revision": diagnosis.revision,
        "causes": listed,
    }


def unknown() -> dict[str, Any]:
    """The same keys where nothing was looked at."""
    return dict.fromkeys(to_json(Diagnosis("missing")))
