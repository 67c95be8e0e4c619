"""From bytes to plain values with positions: what YAML 1.2 says, and every way in which a file is no func.yaml."""

import os
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.composer import BROKEN, MAX_DEPTH, MAX_NODES
from kfunc.config.source import load_source, parse_source
from kfunc.config.text import MAX_BYTES
from kfunc.errors import ConfigError, Problem


def value_of(text: str) -> Any:
    return parse_source(text.encode()).value


def refusal(content: bytes) -> Problem:
    with pytest.raises(ConfigError) as caught:
        parse_source(content)
    return caught.value.problems[-1]


def remarks(text: str) -> list[tuple[int, int, str, str, str]]:
    return [
        (problem.line, problem.column, problem.path, problem.message, problem.suggestion)
        for problem in parse_source(text.encode()).problems
    ]


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z"),
        ("2026-11-21", "2026-11-21"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("-5", -5),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ('"1"', "1"),
        ("'true'", "true"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("|\n  a\n  b", "a\nb\n"),
        (">\n  a\n  b", "a b\n"),
        ("{b: [1, x]}", {"b": [1, "x"]}),
    ],
)
def test_scalars_are_resolved_as_yaml_1_2_has_it(plain: str, value: Any) -> None:
    assert value_of(f"a: {plain}\n") == {"a": value}


def test_an_absent_value_is_null() -> None:
    assert value_of("a:\nb: 1\n") == {"a": None, "b": 1}


def test_aliases_are_written_out() -> None:
    assert value_of("a: &x {b: 1}\nc: [*x, *x]\n") == {"a": {"b": 1}, "c": [{"b": 1}, {"b": 1}]}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_and_columns_count_from_1_whatever_the_line_end(newline: str) -> None:
    source = parse_source(newline.join(["# é", "a:", "  - b: x", "    ç: 10", ""]).encode())
    place = source.places[("a", 0, "ç")]
    assert (place.key_line, place.key_column, place.line, place.column, place.plain) == (4, 5, 4, 8, "10")


def test_a_byte_order_mark_at_the_start_shifts_nothing() -> None:
    assert parse_source(b"\xef\xbb\xbfa: 1\n").places[("a",)].key_column == 1


def test_a_line_separator_within_a_text_starts_no_line() -> None:
    assert parse_source("a: 'x\u2028y'\nb: 1\n".encode()).places[("b",)].line == 2


def test_a_value_that_is_missing_is_placed_at_its_key() -> None:
    place = parse_source(b"a: 1\nb:\n\n\nc: 2\n").places[("b",)]
    assert (place.line, place.column) == (2, 1)


def test_an_aliased_value_has_its_place_where_it_is_written() -> None:
    assert parse_source(b"a: &x [1]\nb: *x\n").places[("b", 0)].line == 1


def test_the_place_of_an_absent_path_is_that_of_what_is_around_it() -> None:
    source = parse_source(b"a:\n  b: 1\n")
    assert source.place(("a", "c", 3)) is source.places[("a",)]


REFUSALS: list[tuple[bytes, int, int, str, str]] = [
    (b"", 1, 1, "the file is empty", "inference: {model: {uri: ./model.onnx}}"),
    (b"# only a comment\n", 1, 1, "the file is empty", "inference"),
    (b"---\n...\n", 1, 1, "the file is empty", "inference"),
    (b"a: b\n\tc: d\n", 2, 1, "a tab, where YAML takes only spaces", "indent with spaces"),
    (b"a:\tb\n", 1, 3, "a tab, where YAML takes only spaces", "indent with spaces"),
    (b"a: @b\n", 1, 4, "no value can start with this character", "put the text in quotes"),
    (b"a: `b`\n", 1, 4, "no value can start with this character", "put the text in quotes"),
    (b"a: b: c\n", 1, 5, 'a ": " that does not belong here', "put the text in quotes, or check the indentation"),
    (b"a: 'b' c\n", 1, 8, "text after the end of a value", "put all of it in quotes"),
    (b"a:\n  b: 1\n c: 2\n", 3, 2, "the indentation does not fit", "keys of one mapping start in the same column"),
    (b"a: b\n- c\n", 2, 1, "the indentation does not fit", "same column"),
    (b"a:\n  - b\n  c: d\n", 3, 3, "the indentation does not fit", "same column"),
    (b"a: b\nc\n", 2, 1, 'a key without ": " after it', 'write "key: value"'),
    (b"a: 'b\nc: d\n", 1, 4, "this quote is never closed", "close it"),
    (b'a: "b\n', 1, 4, "this quote is never closed", "close it"),
    (b"a: [1, 2\n", 1, 4, 'this "[" is never closed', 'close it with "]"'),
    (b"a: {b: 1\n", 1, 4, 'this "{" is never closed', 'close it with "}"'),
    (b"a: [1,\n", 2, 1, 'the file ends within a "[" or "{"', "close it"),
    (b"a: [1 [2]]\n", 1, 7, 'a "," or "]" is missing before this', ""),
    (b"a: {b: 'x' y}\n", 1, 12, 'a "," or "}" is missing before this', ""),
    (b'a: "\\d"\n', 1, 6, "no such escape in double quotes", "use single quotes, or double the backslash"),
    (b'a: "\\xZZ"\n', 1, 7, "a broken escape in double quotes", "use single quotes"),
    (b'a: "\\UFFFFFFFF"\n', 1, 1, "not valid YAML from here on", "broken escape"),
    (b"a: &\n b\n", 1, 4, 'a "&" without a name', "put the text in quotes"),
    (b"a: *\n", 1, 4, 'a "*" without a name', "put the text in quotes"),
    (b"a: |x\n", 1, 5, 'only "-", "+" or a digit may follow', "start the text below"),
    (b"{a: b}}\n", 1, 7, "text after the end of the document", "same column"),
    (b"a: - b\n", 1, 4, 'a "- " that does not belong here', "start the list on a line of its own"),
    (b"a: b\nc: ? d\n", 2, 4, 'a "? " that does not belong here', "put the text in quotes"),
    (b"a: [1, , 2]\n", 1, 8, "a value is missing before this", "write it, or put the text in quotes"),
    (b"a: !<> b\n", 1, 4, "tags are not supported", 'a text that starts with "!" needs quotes'),
    (b"%% x\n---\na: b\n", 1, 1, "directives are not supported", 'a text that starts with "%" needs quotes'),
    (b"a: !e!x b\n", 1, 4, "tags are not supported", 'a text that starts with "!" needs quotes'),
    (b"%YAML 3.0\n---\na: b\n", 1, 1, "only YAML 1.2 is read", 'remove the line "%YAML"'),
    (b"\x7fELF\x02\x00\x00", 1, 6, "this is a binary file: it has NUL bytes", ""),
    (b"a: b\nc: \x00\n", 2, 4, "this is a binary file: it has NUL bytes", ""),
    ("a: b\n".encode("utf-16"), 0, 0, "this is UTF-16, not UTF-8", "save the file as UTF-8"),
    (b"a: b\nc: \xe9\n", 2, 4, "the byte 0xe9 is not UTF-8", "save the file as UTF-8"),
    (b"a: b\nc: \xed\xa0\x80\n", 2, 4, "the byte 0xed is not UTF-8", "save the file as UTF-8"),
    (b"a: b\nc: x\x1b[31m\n", 2, 5, "the character U+001B is not allowed in YAML", 'in double quotes it is "\\u001b"'),
    ("a: \ufeffb\n".encode(), 1, 4, "the character U+FEFF is not allowed in YAML", "remove it"),
    (b"a: " + b"x" * MAX_BYTES, 0, 0, f"larger than {MAX_BYTES} bytes", "is this another file?"),
    (b"[" * (MAX_DEPTH + 2), 1, MAX_DEPTH + 2, f"nested more than {MAX_DEPTH} deep", ""),
    (b"a: " + b"{a: " * 200_000, 1, 401, f"nested more than {MAX_DEPTH} deep", ""),
    (b"- a\n" * (MAX_NODES + 1), MAX_NODES, 3, f"more than {MAX_NODES} values", "is this another file?"),
]


@pytest.mark.parametrize(
    ("content", "line", "column", "message", "suggestion"),
    REFUSALS,
    ids=[repr(case[0][:30]) for case in REFUSALS],
)
def test_what_cannot_be_read_is_refused_with_place_and_reason(
    content: bytes, line: int, column: int, message: str, suggestion: str
) -> None:
    problem = refusal(content)
    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message
    assert suggestion in problem.suggestion


def test_a_billion_laughs_are_refused() -> None:
    laughs = b"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + b"".join(
        b"a%d: &a%d [%s]\n" % (level, level, b", ".join([b"*a%d" % (level - 1)] * 10)) for level in range(1, 10)
    )
    problem = refusal(laughs)
    assert problem.message == f"the aliases, written out, are more than {MAX_NODES} values"
    assert problem.suggestion == "write the values out"


def test_aliases_that_nest_deeper_than_text_may_are_refused() -> None:
    steps = [b"a0: &a0 " + b"[" * 60 + b"]" * 60]
    steps += [b"a%d: &a%d %s*a%d%s" % (level, level, b"[" * 60, level - 1, b"]" * 60) for level in range(1, 20)]
    problem = refusal(b"\n".join(steps))
    assert problem.message == f"the aliases, written out, are nested more than {MAX_DEPTH} deep"


REMARKS: list[tuple[str, int, int, str, str, str]] = [
    ("a: 1\nb: 2\na: 3\n", 3, 1, "a", "duplicate key, it is already on line 1", "keep one of the two"),
    ("a: {b: 1, b: 2}\n", 1, 11, "a.b", "duplicate key, it is already on line 1", "keep one of the two"),
    ("a: 1\n'a': 2\n", 2, 1, "a", "duplicate key, it is already on line 1", "keep one of the two"),
    ("a: &x 1\n<<: {b: 1}\n", 2, 1, "", 'merge keys ("<<") are not part of YAML 1.2', "write the keys out"),
    ("a: &x [*x]\n", 1, 8, "a[0]", 'the alias "*x" stands inside its own anchor', "write the value out"),
    ("a: *x\n", 1, 4, "a", 'the alias "*x" has no anchor above it', 'a text that starts with "*" needs quotes'),
    ("a: !!python/object:os.system x\n", 1, 4, "a", 'the tag "!!python/object:os.system" is not supported', "remove the tag"),
    ("a: !secret x\n", 1, 4, "a", 'the tag "!secret" is not supported', "remove the tag"),
    ("a: !!binary aGk=\n", 1, 4, "a", 'the tag "!!binary" is not supported', "remove the tag"),
    ("a: !!set {b}\n", 1, 4, "a", 'the tag "!!set" is not supported', "remove the tag"),
    ("1: x\n", 1, 1, "", "keys are text, 1 is not", 'put it in quotes: "1"'),
    ("true: x\n", 1, 1, "", "keys are text, true is not", 'put it in quotes: "true"'),
    ("a: {null: x}\n", 1, 5, "a", "keys are text, null is not", 'put it in quotes: "null"'),
    ("{}: x\n", 1, 1, "", "a list or mapping cannot be a key", 'a value that starts with "{" or "[" needs quotes'),
    (": x\n", 1, 1, "", 'a ":" without a key before it', 'write "key: value"'),
    ("a: 1\n---\nb: 2\n", 2, 1, "", "a second document starts here", 'one file is one function: remove the "---"'),
    ("%YAML 1.1\n---\na: no\n", 1, 1, "", "only YAML 1.2 is read", 'remove the line "%YAML"'),
    ('a: "\\ud800"\n', 1, 4, "a", "an escape for NUL or half a surrogate pair is no text", "write the character itself"),
    ('a: "\\0"\n', 1, 4, "a", "an escape for NUL or half a surrogate pair is no text", "write the character itself"),
    ("a: 9223372036854775808\n", 1, 4, "a", "the integer 9223372036854775808 does not fit into 64 bits", "put it in quotes"),
    (f"a: {'9' * 5000}\n", 1, 4, "a", "a number of 5000 digits, 100 are the most", ""),
    ("a: .inf\n", 1, 4, "a", ".inf is not a finite number", 'if it is text, put it in quotes: ".inf"'),
    ("a: -.INF\n", 1, 4, "a", "-.INF is not a finite number", "put it in quotes"),
    ("a: .nan\n", 1, 4, "a", ".nan is not a finite number", "put it in quotes"),
    ("a: 1e999\n", 1, 4, "a", "1e999 is not a finite number", "put it in quotes"),
]


@pytest.mark.parametrize(
    ("text", "line", "column", "path", "message", "suggestion"), REMARKS, ids=[repr(case[0][:30]) for case in REMARKS]
)
def test_what_yaml_allows_and_func_yaml_does_not_is_a_problem_with_its_place(
    text: str, line: int, column: int, path: str, message: str, suggestion: str
) -> None:
    (found,) = remarks(text)
    assert found[:4] == (line, column, path, message)
    assert suggestion in found[4]


def test_reading_goes_on_after_such_a_problem() -> None:
    source = parse_source(b"a: *x\nb: !t y\na: 1\nc: 2\n")
    assert len(source.problems) == 3
    assert source.value == {"a": BROKEN, "b": BROKEN, "c": 2}


def test_the_problems_found_so_far_are_told_with_the_one_that_ends_reading() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(b"a: *x\nb: 'c\n")
    assert [problem.line for problem in caught.value.problems] == [1, 2]


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_text("a: 1\n")
    source = load_source(tmp_path / "func.yaml")
    assert (source.value, source.text, source.name) == ({"a": 1}, "a: 1\n", str(tmp_path / "func.yaml"))


def unreadable(path: Path) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        load_source(path)
    (problem,) = caught.value.problems
    assert caught.value.source == str(path)
    return problem.message, problem.suggestion


def test_a_missing_file_is_named_with_the_command_that_makes_one(tmp_path: Path) -> None:
    assert unreadable(tmp_path / "func.yaml") == ("no such file", "`kfunc init` writes one")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert unreadable(tmp_path) == ("this is a folder", f"name the file: {tmp_path / 'func.yaml'}")


def test_a_path_below_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").write_text("a: 1\n")
    assert unreadable(tmp_path / "func.yaml" / "x")[0] == "cannot be read: Not a directory"


def test_a_path_with_a_nul_cannot_be_read() -> None:
    assert unreadable(Path("a\0b"))[0].startswith("cannot be read: ")


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "func.yaml").touch(mode=0)
    is_root = os.geteuid() == 0
    if is_root:  # whom no mode keeps out
        os.seteuid(65534)
    try:
        assert unreadable(tmp_path / "func.yaml") == ("no permission to read it", "check the file's owner and mode")
    finally:
        if is_root:
            os.seteuid(0)


def test_an_endless_file_is_refused_after_its_first_mebibyte() -> None:
    assert unreadable(Path("/dev/zero"))[0] == f"larger than {MAX_BYTES} bytes"
