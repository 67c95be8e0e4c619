from typing import Any

import pytest

from kfunc.cli.answer import shorten, show_answer


def v2(shape: list[int], data: Any, datatype: str = "FP32") -> dict[str, Any]:
    return {"model_name": "m", "outputs": [{"name": "y", "datatype": datatype, "shape": shape, "data": data}]}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (v2([2], [0, 2], "INT64"), "y INT64 [2]\n  0\n  2"),
        (v2([2, 2], [0.5, 0.25, 10.0, 1 / 3]), "y FP32 [2, 2]\n  0.5      0.25\n   10  0.333333"),
        (v2([2, 2], [[0.5, 0.25], [1.0, 0.0]]), "y FP32 [2, 2]\n  0.5  0.25\n    1     0"),
        (v2([1, 2, 2], [1, 2, 3, 4], "INT8"), "y INT8 [1, 2, 2]\n  1  2\n  3  4"),
        (v2([2], ["yes", "no"], "BYTES"), "y BYTES [2]\n  yes\n   no"),
        (v2([1], [True], "BOOL"), "y BOOL [1]\n  true"),
        (v2([], [1.5]), "y FP32 []\n  1.5"),
        (v2([0, 3], []), "y FP32 [0, 3]"),
        (v2([2, 2], [1.0]), "y FP32 [2, 2]\n  1"),
        ({"predictions": [1, 2]}, "predictions (2)\n  1\n  2"),
        ({"predictions": [[0.5, 1.0]]}, "predictions (1)\n  0.5  1"),
        ({"predictions": [{"y": 2, "p": [0.5, 1 / 3]}]}, "predictions (1)\n  y: 2  p: [0.5, 0.333333]"),
        ({"predictions": [{"x": list(range(9))}]}, "predictions (1)\n  x: [0, 1, 2, 3, 4, 5, 6, 7 …]"),
        ({"predictions": []}, "predictions (0)"),
        ({"state": "ok"}, '{\n  "state": "ok"\n}'),
        ([1], "[\n  1\n]"),
    ],
)
def test_an_answer_is_shown_by_output_and_row(answer: Any, text: str) -> None:
    assert show_answer(answer) == text


def test_rows_beyond_ten_are_counted() -> None:
    lines = show_answer(v2([12], list(range(12)), "INT64")).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  … 12 rows"


def test_values_beyond_eight_in_a_row_are_counted() -> None:
    assert show_answer(v2([1, 9], list(range(9)), "INT64")).splitlines()[1].endswith("  7  … 9 values")


def test_a_long_text_loses_its_middle() -> None:
    assert shorten("abcdefghij", 4) == "ab … 6 characters … ij"
    assert shorten("abcd", 4) == "abcd"
