"""Where `kfunc run` sends events: `--sink`, else func.yaml's sink, else a file in the function's folder."""

from pathlib import Path
from urllib.parse import quote

import click
from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.locations import file_path
from kfunc.config.logger import Logger
from kfunc.config.pod import PodConfig
from kfunc.errors import StartupError

STATE_FOLDER = ".kfunc"
FILE_NAME = "events.jsonl"
SCHEMES = ("http://", "https://", "file:")


def parse_sink(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The value of `--sink`; a relative path is meant from where the command was typed."""
    if value is None:
        return None
    if not value.startswith(SCHEMES) or value in SCHEMES:
        raise click.BadParameter(f"{value!r} is not http://…, https://… or file:PATH")
    if not value.startswith("file:"):
        return value
    path = file_path(value)
    if path is None:
        raise click.BadParameter(f"{value!r} names no file of this machine; use file:PATH")
    return file_uri(Path(path).resolve())


def file_uri(path: Path) -> str:
    """The sink that is the file at `path`."""
    return f"file:{quote(str(path))}"


def with_sink(config: PodConfig, directory: Path, sink: str | None) -> PodConfig:
    """The configuration with the sink decided; naming a sink turns the logger on. Raises StartupError."""
    if config.logger is None and sink is None:
        return config
    logger = config.logger or Logger()
    if sink is None and logger.sink is not UNSET:
        return config
    return replace(config, logger=replace(logger, sink=sink or file_uri(_state_folder(directory) / FILE_NAME)))


def where(logger: Logger, directory: Path) -> str:
    """The sink for a reader: a URL, or the path of the file; relative ones are relative to the function's folder."""
    sink = str(logger.sink)
    return str(directory / (file_path(sink) or "")) if sink.startswith("file:") else sink


def _state_folder(directory: Path) -> Path:
    """A folder of our own beside func.yaml, which git does not see."""
    folder = directory / STATE_FOLDER
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise StartupError(f"cannot write to {folder}: {error.strerror}; --sink file:PATH puts the events elsewhere") from None
    return folder
