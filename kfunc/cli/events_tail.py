"""`kfunc events tail`: events for a reader, or as JSON lines for a program."""

from collections import deque
from collections.abc import Iterable

import click

from kfunc.cli.events_choice import Counted, Faults, chosen_events, filters, source_argument
from kfunc.event_log.choosing import Choice
from kfunc.event_log.reading import Follower
from kfunc.event_log.showing import show, show_full
from kfunc.event_log.stored import Stored

EPILOG = """\b
Example:
  kfunc events tail -f
  kfunc events tail --status 5xx --since 1h
  kfunc events tail --id 8a711a5eb7728846-d --output full
  kfunc events tail s3://bucket/events --model iris --output json -n 0
"""


@click.command(epilog=EPILOG)
@source_argument
@filters
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="The last so many; 0: all.")
@click.option("--body/--no-body", default=True, help="The beginning of each body, or none.")
@click.option(
    "--output", type=click.Choice(["text", "full", "json"]), default="text", help="full: all of each event; json: lines."
)
def tail(source: str, chosen: Choice, follow: bool, lines: int, body: bool, output: str) -> int:
    """Show the last events of SOURCE (default: what `kfunc run` writes here).

    SOURCE is a file of JSON lines, a spool, a Parquet file, a folder of such, an s3:, gs: or az:
    address, or - for standard input.
    """
    faults, counted = Faults(), Counted(chosen)

    def tell(events: Iterable[Stored]) -> None:
        for event in events:
            if output == "full":
                click.echo(show_full(event))
            else:
                click.echo(event.text if output == "json" else show(event, body=body))

    follower = Follower(source, faults) if follow else None
    events = filter(chosen, follower.now()) if follower else chosen_events(source, counted, faults)
    tell(deque(events, lines) if lines else events)
    if follower:
        try:
            tell(filter(chosen, follower.later()))
        finally:
            follower.close()
    elif not counted.meant:
        none = f"none of the {counted.read} events in {source} is meant" if counted.read else f"there is no event in {source}"
        click.echo(none, err=True)
    return 0
