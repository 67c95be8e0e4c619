"""`kfunc validate`: every problem of a func.yaml at once, with its place."""

from pathlib import Path
from typing import Any

import click
import msgspec

from kfunc.cli.function import choose_runtime, find, model_file, runtime_of
from kfunc.cli.processes import present
from kfunc.config.complete import complete
from kfunc.config.field_path import show_path
from kfunc.config.load import load_function, read_function
from kfunc.config.locations import claim
from kfunc.config.report import to_json
from kfunc.config.source import Source, load_source
from kfunc.errors import ConfigError, ModelLoadError, Problem
from kfunc.handlers.registry import RUNTIMES

EPILOG = """\b
Example:
  kfunc validate examples/python-handler
  kfunc validate func.yaml --output json
"""
MODEL = ("inference", "model")
INVALID = 2


@click.command(epilog=EPILOG)
@click.argument("path", metavar="[DIR|FILE]", type=click.Path(path_type=Path), default=".")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result.")
def validate(path: Path, output: str) -> int:
    """Check the func.yaml in DIR (default: here), or FILE, and that its model is there.

    Each problem is named with line, column, field and what to do. Exit status 2 if there is any.
    """
    file = find(path)
    try:
        check(file)
    except ConfigError as error:
        if output == "text":
            raise
        click.echo(msgspec.json.encode({"valid": False, "problems": to_json(error)}))
        return INVALID
    click.echo(b'{"valid":true,"problems":[]}' if output == "json" else _summary(file))
    return 0


def check(file: Path) -> None:
    """Raises ConfigError with all problems of a func.yaml, its model's among them."""
    source = load_source(file)
    problems = []
    try:
        read_function(source)
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
    if not isinstance(uri, str) or claim(uri) or _value(source, "inference", "server") is not None:
        return []  # it is on the cluster
    path = (*MODEL, "uri")
    place = source.place(path)
    problems = []
    if runtime not in RUNTIMES:
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


def _summary(file: Path) -> str:
    function = load_function(file)
    model = function.inference.model
    runtime, why = runtime_of(function, file.parent)
    config = complete(function, runtime)
    return f"{file} is valid: {config.function}, {model.uri} with {runtime} ({why}); processes: {', '.join(present(config))}"
