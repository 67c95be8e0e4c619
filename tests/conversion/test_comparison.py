"""How far two models' answers are apart."""

from typing import Any

import numpy as np
import pytest

from kfunc.conversion.comparison import compare

INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("original", "converted", "within"),
    [
        ([-INF, 1.0], [-INF, 1.0], True),
        ([INF], [INF], True),
        ([NAN], [NAN], True),
        ([INF], [-INF], False),
        ([INF], [1.0], False),
        ([1.0], [INF], False),
        ([NAN], [1.0], False),
        ([1000.0], [1000.05], True),
        ([1.0], [1.001], False),
    ],
)
def test_numbers_are_alike_where_both_are_the_same_or_close(original: Any, converted: Any, within: bool) -> None:
    (difference,) = compare({"y": np.array(original)}, {"z": np.array(converted)})
    assert difference.within(1e-4) is within
