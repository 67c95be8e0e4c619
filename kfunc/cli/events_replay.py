"""`kfunc events replay`: logged events to a sink, or logged requests to a function, whose answers are compared."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec
from click.core import ParameterSource

from kfunc.cli.events_choice import Faults, chosen_events, chosen_exchanges, filters
from kfunc.config.field_path import without_login
from kfunc.event_log.choosing import Choice
from kfunc.event_log.replaying import DIFFERENT, FAILED, SAME, UNCOMPARED, Outcome, Summary
from kfunc.event_log.stored import Stored
from kfunc.protocol.compare import TOLERANCE

if TYPE_CHECKING:
    from kfunc.event_log.resending import Counts

EPILOG = """\b
Example:
  kfunc events replay yesterday.jsonl --to http://127.0.0.1:8081 --compare --fail
  kfunc events replay .kfunc/spool --to broker:default
  kfunc events replay s3://bucket/events --since 1d --to http://iris.default.example.com --rate 50
"""
UNEQUAL = 1
FOR_FUNCTIONS = ("compare", "endpoint", "tolerance", "connections")
GIVEN = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
MOST_DIFFERENCES = 5


@click.command(epilog=EPILOG)
@click.argument("source", metavar="SOURCE")
@filters
@click.option("--to", "target", metavar="URL|SINK", required=True, help="A function's URL, or a sink such as nats://….")
@click.option("--events", "as_events", is_flag=True, help="POST the events themselves to the URL, not their requests.")
@click.option("--compare", is_flag=True, help="Say where the new answers differ from the logged ones.")
@click.option("--tolerance", type=click.FloatRange(0), default=TOLERANCE, show_default=True, help="Of numbers, relative.")
@click.option("--fail", is_flag=True, help="Exit status 1 also if an answer differs, or not all of SOURCE can be read.")
@click.option("--rate", type=click.FloatRange(0), default=0.0, help="So many requests or events a second; 0: no limit.")
@click.option("--connections", type=click.IntRange(1, 256), default=4, show_default=True, help="Requests at once; 1: in order.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.001),
    default=60.0,
    show_default=True,
    help="Seconds for an answer; of a sink, how long it may take nothing.",
)
@click.option("--endpoint", metavar="PATH", default="", help="Send all requests to this path, not to the logged one.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result.")
def replay(
    source: str,
    chosen: Choice,
    target: str,
    as_events: bool,
    compare: bool,
    tolerance: float,
    fail: bool,
    rate: float,
    connections: int,
    timeout_s: float,
    endpoint: str,
    output: str,
) -> int:
    """Send the requests logged in SOURCE to a function again, or the events to a sink.

    SOURCE is what `kfunc events tail` reads. To a function each request goes as it came, to the
    path that it came to; with --compare the new answers are held against the logged ones.
    Exit status 1 if a request gets no answer, or the sink refuses an event.
    """
    faults = Faults()
    if as_events or not target.startswith(("http://", "https://")):
        if given := [f"--{name}" for name in FOR_FUNCTIONS if click.get_current_context().get_parameter_source(name) in GIVEN]:
            raise click.UsageError(f"{' and '.join(given)} is for requests to a function: --to http(s)://…, without --events")
        counts = _to_sink(chosen_events(source, chosen, faults), target, rate, timeout_s, output)
        return UNEQUAL if counts.refused or (fail and faults.count) else 0
    from kfunc.event_log.sending import Replay

    run = Replay(target, connections=connections, rate=rate, timeout_s=timeout_s, endpoint=endpoint, tolerance=tolerance)
    summary = Summary()

    def tell(outcome: Outcome) -> None:
        if not compare and outcome.verdict in (SAME, DIFFERENT, UNCOMPARED):
            outcome.verdict, outcome.differences, outcome.reason = UNCOMPARED, [], ""
        summary.add(outcome)
        _tell(outcome, output)

    run.run(chosen_exchanges(source, chosen, faults), tell)
    _summarize(summary, output, compare=compare)
    return UNEQUAL if summary[FAILED] or (fail and (summary[DIFFERENT] or faults.count)) else 0


def _tell(outcome: Outcome, output: str) -> None:
    """An answer that differs, and a request without one."""
    if outcome.verdict not in (DIFFERENT, FAILED):
        return
    if output == "json":
        click.echo(msgspec.json.encode(outcome))
        return
    click.echo(f"{outcome.verdict} {outcome.correlation} {outcome.endpoint} {outcome.reason}".rstrip())
    for difference in outcome.differences[:MOST_DIFFERENCES]:
        click.echo(f"    {difference}")
    if len(outcome.differences) > MOST_DIFFERENCES:
        click.echo(f"    and {len(outcome.differences) - MOST_DIFFERENCES} more")


def _summarize(summary: Summary, output: str, *, compare: bool) -> None:
    document = summary.document()
    if output == "json":
        click.echo(msgspec.json.encode({"summary": document}))
        return
    counts = {name: count for name, count in document.items() if isinstance(count, int)}
    if not compare:
        counts["answered"] = counts.pop(UNCOMPARED)
    click.echo(", ".join(f"{count} {name}" for name, count in counts.items() if count) or "no request was found")
    for reason, count in document["reasons"].items():
        click.echo(f"  {reason} ({count})")
    for place, count in document["places"].items():
        click.echo(f"  differs in {place} ({count})")
    if "p50_recorded_ms" in document and "p50_answered_ms" in document:
        click.echo(f"  median of the answers' times: {document['p50_answered_ms']} ms, logged {document['p50_recorded_ms']} ms")


def _to_sink(events: Iterator[Stored], target: str, rate: float, timeout_s: float, output: str) -> "Counts":
    import asyncio

    from kfunc.event_log.resending import resend

    def say(text: str) -> None:
        click.echo(text, err=True)

    counts = asyncio.run(resend(events, target, rate, os.environ, patience_s=timeout_s, say=say))
    if output == "json":
        click.echo(msgspec.json.encode(counts))
    else:
        refused = f", {counts.refused} refused" if counts.refused else ""
        click.echo(f"{counts.delivered} events delivered to {without_login(target)}{refused}")
        for reason in counts.reasons:
            click.echo(f"  refused: {reason}")
    return counts
