import subprocess
import sys
from pathlib import Path

import click
import pytest

from kfunc import __version__
from kfunc.cli.app import COMMANDS, group, program_name
from tests.cli.conftest import Command

ROOT = Path(__file__).parents[2]


def run(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)


def test_the_version_is_the_package_s(kfunc: Command) -> None:
    assert kfunc("--version") == (0, f"kfunc {__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(kfunc: Command, name: str) -> None:
    result = kfunc(name, "--help")
    assert result.status == 0
    assert f"Example:\n    kfunc {name}" in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_modules_of_the_table_have_the_commands(name: str) -> None:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    assert command.name == name


def test_the_help_lists_every_command(kfunc: Command) -> None:
    listed = [line.split()[0] for line in kfunc("--help").out.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert listed[: len(COMMANDS)] == list(COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["rum"], "Did you mean 'run'?"),
        (["valdate"], "Did you mean 'validate'?"),
        (["run", "--queit"], "Did you mean '--quiet'?"),
        (["run", "--port", "http"], "Invalid value for '--port'"),
        (["run", "--port", "65536"], "Invalid value for '--port'"),
        (["run", "--sink", "kafka://x"], "'kafka://x' has no topic after its host"),
        (["invoke", "--protocol", "v3"], "Invalid value for '--protocol'"),
        (["invoke", "--data", "[]", "--file", "x"], "exclude each other"),
        (["init", "--runtime", "onnx", "--name", "x", "/nowhere/x"], "--runtime onnx needs --model"),
        (["init", "--name", "No Name"], "lower-case letters"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_right(kfunc: Command, arguments: list[str], suggestion: str) -> None:
    result = kfunc(*arguments)
    assert result.status == 2
    assert suggestion in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/usr/bin/kfunc", "kfunc"),
        ("/usr/bin/kn-kfunc", "kn kfunc"),
        ("kn-kfunc", "kn kfunc"),
        ("/srv/kfunc/__main__.py", "kfunc"),
    ],
)
def test_the_program_is_named_as_it_was_called(path: str, name: str) -> None:
    assert program_name(path) == name


def test_as_a_plugin_of_kn_the_usage_says_so() -> None:
    script = "import sys; from kfunc.cli import main; sys.argv = ['/bin/kn-kfunc', 'run', '--help']; sys.exit(main())"
    assert run("-c", script).stdout.startswith("Usage: kn kfunc run ")


def test_a_reader_that_goes_away_is_no_error_worth_a_word() -> None:
    script = f"{sys.executable} -m kfunc schema | true; echo ${{PIPESTATUS[0]}} >&2"
    result = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.stderr in ("0\n", "1\n")


def test_the_help_needs_no_yaml_no_http_and_no_model_runtime() -> None:
    script = (
        "import sys; from kfunc.cli import main; main(['--help']); "
        "print(*sorted({'ruamel', 'http', 'numpy', 'asyncio', 'rich', 'msgspec'} & set(sys.modules)), file=sys.stderr)"
    )
    assert run("-c", script).stderr.split() == []


def test_run_needs_no_event_loop_and_no_model_runtime() -> None:
    script = (
        "import sys, kfunc.cli.run; "
        "print(*sorted({'numpy', 'onnxruntime', 'asyncio', 'uvloop', 'rich', 'http.client', 'ssl'} & set(sys.modules)))"
    )
    assert run("-c", script).stdout.split() == []
