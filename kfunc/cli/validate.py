"""`kfunc validate`: every problem of a func.yaml at once, with its place."""

from pathlib import Path

import click
import msgspec
from msgspec import Struct

from kfunc.cli.contradictions import contradictions
from kfunc.cli.function import Chosen, find, lines, others, runtime_of
from kfunc.cli.model_problems import model_problems, name_problems
from kfunc.cli.processes import present
from kfunc.config.complete import complete
from kfunc.config.deployment import Mode
from kfunc.config.load import load_function, read_function
from kfunc.config.report import to_json
from kfunc.config.source import load_source
from kfunc.errors import ConfigError
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Plan, Release

EPILOG = """\b
Example:
  kfunc validate examples/python-handler
  kfunc validate func.yaml --output json
"""
INVALID = 2
PLACEHOLDER = "image"


@click.command(epilog=EPILOG)
@click.argument("path", metavar="[DIR|FILE]", type=click.Path(path_type=Path), default=".")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result.")
def validate(path: Path, output: str) -> int:
    """Check the func.yaml in DIR (default: here), or FILE, and that its model is there.

    Each problem is named with line, column, field and what to do. Exit status 2 if there is any.
    Of a valid file it says what runs each model, and why, and what the cluster must allow for it, with the command that does.
    """
    file = find(path)
    try:
        check(file)
    except ConfigError as error:
        if output == "text":
            raise
        click.echo(msgspec.json.encode({"valid": False, "problems": to_json(error)}))
        return INVALID
    valid = _valid(file)
    needs = [note for note in render(valid.plan).notes if note.setting]
    if output == "json":
        listed = [{"text": note.text, "command": note.command} for note in needs]
        click.echo(msgspec.json.encode({"valid": True, "problems": [], "needs": listed, "models": valid.models}))
        return 0
    click.echo(valid.summary)
    for line in lines(valid.models[1:]):
        click.echo(line)
    for note in needs:
        click.echo(f"{note.text}:\n  {note.command}")
    return 0


def check(file: Path, mode: Mode | None = None) -> None:
    """Raises ConfigError with all problems of a func.yaml, its model's among them; `mode` is another than its own."""
    source = load_source(file)
    problems = []
    function = None
    try:
        function = read_function(source, mode)
    except ConfigError as error:
        problems = error.problems
    reported = {problem.path for problem in problems}
    problems += [problem for problem in model_problems(source, file.parent) if problem.path not in reported]
    if function is not None and not problems:
        problems = name_problems(function, source, file.parent) + contradictions(function, source, file.parent)
    if problems:
        in_order = sorted(problems, key=lambda problem: (not problem.line, problem.line, problem.column))
        raise ConfigError(in_order, source.name, source.text)


class Valid(Struct, frozen=True):
    """A file without problems: its plan, what it is in one line, and its models, the default one first."""

    plan: Plan
    summary: str
    models: list[Chosen]


def _valid(file: Path) -> Valid:
    function = load_function(file)
    uri = function.inference.model.uri
    runtime, why = runtime_of(function, file.parent)
    config = complete(function, runtime)
    parts = f"{config.function}, {uri} with {runtime} ({why}); processes: {', '.join(present(config))}"
    # An image may be named later, by --image.
    plan = Plan(function, config, Release(image=PLACEHOLDER), function.inference.mode)
    models = [Chosen(config.model.name, uri, runtime, why), *others(function, file.parent)]
    return Valid(plan, f"{file} is valid: {parts}", models)
