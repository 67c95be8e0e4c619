"""Rows from files: a CSV's line of names finds the model's columns."""

from pathlib import Path

import pytest

from kfunc.errors import ModelLoadError
from kfunc.handlers.explainers.attach import usual_rows
from kfunc.handlers.explainers.rows import read_rows

MODEL = ("width", "height")


def rows(path: Path, text: str, columns: tuple[str, ...] = ()) -> tuple[list[list[float]], tuple[str, ...]]:
    path.write_text(text)
    found = read_rows(path, columns)
    return found.values.tolist(), found.names


@pytest.mark.parametrize(
    ("text", "columns", "values", "names"),
    [
        ("1,2\n3,4\n", (), [[1, 2], [3, 4]], ()),
        ("1,2\n3,4\n", MODEL, [[1, 2], [3, 4]], ()),
        ("a,b\n1,2\n", (), [[1, 2]], ("a", "b")),
        ("height,width\n1,2\n", MODEL, [[2, 1]], MODEL),
        (',"height","label"," width"\n0,1,setosa,2\n', MODEL, [[2, 1]], MODEL),
        ("\ufeffwidth,height\n1,2\n", MODEL, [[1, 2]], MODEL),
        ("0,1\n3,4\n", (), [[3, 4]], ()),
        ("0,1\n3,4\n", MODEL, [[3, 4]], ()),
        ("0,1.0\n3,4\n", (), [[0, 1], [3, 4]], ()),
        ("0\n3\n", (), [[0], [3]], ()),
        ('"1","2"\n', (), [[1, 2]], ()),
    ],
)
def test_columns_come_in_the_model_s_order_where_both_have_names(
    tmp_path: Path, text: str, columns: tuple[str, ...], values: list[list[float]], names: tuple[str, ...]
) -> None:
    assert rows(tmp_path / "r.csv", text, columns) == (values, names)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("w,h\n1,2\n", r"the model's column 'width' is not in its line of names, w, h: name the columns as the model does"),
        ("width,height,width\n1,2,3\n", r"the model's column 'width' is twice in its line of names"),
    ],
)
def test_names_that_are_not_the_model_s_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(ModelLoadError, match=reason):
        usual_rows(tmp_path / "r.csv", 5, MODEL)


def test_true_and_false_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("True,2\nfalse,3\n")
    assert read_rows(tmp_path / "r.csv").values.tolist() == [[1, 2], [0, 3]]
