"""How far the answers of two models are apart. Pure."""

from typing import Any

import numpy as np
from msgspec import Struct

from kfunc.errors import KfuncError


class Difference(Struct, frozen=True):
    """One output of both: the largest difference of numbers, absolute and relative, or the share of unlike labels."""

    output: str
    original: str
    largest: float
    relative: float
    labels: bool
    rows: int

    def within(self, tolerance: float) -> bool:
        """Whether labels are the same, and numbers differ by at most `tolerance`; relatively, where they are above 1."""
        return self.largest == 0 if self.labels else min(self.largest, self.relative) <= tolerance


def compare(original: dict[str, Any], converted: dict[str, Any]) -> list[Difference]:
    """Output by output, in their order: converters give them names of their own. Raises KfuncError where they do not match."""
    if len(original) != len(converted):
        raise KfuncError(
            f"the converted model has the outputs {', '.join(converted)}, and the original {', '.join(original)}: "
            "they cannot be compared"
        )
    pairs = zip(original.items(), converted.items(), strict=True)
    return [_difference(name, there, other, here) for (name, there), (other, here) in pairs]


def _difference(name: str, there: Any, other: str, here: Any) -> Difference:
    before, after = np.asarray(there), np.asarray(here)
    if after.size != before.size:
        raise KfuncError(f"output {other} has the shape {list(after.shape)}, and {name}, its original, {list(before.shape)}")
    after = after.reshape(before.shape)
    rows = before.shape[0] if before.ndim else 1
    if before.dtype.kind in "OUSTbiu":
        unlike = np.mean([_plain(one) != _plain(two) for one, two in zip(before.ravel(), after.ravel(), strict=True)])
        return Difference(other, name, float(unlike), float(unlike), True, rows)
    before, after = before.astype(np.float64), after.astype(np.float64)
    alike = (before == after) | (np.isnan(before) & np.isnan(after))
    with np.errstate(invalid="ignore"):  # the same infinity in both
        apart = np.where(alike, 0.0, np.abs(before - after))
    largest = float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
    relative = float(np.nan_to_num(apart / np.maximum(np.abs(np.nan_to_num(before)), 1.0), nan=np.inf).max(initial=0.0))
    return Difference(other, name, largest, relative, False, rows)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value.item() if isinstance(value, np.generic) else value
