"""Where `kfunc run` sends events: `--sink`, else func.yaml's sink, else a file in the function's folder."""

from pathlib import Path
from urllib.parse import quote

import click
from msgspec import UNSET
from msgspec.structs import replace

from kfunc.config.field_path import without_login
from kfunc.config.locations import file_path
from kfunc.config.logger import MEMORY, Logger, sinks_of
from kfunc.config.pod import PodConfig
from kfunc.config.sink_addresses import SinkFault, targets
from kfunc.config.sink_addresses import parse_sink as read_address
from kfunc.errors import StartupError

STATE_FOLDER = ".kfunc"
FILE_NAME = "events.jsonl"
SPOOL_FOLDER = "spool"


def parse_sink(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """The value of `--sink`; a relative path is meant from where the command was typed."""
    if value is None:
        return None
    try:
        address = read_address(value)
    except SinkFault as fault:
        raise click.BadParameter(str(fault)) from None
    return file_uri(Path(address.path).resolve()) if address.scheme == "file" else value


def file_uri(path: Path) -> str:
    """The sink that is the file at `path`."""
    return f"file:{quote(str(path))}"


def with_sink(config: PodConfig, directory: Path, sink: str | None) -> PodConfig:
    """The configuration with sinks and spool decided; naming a sink turns the logger on. Raises StartupError."""
    if config.logger is None and sink is None:
        return config
    logger = config.logger or Logger()
    if sink is not None:
        logger = replace(logger, sink=sink, sinks=[])
    elif not sinks_of(logger):
        logger = replace(logger, sink=file_uri(_state_folder(directory) / FILE_NAME))
    return replace(config, logger=_with_spool(logger, directory))


def _with_spool(logger: Logger, directory: Path) -> Logger:
    """The spool on this machine: no volume can be claimed here, and no pod waits for one."""
    if logger.spool is not UNSET and logger.spool != MEMORY and not logger.spool.startswith("pvc://"):
        return logger
    try:
        folder = _state_folder(directory)
    except StartupError:
        folder = directory / STATE_FOLDER  # the logger says that it keeps its events in memory
    return replace(logger, spool=str(folder / SPOOL_FOLDER))


def where(logger: Logger, directory: Path) -> str:
    """The sinks for a reader: URLs, or the paths of files; relative ones are relative to the function's folder."""
    return ", ".join(_where(sink.to, directory) for sink in sinks_of(logger))


def written(logger: Logger, directory: Path) -> list[Path]:
    """The files and folders of this machine that the logger writes."""
    files = [path for each in targets(logger) if each.startswith("file:") and (path := file_path(each))]
    spool = [] if logger.spool is UNSET else [logger.spool]
    return [(directory / each).resolve() for each in (*files, *spool)]


def _where(sink: str, directory: Path) -> str:
    return str(directory / (file_path(sink) or "")) if sink.startswith("file:") else without_login(sink)


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
