"""Any value that a manifest may hold is read back as itself, by readers of YAML 1.1 and of 1.2."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kfunc.manifests.yaml_text import is_plain, scalar, write

TEXTS = st.text(st.characters(codec="utf-8"))
# What people and templates put into a func.yaml, and what YAML could take for something else.
TRICKY = [
    "", " ", "a b", "a ", " a", "a: b", "a #b", "#", "- a", "-", "?", ":", "{a}", "[a]", "&a", "*a", "!a", "!!str",
    "|", ">", "%YAML", "@a", "`a", "'", '"', "a'b\"c", "\\", "yes", "No", "on", "y", "null", "~", "true", "1", "1.0",
    "1e3", "0x1f", "0o7", "010", "1_000", "1:30", ".inf", ".nan", "2001-01-01", "=", "<<", "$(A)", "{{ a }}", "a\nb",
    "a\n", "\n", "a\n\nb\n", " a\nb", "a\nb \n", "a\r\nb", "a\tb", "a\n\tb", "---", "...", "a\n---\nb", "\x07", "\x85",
    "\u2028", "\ufeff", "😀", "ü", "100m", "1Mi", "12e5", "1g.5gb", "a,", "a:", "a:b", "http://a:1/b?c=d#e", "a, b",
    "\U000e0001", "\x7f",
]  # fmt: skip


def read(text: str, version: tuple[int, int]) -> Any:
    reader = YAML(typ="safe", pure=True)
    reader.version = version
    return reader.load(text)


@pytest.mark.parametrize("version", [(1, 1), (1, 2)])
@pytest.mark.parametrize("text", TRICKY)
def test_a_tricky_string_is_read_as_itself_wherever_it_stands(text: str, version: tuple[int, int]) -> None:
    value = {"key": text, text: "value", "list": [text, {"inner": text, "after": 1}, [text]], "last": {"deep": [text]}}
    assert read(write(value), version) == value


@given(
    st.dictionaries(
        TEXTS,
        st.recursive(
            TEXTS | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
            max_leaves=10,
        ),
        max_size=4,
    )
)
@example({"a": {"b": [], "c": {}}, "d": [[], {}, [[1]], [{"e": "f\ng"}]]})
def test_any_value_is_read_back_as_itself(value: dict[str, Any]) -> None:
    if value:
        assert read(write(value), (1, 2)) == value


@given(TEXTS)
def test_what_is_plain_in_one_version_of_yaml_is_plain_in_the_other(text: str) -> None:
    if is_plain(text):
        assert read(f"a: {text}", (1, 1)) == read(f"a: {text}", (1, 2)) == {"a": text}


@pytest.mark.parametrize(
    ("value", "expected"),
    [("registry.example.com/team/iris:1", "registry.example.com/team/iris:1"), ("250m", "250m"), ("512Mi", "512Mi"),
     ("-P", "-P"), ("--listen=a", "--listen=a"), ("-1", '"-1"'), ("---", '"---"'), ("1", '"1"'), (1, "1"),
     (0.5, "0.5"), (True, "true"), ("true", '"true"'), ('{"a":1}', "'{\"a\":1}'"), ("it's \"", '"it\'s \\""')],
)  # fmt: skip
def test_a_scalar_is_written_as_a_person_would(value: Any, expected: str) -> None:
    assert scalar(value) == expected


def test_lists_and_lines_are_indented_as_people_do() -> None:
    value = {"spec": {"containers": [{"name": "handler", "args": ["-a", "b"], "empty": {}}], "text": "one\n\ntwo\n"}}
    assert (
        write(value)
        == """\
spec:
  containers:
    - name: handler
      args: [-a, b]
      empty: {}
  text: |
    one

    two
"""
    )
