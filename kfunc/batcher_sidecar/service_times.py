"""What a call of the upstream takes by its rows, fitted to what was measured. Sans-IO."""

FORGET = 0.97
"""Weight of a measurement after one more: half after 23."""
LEAST_SPREAD = 0.25
"""Rows² by which sizes must differ for the two parts of the time to be told apart."""


class ServiceTimes:
    """A fixed part and a part for each row, by least squares with exponential forgetting."""

    __slots__ = ("_weight", "_x", "_xx", "_xy", "_y", "fixed_s", "row_s")

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self.fixed_s = 0.0
        self.row_s = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Take up one call."""
        self._weight = weight = self._weight * FORGET + 1.0
        self._x = self._x * FORGET + rows
        self._y = self._y * FORGET + seconds
        self._xx = self._xx * FORGET + rows * rows
        self._xy = self._xy * FORGET + rows * seconds
        mean_rows, mean_s = self._x / weight, self._y / weight
        spread = self._xx / weight - mean_rows * mean_rows
        if spread < LEAST_SPREAD:  # all calls alike: keep what is known of a row
            self.row_s = min(self.row_s, mean_s / mean_rows)
        else:
            slope = (self._xy / weight - mean_rows * mean_s) / spread
            self.row_s = min(max(slope, 0.0), mean_s / mean_rows)
        self.fixed_s = mean_s - self.row_s * mean_rows

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return self._weight > 0

    def predict(self, rows: int) -> float:
        """Seconds that a call with `rows` rows takes; 0 before the first measurement."""
        return self.fixed_s + self.row_s * rows
