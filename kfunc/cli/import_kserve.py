"""`kfunc import-kserve`: InferenceServices → func.yaml files, and what was not carried over."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from kfunc.cli.function import FILE_NAME
from kfunc.config.field_path import printable, show_text
from kfunc.config.load import read_function
from kfunc.config.report import to_json
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, Problem, StartupError
from kfunc.kserve.service import KIND, Imported, import_services, why_ignored
from kfunc.manifests.yaml_text import write

EPILOG = """\b
Example:
  kfunc import-kserve iris-isvc.yaml
  kubectl get inferenceservices -A -o yaml | kfunc import-kserve - -o functions
"""
MAX_BYTES = 16 * 1024 * 1024
HEADINGS = {"changed": "changed", "left": "not carried over"}


@click.command("import-kserve", epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("-o", "directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), default=".", help="Where to.")
@click.option("--force", is_flag=True, help=f"Overwrite an existing {FILE_NAME}.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the report.")
def import_kserve(file: Path, directory: Path, force: bool, output: str) -> int:
    """Write DIR/NAME/func.yaml for each InferenceService in FILE (YAML or JSON, - for stdin).

    ServingRuntimes in the same file are used where a service names them. What has no counterpart is listed with
    the reason. Exit status 1 if a func.yaml needs a hand before `kfunc validate` takes it.
    """
    services, others = import_services(_documents(file), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
    if not services:
        found = f" (found {printable(', '.join(others))})" if others else ""
        raise StartupError(f"{file} has no {KIND}{found}: kubectl get inferenceservice NAME -o yaml prints one")
    named = [service for service in services if _is_folder(service.name)]
    nameless = [service.name for service in services if not _is_folder(service.name)]
    targets = [_target(service, directory, force) for service in named]
    twice = sorted({str(target) for target in targets if targets.count(target) > 1})
    if twice:
        raise StartupError(
            f"several {KIND}s would be {twice[0]}: give those of one namespace at a time"
            " (kubectl get inferenceservices -n NAME -o yaml)"
        )
    reports = [_write(service, target) for service, target in zip(named, targets, strict=True)]
    for name in nameless:
        click.echo(f"error: an {KIND} called {show_text(name)}: give it a metadata.name that a folder can have", err=True)
    if output == "json":
        click.echo(msgspec.json.encode({"functions": reports, "ignored": others}))
    else:
        for report in reports:
            _show(report)
        for other in others:
            click.echo(f"ignored: {printable(other)}: {why_ignored(other)}")
    return int(bool(nameless) or any(report["problems"] for report in reports))


def _documents(file: Path) -> list[Any]:
    """The documents of a file; a List of kubectl's counts as its items. Raises StartupError."""
    shown = "standard input" if str(file) == "-" else file
    try:
        content = sys.stdin.buffer.read(MAX_BYTES + 1) if str(file) == "-" else file.read_bytes()
        if len(content) > MAX_BYTES:
            raise StartupError(f"{shown} has more than {MAX_BYTES >> 20} MiB: give its services in several files")
        documents = list(YAML(typ="safe", pure=True).load_all(content.decode()))
    except OSError as error:
        raise StartupError(f"cannot read {shown}: {error.strerror}") from None
    except UnicodeError:
        raise StartupError(f"{shown} is not text in UTF-8") from None
    except YAMLError as error:
        raise StartupError(f"{shown} is not YAML: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError, AssertionError):
        raise StartupError(f"{shown} is not YAML that can be read") from None
    lists = [
        each.get("items") if isinstance(each, dict) and str(each.get("kind")).endswith("List") else [each] for each in documents
    ]
    return [each for items in lists for each in (items if isinstance(items, list) else [])]


def _is_folder(name: str) -> bool:
    return bool(name) and name.isprintable() and "/" not in name and not name.startswith(".")


def _target(service: Imported, directory: Path, force: bool) -> Path:
    target = directory / service.name / FILE_NAME
    if target.exists() and not force:
        raise StartupError(f"{target} exists; --force overwrites it")
    return target


def _write(service: Imported, target: Path) -> dict[str, Any]:
    text = write(service.function)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StartupError(f"cannot write {error.filename or target}: {error.strerror}") from None
    problems: list[Problem] = []
    try:
        read_function(parse_source(text.encode(), str(target)))
    except ConfigError as error:
        problems = error.problems
    shown = to_json(ConfigError(problems, str(target), text)) if problems else []
    return {"name": service.name, "file": str(target), "notes": msgspec.to_builtins(service.notes), "problems": shown}


def _show(report: dict[str, Any]) -> None:
    click.echo(f"wrote {report['file']}")
    for kind, heading in HEADINGS.items():
        for note in report["notes"]:
            if note["kind"] == kind:
                click.echo(f"  {heading}: {printable(note['path'])}: {printable(note['text'])}")
    for problem in report["problems"]:
        click.echo(f"  to mend: line {problem['line']}: {problem['path']}: {problem['message']}")
    click.echo(f"next: kfunc validate {Path(report['file']).parent}")
