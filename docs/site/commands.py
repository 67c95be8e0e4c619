"""The reference of the command line: the help of each command, as the program prints it."""

from collections.abc import Iterator
from importlib import import_module

import click

from kfunc.cli.app import COMMANDS, group


def page() -> str:
    """Markdown."""
    parts = [
        "# Commands",
        "Also installed as `kn-kfunc`, so `kn kfunc …` is the same. "
        "Exit status 0 is good, 1 failed, 2 usage or an invalid func.yaml.",
    ]
    for name, (place, summary) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        command = getattr(import_module(module), attribute)
        parts += [f"## kfunc {name}", summary]
        parts += [f"```text\n{text}\n```" for text in helps(command, ["kfunc", name])]
    return "\n\n".join(parts) + "\n"


def helps(command: click.Command, path: list[str]) -> Iterator[str]:
    """The help of a command, and of those in it."""
    context = click.Context(command, info_name=" ".join(path), max_content_width=100, terminal_width=100)
    context.help_option_names = group.context_settings["help_option_names"]
    yield command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from helps(inner, [*path, name])
