"""`kfunc events verify`: the ledger of a log, for auditors."""

import click
import msgspec

from kfunc.cli.events_choice import Faults, chosen_events, source_argument, times
from kfunc.event_log.choosing import Choice
from kfunc.event_log.ledger import Ledger, Report

EPILOG = """\b
Example:
  kfunc events verify
  kfunc events verify s3://bucket/events --since 2026-11-24 --until 2026-11-25 --output json
"""
INCOMPLETE = 1
NOTHING = "nothing to verify: no event is there"


@click.command(epilog=EPILOG)
@source_argument
@times
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result.")
def verify(source: str, chosen: Choice, output: str) -> int:
    """Check the events of SOURCE: pairs, gaps between calls, duplicates, counts.

    Exit status 1 if an event has no other half, calls are missing between two that are there, a line
    is no event, a part of a spool cannot be read, or there is no event at all. Duplicates are told
    and are no fault: their ids say that they are the same.
    """
    faults, ledger = Faults(), Ledger()
    for event in chosen_events(source, chosen, faults):
        ledger.add(event)
    ledger.unreadable = faults.count
    report = ledger.report()
    if output == "json":
        click.echo(msgspec.json.encode({"ok": report.ok, **msgspec.to_builtins(report)}))
    else:
        click.echo(_text(source, report))
    return 0 if report.ok else INCOMPLETE


def _text(source: str, report: Report) -> str:
    lines = [f"{source}: {report.events} events of {report.calls} calls"]
    if report.first_time:
        lines.append(f"  from {report.first_time} to {report.last_time}")
    for name in ("kinds", "statuses", "models"):
        counts = getattr(report, name)
        if counts:
            lines.append(f"  {name}: " + ", ".join(f"{key} {count}" for key, count in counts.items()))
    told = {"duplicates": report.duplicates, "truncated": report.truncated, "redacted": report.redacted}
    lines += [f"  {name}: {count}" for name, count in told.items() if count]
    faults = {
        "gaps": report.gaps,
        "events without their other half": report.unpaired,
        "lines or parts that are no events": report.unreadable,
    }
    lines += [f"  {name}: {count}" for name, count in faults.items() if count]
    lines += [f"    missing: {gap}" for gap in report.gaps_listed]
    lines += [f"    alone: {call}" for call in report.unpaired_listed]
    end = "ok: nothing is missing" if report.ok else "not complete" if report.events or report.unreadable else NOTHING
    return "\n".join([*lines, end])
