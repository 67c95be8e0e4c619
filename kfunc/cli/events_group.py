"""`kfunc events`: the commands for events that the logger has kept or sent. Each is imported when it is used."""

from importlib import import_module

import click

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


class Subcommands(click.Group):
    """The literal table above as a click group."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            if ctx.resilient_parsing:
                return None
            raise click.NoSuchCommand(cmd_name, possibilities=SUBCOMMANDS, ctx=ctx)
        module, _, name = SUBCOMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in SUBCOMMANDS.items()])


@click.group(cls=Subcommands, epilog=EPILOG)
def events() -> None:
    """Look at logged requests and responses, check that none is missing, send them again."""
