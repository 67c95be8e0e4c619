"""Which files stay out of an image."""

import pytest

from kfunc.images.ignoring import ignored_by, parse_rules


@pytest.mark.parametrize(
    ("lines", "path", "ignored"),
    [
        ([], ".env", True),
        ([], "a/.git", True),
        ([], "a/__pycache__", True),
        ([], "func.yaml", True),
        ([], "a/func.yaml", False),
        ([], "handler.py", False),
        (["*.csv"], "a/b.csv", True),
        (["/*.csv"], "a/b.csv", False),
        (["/*.csv"], "b.csv", True),
        (["data/"], "data", True),
        (["data/"], "data/x/y", True),
        (["a/**/z"], "a/b/c/z", True),
        (["a/**/z"], "a/z", True),
        (["**/z"], "z", True),
        (["?.py"], "a.py", True),
        (["?.py"], "ab.py", False),
        (["[ab].py"], "b.py", True),
        (["[!ab].py"], "b.py", False),
        (["*.csv", "!keep.csv"], "keep.csv", False),
        (["!.env"], ".env", False),
        (["# .py"], "# .py", False),
        (["\\# .py"], "# .py", True),
        (["\\!.py"], "!.py", True),
        (["a.b"], "axb", False),
        (["[", "a"], "a", True),
    ],
)
def test_the_last_rule_that_fits_decides(lines: list[str], path: str, ignored: bool) -> None:
    assert (ignored_by(path, parse_rules(lines)) is not None) is ignored
