"""How unusual are a flower's measurements? Mahalanobis distance to the 150 flowers of reference.csv."""

from pathlib import Path

import numpy as np

from kfunc import Handler, TensorSpec

# 99 % quantile of the chi-squared distribution with 4 degrees of freedom: a normal flower is farther in 1 case of 100.
THRESHOLD = 13.277


class OutlierDetector(Handler):
    """`distance` is in standard deviations, `outlier` says whether it is past the 99 % quantile."""

    inputs = [TensorSpec("measurements", "FP64", [-1, 4])]
    outputs = [TensorSpec("distance", "FP64", [-1]), TensorSpec("outlier", "BOOL", [-1])]

    def load(self, path: Path) -> None:
        reference = np.loadtxt(path / "reference.csv", delimiter=",", skiprows=1)
        self.centre = reference.mean(axis=0)
        self.precision = np.linalg.inv(np.cov(reference, rowvar=False))

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        offsets = inputs["measurements"] - self.centre
        squared = np.einsum("ri,ij,rj->r", offsets, self.precision, offsets)
        return {"distance": np.sqrt(squared), "outlier": squared > THRESHOLD}
