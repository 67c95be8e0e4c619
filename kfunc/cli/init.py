"""`kfunc init`: a func.yaml for a model, or for a handler.py that it writes as a start."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

import click

from kfunc.cli.function import FILE_NAME
from kfunc.cli.templates import HANDLER_PY, func_yaml
from kfunc.config.function import SPEC_VERSION
from kfunc.config.load import read_function
from kfunc.config.names import is_service_name, service_name
from kfunc.config.source import parse_source
from kfunc.errors import StartupError
from kfunc.handlers.layout import detect
from kfunc.handlers.registry import RUNTIMES, is_model

EPILOG = """\b
Example:
  kfunc init iris --model model.onnx
  kfunc init greeter
"""
HANDLER = "handler.py"
PICKLES = (".joblib", ".pkl")


def _check_name(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_service_name(value):
        raise click.BadParameter(f"{value!r}: at most 63 lower-case letters, digits and -, a letter first")
    return value


@click.command(epilog=EPILOG)
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--model", metavar="FILE", type=click.Path(path_type=Path), help="Model; copied if it is not in DIR.")
@click.option("--runtime", type=click.Choice(list(RUNTIMES)), help="What runs the model; by default its name decides.")
@click.option("--name", callback=_check_name, help="Name of the function; by default the folder's.")
@click.option("--trust", is_flag=True, help="Allow a model that is a pickle, which can run any code.")
@click.option("--force", is_flag=True, help=f"Overwrite an existing {FILE_NAME}.")
def init(directory: Path, model: Path | None, runtime: str | None, name: str | None, trust: bool, force: bool) -> None:
    """Write DIR/func.yaml (default: here) for a model.

    Without --model it is for the handler.py in DIR, else for the one model there; a handler.py is written if there is neither.
    """
    target = directory / FILE_NAME
    if target.exists() and not force:
        raise StartupError(f"{target} exists; --force overwrites it")
    if model is None and runtime != "python":
        model = _only_model(directory, runtime or "auto")
    if model is None and runtime not in (None, "python"):
        raise click.UsageError(f"--runtime {runtime} needs --model")
    if model is not None and not model.exists():
        raise StartupError(f"the model {model} does not exist")
    kind, why = (runtime, "as asked") if runtime else detect(str(model or HANDLER))
    try:
        trusted = _vouch(model, trust) if model else {}
        directory.mkdir(parents=True, exist_ok=True)
        file = _place(model, directory) if model else _handler(directory)
        settings = {"uri": f"./{file.relative_to(directory.resolve())}"} | ({"runtime": runtime} if runtime else {}) | trusted
        created = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        text = func_yaml(SPEC_VERSION, name or service_name(directory.resolve().name), created, settings)
        read_function(parse_source(text.encode(), str(target)))  # a path may be one that func.yaml does not take
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StartupError(f"cannot write {error.filename or directory}: {error.strerror}") from None
    click.echo(f"wrote {target}: {file.name} with {kind} ({why})\nnext: kfunc run {directory}")


def _only_model(directory: Path, runtime: str) -> Path | None:
    """The model that lies in the folder, unless a handler.py is there, whose it may be. Raises StartupError for several."""
    if not directory.is_dir() or (directory / HANDLER).exists():
        return None
    found = sorted(each for each in directory.iterdir() if each.is_file() and is_model(each, runtime))
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise StartupError(
            f"{directory} holds {names}: name one with --model, or serve all by a handler.py of your own (--runtime python)"
        )
    return found[0] if found else None


def _place(model: Path, directory: Path) -> Path:
    """The model as a path within the function's folder. Raises StartupError."""
    file = model.resolve()
    if file.is_relative_to(directory.resolve()):
        return file
    if file.is_dir():
        raise StartupError(f"{model} is a folder outside {directory}; move it there")
    copy = directory.resolve() / file.name
    if copy.exists():
        raise StartupError(f"{directory / file.name} exists; give that as --model, or move it away")
    shutil.copyfile(file, copy)
    click.echo(f"copied {model} to {directory / file.name}")
    return copy


def _handler(directory: Path) -> Path:
    file = directory.resolve() / HANDLER
    if not file.exists():
        file.write_text(HANDLER_PY, encoding="utf-8")
        click.echo(f"wrote {directory / HANDLER}")
    return file


def _vouch(file: Path, trust: bool) -> dict[str, str]:
    """What func.yaml must say about a pickle. Raises StartupError unless the user trusts it."""
    if file.suffix.lower() not in PICKLES:
        return {}
    if not trust:
        raise StartupError(f"{file.name} is a pickle and can run any code: save it with skops, or pass --trust if it is yours")
    with file.open("rb") as content:
        return {"trust": "true", "digest": f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"}
