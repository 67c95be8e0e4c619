"""The commands that README and docs show for a cluster have the options that they are shown with."""

import shlex
from pathlib import Path

import click
import pytest

from kfunc.cli.app import group

ROOT = Path(__file__).parents[2]
NAMES = ("deploy", "status", "logs", "revisions", "delete", "doctor", "debug", "invoke")


def commands() -> list[str]:
    """Each `$ kfunc NAME …`, as it stands there."""
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    lines = [line.removeprefix("$ ") for text in texts for line in text.splitlines() if line.startswith("$ kfunc ")]
    return list(dict.fromkeys(line for line in lines if line.split()[1] in NAMES))


@pytest.mark.parametrize("line", commands())
def test_a_command_in_the_documentation_is_understood(line: str) -> None:
    words = shlex.split(line.partition("|")[0], comments=True)[1:]
    words = words[: words.index("&")] if "&" in words else words
    command = group.get_command(click.Context(group), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])
