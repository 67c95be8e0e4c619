"""`kfunc validate`: every problem of a func.yaml at once, with its place."""

from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from kfunc.cli.function import choose_runtime, find, model_file, runtime_of
from kfunc.cli.processes import present
from kfunc.config.complete import complete
from kfunc.config.deployment import Mode
from kfunc.config.field_path import show_path
from kfunc.config.load import load_function, read_function
from kfunc.config.locations import claim
from kfunc.config.model_addresses import is_remote
from kfunc.config.report import to_json
from kfunc.config.source import Source, load_source
from kfunc.errors import ConfigError, ModelLoadError, Problem
from kfunc.handlers.registry import RUNTIMES
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Plan, Release

EPILOG = """\b
Example:
  kfunc validate examples/python-handler
  kfunc validate func.yaml --output json
"""
MODEL = ("inference", "model")
INVALID = 2
PLACEHOLDER = "image"


@click.command(epilog=EPILOG)
@click.argument("path", metavar="[DIR|FILE]", type=click.Path(path_type=Path), default=".")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result.")
def validate(path: Path, output: str) -> int:
    """Check the func.yaml in DIR (default: here), or FILE, and that its model is there.

    Each problem is named with line, column, field and what to do. Exit status 2 if there is any.
    Of a valid file it says what the cluster must allow for it, with the command that does.
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
        click.echo(msgspec.json.encode({"valid": True, "problems": [], "needs": listed}))
        return 0
    click.echo(valid.summary)
    for note in needs:
        click.echo(f"{note.text}:\n  {note.command}")
    return 0


def check(file: Path, mode: Mode | None = None) -> None:
    """Raises ConfigError with all problems of a func.yaml, its model's among them; `mode` is another than its own."""
    source = load_source(file)
    problems = []
    try:
        read_function(source, mode)
    except ConfigError as error:
        problems = error.problems
    reported = {problem.path for problem in problems}
    problems += [problem for problem in _model_problems(source, file.parent) if problem.path not in reported]
    if problems:
        in_order = sorted(problems, key=lambda problem: (not problem.line, problem.line, problem.column))
        raise ConfigError(in_order, source.name, source.text)


def _model_problems(source: Source, directory: Path) -> list[Problem]:
    """What is wrong with the model as far as the source names one, other problems or not."""
    uri, runtime = _value(source, *MODEL, "uri"), _value(source, *MODEL, "runtime")
    if not isinstance(uri, str) or claim(uri) or is_remote(uri) or _value(source, "inference", "server") is not None:
        return []  # it is on the cluster
    path = (*MODEL, "uri")
    place = source.place(path)
    problems = []
    if runtime not in RUNTIMES and _value(source, *MODEL, "sealed") is not True:
        try:
            choose_runtime(model_file(directory, uri), "auto")
        except ModelLoadError as error:
            problems.append(Problem(error.message, show_path(path), place.line, place.column))
    file = model_file(directory, uri)
    if not problems and not file.exists():
        problems.append(Problem(f"there is no {file}", show_path(path), place.line, place.column, "correct the path"))
    return problems


def _value(source: Source, *path: str) -> Any:
    value = source.value
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


class Valid(Struct, frozen=True):
    """A file without problems: its plan, and what it is in one line."""

    plan: Plan
    summary: str


def _valid(file: Path) -> Valid:
    function = load_function(file)
    uri = function.inference.model.uri
    runtime, why = runtime_of(function, file.parent)
    config = complete(function, runtime)
    parts = f"{config.function}, {uri} with {runtime} ({why}); processes: {', '.join(present(config))}"
    # An image may be named later, by --image.
    plan = Plan(function, config, Release(image=PLACEHOLDER), function.inference.mode)
    return Valid(plan, f"{file} is valid: {parts}")
