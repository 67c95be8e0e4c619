"""Paths and texts as they stand in messages."""

import pytest

from kfunc.config.field_path import FieldPath, show_path, show_text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", "b_c", "d-e"), "a.b_c.d-e"),
        (("a", 0, "b", 12), "a[0].b[12]"),
        (("a", "b.c/d"), 'a["b.c/d"]'),
        (("a", ""), 'a[""]'),
        (("a", "b\n"), 'a["b\\n"]'),
        (("x" * 61,), '["' + "x" * 59 + '…"]'),
    ],
)
def test_a_path_is_shown_as_it_would_be_written(path: FieldPath, shown: str) -> None:
    assert show_path(path) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a", '"a"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\n\t\x1b", '"a\\n\\t\\u001b"'),
        ("\u202e", '"\\u202e"'),
        ("\U000e0001", '"\\U000e0001"'),
        ("é日", '"é日"'),
        (" https://me:p/w@a:1/t?key=1", '" https://…@a:1/t?…"'),
        ("me:pw@a/t", '"…@a/t"'),
        ("ann@example.com", '"ann@example.com"'),
        ("example.com/iris:1@sha256:00", '"example.com/iris:1@sha256:00"'),
        ("/mnt/me@home/a?", '"/mnt/me@home/a?"'),
        ("file:/mnt/me@home/a", '"file:/mnt/me@home/a"'),
    ],
)
def test_a_text_is_shown_on_one_line_with_nothing_invisible(text: str, shown: str) -> None:
    assert show_text(text) == shown
