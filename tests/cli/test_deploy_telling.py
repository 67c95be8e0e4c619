"""What `kfunc deploy` shows while it waits."""

import pytest

from kfunc.cli.deploy_telling import Speaker
from kfunc.cluster.causes import Cause
from kfunc.cluster.diagnosis import Diagnosis
from tests.cli.test_console import Terminal

LONG = Diagnosis("pulling", "x" * 300, [Cause("image-pull", "no such image\nasked twice")])


def test_on_a_terminal_what_is_written_over_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    say = Speaker(as_json=False)
    say.progress(LONG)
    say.progress(Diagnosis("pulling", "y"))
    first, second = terminal.getvalue().splitlines()
    assert (len(first), second) == (79, f"\x1b[1A\x1b[2K{'pulling':<12} y")


def test_elsewhere_it_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Speaker(as_json=False).progress(LONG)
    assert capsys.readouterr().out == f"{'pulling':<12} {'x' * 300} (no such image\nasked twice)\n"
