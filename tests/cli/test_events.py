from pathlib import Path

import click
import msgspec
import pytest
from msgspec import UNSET

from kfunc.cli.events import parse_sink, where, with_sink
from kfunc.cli.run import run
from kfunc.config.complete import complete
from kfunc.config.load import load_function
from kfunc.config.logger import Logger
from kfunc.config.pod import PodConfig
from kfunc.errors import StartupError


@pytest.fixture
def config(folder: Path) -> PodConfig:
    return complete(load_function(folder / "func.yaml"), "onnx")


def logger_of(config: PodConfig) -> Logger:
    assert config.logger is not None
    return config.logger


def sink(config: PodConfig) -> object:
    return logger_of(config).sink


def test_events_go_to_a_file_beside_func_yaml_by_default(config: PodConfig, folder: Path) -> None:
    assert sink(with_sink(config, folder, None)) == f"file:{folder}/.kfunc/events.jsonl"
    assert (folder / ".kfunc/.gitignore").read_text() == "*\n"


def test_a_sink_in_func_yaml_is_kept(config: PodConfig, folder: Path) -> None:
    config = msgspec.structs.replace(config, logger=Logger(sink="http://broker/events"))
    assert sink(with_sink(config, folder, None)) == "http://broker/events"


def test_events_wait_in_the_functions_folder_unless_func_yaml_names_another(config: PodConfig, folder: Path) -> None:
    for given, expected in ((UNSET, f"{folder}/.kfunc/spool"), ("pvc://claim/x", f"{folder}/.kfunc/spool"), ("/srv", "/srv")):
        one = msgspec.structs.replace(config, logger=Logger(spool=given))
        assert logger_of(with_sink(one, folder, "http://broker/events")).spool == expected


def test_a_sink_on_the_command_line_wins(config: PodConfig, folder: Path) -> None:
    config = msgspec.structs.replace(config, logger=Logger(mode="request", sink="http://broker/events"))
    chosen = logger_of(with_sink(config, folder, "http://other/events"))
    assert (chosen.mode, chosen.sink, chosen.sinks) == ("request", "http://other/events", [])


def test_a_sink_turns_the_logger_on(config: PodConfig, folder: Path) -> None:
    config = msgspec.structs.replace(config, logger=None)
    assert sink(with_sink(config, folder, "http://other/events")) == "http://other/events"


def test_without_logger_and_sink_there_are_no_events(config: PodConfig, folder: Path) -> None:
    config = msgspec.structs.replace(config, logger=None)
    assert with_sink(config, folder, None).logger is None
    assert not (folder / ".kfunc").exists()


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(config: PodConfig, folder: Path) -> None:
    (folder / ".kfunc").write_text("")
    with pytest.raises(StartupError, match=f"cannot write to {folder}/.kfunc: .* --sink file:PATH"):
        with_sink(config, folder, None)


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        (None, None),
        ("http://broker/events", "http://broker/events"),
        ("https://broker", "https://broker"),
        ("broker:default", "broker:default"),
        ("nats://host/subject", "nats://host/subject"),
        ("file:/var/events.jsonl", "file:/var/events.jsonl"),
        ("file:events.jsonl", f"file:{Path.cwd()}/events.jsonl"),
        ("file:///var/a%20b%25.jsonl", "file:/var/a%20b%25.jsonl"),
    ],
)
def test_a_sink_is_an_address_and_a_relative_path_is_from_here(value: str | None, parsed: str | None) -> None:
    assert parse_sink(click.Context(run), run.params[0], value) == parsed


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("http://broker/events", "http://broker/events"),
        ("file:events.jsonl", "/srv/events.jsonl"),
        ("nats://me:hush@nats/x", "nats://…@nats/x"),
        ("file:a%20b.jsonl", "/srv/a b.jsonl"),
        ("file:/var/events.jsonl", "/var/events.jsonl"),
        ("file:///var/events.jsonl", "/var/events.jsonl"),
    ],
)
def test_a_sink_is_shown_as_a_url_or_a_path(value: str, shown: str) -> None:
    assert where(Logger(sink=value), Path("/srv")) == shown


@pytest.mark.parametrize("value", ["", "broker", "kafka://broker", "http://", "file:", "broker:A B"])
def test_what_is_no_sink_is_refused(value: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_sink(click.Context(run), run.params[0], value)
