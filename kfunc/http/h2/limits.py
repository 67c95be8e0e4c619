"""How much a client may ask for without work to show for it, and how long each thing may take. Sans-IO."""

# Beside what answers earn.
RESETS, RESETS_PER_S = 1000.0, 33.0
CONTROL_FRAMES, CONTROL_FRAMES_PER_S = 2000.0, 200.0
EARNED_RESETS = 0.5
EARNED_FRAMES = 8.0
FRAMES_PER_CHUNK = 2.0  # a part of an answer that is written in parts: a window's update, and a ping to measure the way
FRAMES_PER_BYTE = 1 / 2048  # updates of windows: of the stream and of the connection, for no less than 4 KiB

MAX_BLOCK_FRAMES = 64  # HEADERS and its CONTINUATION

DRAIN_QUIET_S = 2.0  # for a moment without a stream, in which a drain is best told
DRAIN_PING_S = 1.0  # for the answer to the PING of a drain
CHECK_S = 1.0


class Allowance:
    """How often a client may do what costs us more than it: `burst` at once, and `rate` per second."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._at = now

    def spend(self, now: float, count: float = 1.0) -> bool:
        """Use `count`; false if there are not so many."""
        if self._left < count:
            self._left = min(self._burst, self._left + (now - self._at) * self._rate)
            self._at = now
        if self._left < count:
            return False
        self._left -= count
        return True

    def earn(self, count: float) -> None:
        """The client did something useful."""
        self._left = min(self._burst, self._left + count)
