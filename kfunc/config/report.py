"""A ConfigError as text for people and as plain data for programs. Pure; no colours."""

import re
from typing import Any
from unicodedata import combining, east_asian_width

from kfunc.config.field_path import printable
from kfunc.errors import ConfigError, Problem

MAX_WIDTH = 120
BEFORE = 40
"""Characters of a long line that are shown before the fault."""


def render(error: ConfigError) -> str:
    """One entry per problem: place, field and message, the line with a caret, what to do."""
    lines = re.split(r"\r\n|\r|\n", error.text)
    return "\n".join(_entry(problem, error.source, lines) for problem in error.problems)


def to_json(error: ConfigError) -> list[dict[str, Any]]:
    """One object per problem; `line` and `column` are 0 where there is no place."""
    return [
        {
            "source": error.source,
            "line": problem.line,
            "column": problem.column,
            "path": problem.path,
            "message": problem.message,
            "suggestion": problem.suggestion,
        }
        for problem in error.problems
    ]


def _entry(problem: Problem, source: str, lines: list[str]) -> str:
    place = f"{source}:{problem.line}:{problem.column}" if problem.line else source
    entry = [printable(": ".join(part for part in (place, problem.path, problem.message) if part))]
    if 0 < problem.line <= len(lines) and lines[problem.line - 1].strip():
        entry += _excerpt(lines[problem.line - 1], problem.column - 1)
    if problem.suggestion:
        entry.append(f"    {printable(problem.suggestion)}")
    return "\n".join(entry)


def _excerpt(line: str, offset: int) -> list[str]:
    start = 0 if len(line) <= MAX_WIDTH else max(0, offset - BEFORE)
    shown = "".join(character if character.isprintable() else " " for character in line[start : start + MAX_WIDTH])
    return [f"    {shown.rstrip()}", f"    {' ' * sum(_width(character) for character in shown[: offset - start])}^"]


def _width(character: str) -> int:
    """Columns that a terminal gives to it."""
    return 0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1
