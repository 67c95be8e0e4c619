"""`kfunc events`: the commands for events that the logger has kept or sent. Each is imported when it is used."""

import click

from kfunc.cli.lazy_group import LazyGroup

SUBCOMMANDS = {
    "tail": ("kfunc.cli.events_tail:tail", "Show events, the last ones or all that are meant."),
    "verify": ("kfunc.cli.events_verify:verify", "Check that no event is missing."),
    "replay": ("kfunc.cli.events_replay:replay", "Send events to a sink, or their requests to a function."),
}
EPILOG = """\b
Example:
  kfunc events tail -f
  kfunc events verify .kfunc/events.jsonl
  kfunc events replay yesterday.jsonl --to http://127.0.0.1:8081 --compare
"""


@click.group(cls=LazyGroup, table=SUBCOMMANDS, epilog=EPILOG)
def events() -> None:
    """Look at logged requests and responses, check that none is missing, send them again."""
