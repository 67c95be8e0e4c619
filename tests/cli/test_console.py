import json
from io import StringIO

import pytest

from kfunc.cli.console import ERASE_LINE, Console, LiveConsole, announced, console_for


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_go_where_programs_read_them(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.show("12/s")
    console.announce("ready: http://127.0.0.1:8080")
    console.say("handler ended")
    assert capsys.readouterr() == ("ready: http://127.0.0.1:8080\n", "kfunc: handler ended\n")


def test_a_line_that_is_an_object_has_the_name_of_its_process_within(capfd: pytest.CaptureFixture[str]) -> None:
    Console().relay("handler", b'{"time":"2026-11-25T12:00:00.000Z","message":"a"}')
    assert json.loads(capfd.readouterr().err) == {"component": "handler", "time": "2026-11-25T12:00:00.000Z", "message": "a"}


def test_with_objects_every_line_is_one(capfd: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.json = True
    console.relay("handler", b"Traceback: \xff")
    console.say("handler ended")
    console.announce("ready: http://127.0.0.1:8080")
    out, err = capfd.readouterr()
    told = [json.loads(line) for line in (err + out).splitlines()]
    assert [each["component"] for each in told] == ["handler", "run", "run"]
    assert [each["message"] for each in told] == ["Traceback: \ufffd", "handler ended", "ready: http://127.0.0.1:8080"]


@pytest.mark.parametrize("as_json", [False, True])
def test_an_announcement_is_read_as_it_was_written(capfd: pytest.CaptureFixture[str], as_json: bool) -> None:
    console = Console()
    console.json = as_json
    console.announce("ready: http://127.0.0.1:8080")
    assert announced(capfd.readouterr().out) == "ready: http://127.0.0.1:8080"


@pytest.mark.parametrize("line", ["", "{", "{}\n"])
def test_a_line_that_announces_nothing_is_left_as_it_is(line: str) -> None:
    assert announced(line) == line.strip()


def test_the_live_line_goes_away_for_another_and_comes_back_below_it() -> None:
    terminal = Terminal()
    console = LiveConsole(terminal)
    console.show("12/s")
    console.announce("ready")
    console.close()
    assert terminal.getvalue() == f"{ERASE_LINE}12/s{ERASE_LINE}12/s{ERASE_LINE}"


def test_a_line_that_would_wrap_is_cut() -> None:
    terminal = Terminal()
    LiveConsole(terminal).show("x" * 500)
    assert len(terminal.getvalue()) == len(ERASE_LINE) + 79


@pytest.mark.parametrize(
    ("stream", "term", "wanted", "live"),
    [
        (Terminal(), "xterm", True, True),
        (Terminal(), "xterm", False, False),
        (Terminal(), "dumb", True, False),
        (StringIO(), "xterm", True, False),
    ],
)
def test_only_a_terminal_that_can_erase_gets_it(
    stream: StringIO, term: str, wanted: bool, live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    assert console_for(stream, wanted=wanted).live is live
