"""How problems look: one entry each, the line, the caret, what to do."""

import pytest

from kfunc.config.load import read_function
from kfunc.config.report import MAX_WIDTH, render, to_json
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, Problem


def error_of(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_function(parse_source(text.encode()))
    return caught.value


def test_a_problem_is_shown_with_its_line_a_caret_and_a_suggestion() -> None:
    assert render(error_of("inference:\n  model: {uri: m}\n  batchr: {}\n")).splitlines() == [
        "func.yaml:3:3: inference.batchr: unknown key",
        "      batchr: {}",
        "      ^",
        '    did you mean "batcher"?',
    ]


def test_problems_follow_one_another() -> None:
    shown = render(error_of("a: 1\nb: 2\ninference: {model: {uri: m}}\n"))
    assert [line for line in shown.splitlines() if line.startswith("func.yaml:")] == [
        "func.yaml:1:1: a: unknown key",
        "func.yaml:2:1: b: unknown key",
    ]


def test_a_problem_without_a_place_is_one_line() -> None:
    error = ConfigError([Problem("no such file", suggestion="write one")], "x.yaml")
    assert render(error) == "x.yaml: no such file\n    write one"


def caret_of(line: str, column: int) -> tuple[str, str]:
    shown = render(ConfigError([Problem("wrong", "", 1, column)], "f", line)).splitlines()
    return shown[1], shown[2]


@pytest.mark.parametrize(
    ("line", "column", "caret"),
    [("ab: c", 5, 4 + 4), ("日本: c", 5, 4 + 6), ("e\u0301: c", 5, 4 + 3), ("\ta: c", 2, 4 + 1)],
)
def test_the_caret_stands_under_its_character_whatever_the_width_of_those_before(line: str, column: int, caret: int) -> None:
    assert caret_of(line, column)[1] == " " * caret + "^"


def test_a_caret_may_stand_behind_the_line() -> None:
    assert caret_of("ab", 3) == ("    ab", "      ^")


def test_of_a_long_line_the_part_around_the_fault_is_shown() -> None:
    shown, caret = caret_of("x" * 5000 + "Y" + "z" * 5000, 5001)
    assert len(shown) == MAX_WIDTH + 4
    assert shown[len(caret) - 1] == "Y"


def test_nothing_that_a_terminal_acts_on_reaches_it() -> None:
    error = error_of('name: "\\e[31m\\u202e"\ninference: {model: {uri: m}}\n')
    assert all(line.isprintable() for line in render(error).splitlines())
    raw = ConfigError([Problem("wrong \x1b[31m\n", "a\x07", 1, 1, "try \x9b")], "f\x1b", "a\x1b[31m\u202eb: c")
    assert all(line.isprintable() for line in render(raw).splitlines())


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_the_line_shown_is_the_one_counted(line_end: str) -> None:
    text = line_end.join(["name: x", "wrong: here", "inference: {model: {uri: m}}", ""])
    assert "wrong: here" in render(error_of(text))


def test_a_blank_line_is_not_shown() -> None:
    assert render(ConfigError([Problem("wrong", "", 1, 1)], "f", "  \n")) == "f:1:1: wrong"


def test_for_programs_each_problem_is_one_object() -> None:
    assert to_json(error_of("inference: {model: {uri: m}}\nnam: x\n")) == [
        {
            "source": "func.yaml",
            "line": 2,
            "column": 1,
            "path": "nam",
            "message": "unknown key",
            "suggestion": 'did you mean "name"?',
        }
    ]
