"""How long to wait before a sink is tried again: growing, with jitter, or as it asked. Sans-IO."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 30.0
LONGEST_ASKED_S = 600.0


class Backoff:
    """Pauses of one sink. `failures` are those in a row."""

    def __init__(self) -> None:
        self.failures = 0

    def success(self) -> None:
        """The sink has taken something."""
        self.failures = 0

    def failure(self, asked_s: float, random: float) -> float:
        """The pause after another failure, seconds. `random` is from 0 to 1; what the sink asked for is the least."""
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures, 20))
        self.failures += 1
        return max(min(asked_s, LONGEST_ASKED_S), pause_s * (0.5 + random / 2))
