"""Figures and how they are shown: a value, what it is allowed to be, and whether it is."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Literal

import msgspec

Bound = Literal["≤", "≥", ""]


class Figure(msgspec.Struct):
    """One measured value. `seen` says what it was made of: both sides of a ratio, p99, samples."""

    name: str
    value: float
    unit: str
    bound: Bound = ""
    target: float = 0.0
    seen: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the target is met; None without one."""
        if not self.bound:
            return None
        return self.value <= self.target if self.bound == "≤" else self.value >= self.target


def interleaved(rounds: int, measures: Sequence[Callable[[], float]]) -> list[list[float]]:
    """Run A B … A B …: for each measure its samples, round by round, so that drift meets all alike."""
    samples: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for measure, kept in zip(measures, samples, strict=True):
            kept.append(measure())
    return samples


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios: a round that something disturbed is one vote."""
    return median(a / b for a, b in zip(over, under, strict=True))


def table(figures: Sequence[Figure]) -> str:
    """Figures as aligned text."""
    rows = [("figure", "value", "target", "", "seen")]
    for figure in figures:
        verdict = {True: "ok", False: "MISS", None: ""}[figure.ok]
        target = f"{figure.bound} {_number(figure.target)}" if figure.bound else ""
        rows.append((figure.name, f"{_number(figure.value)} {figure.unit}".strip(), target, verdict, figure.seen))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    padded = [[*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]] for row in rows]
    lines = ["  ".join(row).rstrip() for row in padded]
    return "\n".join([lines[0], "-" * max(len(line) for line in lines), *lines[1:]])


def as_json(figures: Sequence[Figure]) -> str:
    """Figures as a JSON list; `ok` is null where there is no target."""
    rows = [{**msgspec.to_builtins(figure), "ok": figure.ok} for figure in figures]
    return msgspec.json.format(msgspec.json.encode(rows), indent=2).decode()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
