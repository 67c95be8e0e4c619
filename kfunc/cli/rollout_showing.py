"""A rollout in words and as JSON: one report for `status`, `watch` and whoever drives. Pure."""

import time
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.cli.on_cluster import table
from kfunc.rollout.analysis import milliseconds, percent
from kfunc.rollout.experiment import Row
from kfunc.rollout.experiment import table as compare
from kfunc.rollout.layout import layout
from kfunc.rollout.record import Record
from kfunc.rollout.state import Check, Event, Rollout
from kfunc.rollout.statistics import Interval

SHOWN_EVENTS = 12


def report(record: Record, now: float) -> str:
    """The whole state for a reader."""
    rollout = record.rollout
    lines = [headline(rollout, now)]
    if rollout.reason:
        lines.append(f"reason: {rollout.reason}")
    if not rollout.has_ended:
        there = record.driver.is_there(now)
        lines.append(f"driven by: {record.driver.holder}" if there else "driven by: nobody; `kfunc rollout resume` goes on")
        lines += [f"waits for: {rollout.why}"] if rollout.why else []
    lines += ["", shares(rollout)]
    if rollout.checks and not rollout.has_ended:
        lines += ["", "checks of this step:", *(f"  {check.verdict:<7} {check.text}" for check in rollout.checks)]
    return "\n".join([*lines, "", *(event_line(event) for event in rollout.events[-SHOWN_EVENTS:])])


def headline(rollout: Rollout, now: float) -> str:
    """One line: what it is, how far, for how long."""
    end = rollout.ended_at or now
    paused = ", paused" if rollout.paused else ""
    return f"{rollout.function}: {rollout.strategy} {rollout.phase}{_step(rollout)}{paused}, {end - rollout.began_at:.0f} s"


def _step(rollout: Rollout) -> str:
    if rollout.strategy == "canary" and rollout.phase == "running":
        steps = rollout.settings.steps
        return f", step {rollout.step + 1} of {len(steps)} ({steps[rollout.step]} %)"
    return ""


def shares(rollout: Rollout) -> str:
    """The revisions as a table; of a comparison with its statistics."""
    if rollout.strategy == "ab":
        return comparison(compare(rollout))
    weights = percents(rollout)
    rows = []
    for row in compare(rollout):
        counted = [
            f"{row.requests:.0f}",
            percent(row.error_rate.value),
            milliseconds(row.p50.value),
            milliseconds(row.p99.value),
        ]
        figures = counted if row.requests else ["0", "-", "-", "-"]
        rows.append([row.variant, row.revision, f"{weights[row.variant]} %", *figures])
    return table(["tag", "revision", "traffic", "requests", "errors", "p50", "p99"], rows)


def percents(rollout: Rollout) -> dict[str, int]:
    """What each share has of the traffic, as it is wanted now."""
    wanted = layout(rollout)
    if wanted.is_split:
        return wanted.weights
    return {share.tag: 100 if share.tag == wanted.plain else 0 for share in rollout.shares}


def comparison(rows: list[Row]) -> str:
    """A/B/N: each variant with intervals, and how it differs from the first."""
    header = ["variant", "revision", "traffic", "requests", "error rate (95 %)", "p99 (95 %)", "mean", "against the first"]
    return table(
        header,
        [
            [
                row.variant,
                row.revision,
                f"{row.weight} %",
                f"{row.requests:.0f}",
                _interval(row.error_rate, percent),
                _interval(row.p99, milliseconds) if row.requests else "-",
                milliseconds(row.mean_s),
                _against(row),
            ]
            for row in rows
        ],
    )


def _interval(found: Interval, shown: Any) -> str:
    most = f"to {shown(found.high)}" if found.high != float("inf") else "or more"
    return f"{shown(found.value)} ({shown(found.low)} {most})"


def _against(row: Row) -> str:
    if row.gap is None or row.chance is None:
        return "-"
    verdict = "differs" if row.is_different else "no sure difference"
    return (
        f"{100 * row.gap.value:+.3g} % ({100 * row.gap.low:+.3g} to {100 * row.gap.high:+.3g}), p={row.chance:.3g}: {verdict}"
    )


def event_line(event: Event) -> str:
    """`14:03:22  5 % of the requests`, in local time."""
    return f"{time.strftime('%H:%M:%S', time.localtime(event.at))}  {event.text}"


class Document(Struct, frozen=True, kw_only=True):
    """A rollout for a program. Where none was needed only what is known has a value, and the reason says why."""

    name: str
    function: str
    namespace: str
    id: str | None = None
    strategy: str | None = None
    phase: str | None = None
    paused: bool | None = None
    step: int | None = None
    steps: list[int] | None = None
    reason: str
    why: str | None = None
    winner: str | None = None
    driver: str | None = None
    began_at: float | None = None
    ended_at: float | None = None
    shares: list[dict[str, Any]] | None = None
    checks: list[Check] | None = None
    events: list[Event] | None = None


def document(record: Record, now: float) -> Document:
    """The state of a rollout; steps are a canary's."""
    rollout = record.rollout
    weights = percents(rollout)
    rows = {row.variant: msgspec.to_builtins(row) for row in compare(rollout)}
    return Document(
        name=rollout.function,
        function=rollout.function,
        namespace=rollout.namespace,
        id=rollout.id,
        strategy=rollout.strategy,
        phase=rollout.phase,
        paused=rollout.paused,
        step=rollout.step if rollout.strategy == "canary" else None,
        steps=rollout.settings.steps if rollout.strategy == "canary" else None,
        reason=rollout.reason,
        why=rollout.why,
        winner=rollout.winner,
        driver=record.driver.holder if record.driver.is_there(now) else "",
        began_at=rollout.began_at,
        ended_at=rollout.ended_at or None,
        shares=[rows[share.tag] | {"traffic": weights[share.tag]} for share in rollout.shares],
        checks=rollout.checks,
        events=rollout.events,
    )
