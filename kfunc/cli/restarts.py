"""When a process that died is started again. Sans-IO: times (seconds, monotonic) and statuses in, decisions out."""

import signal

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 10.0
STABLE_AFTER_S = 30.0

# What a main exits with after a StartupError: it would fail in the same way again.
HOPELESS = 2

# A parent that saw its child die by a signal exits with this plus the signal's number, as shells do.
SIGNALLED = 128


class Restarts:
    """The restarts of one process: exponential backoff, forgotten once it has lived long enough."""

    __slots__ = ("_delay", "_started_at")

    def __init__(self) -> None:
        self._delay = FIRST_DELAY_S
        self._started_at = 0.0

    def started(self, now: float) -> None:
        """Note that the process was started."""
        self._started_at = now

    def ended(self, now: float, status: int) -> float | None:
        """Return the time to start the process again, None when that will not help.

        `status` is an exit status, or a negative signal number as `subprocess` gives it.
        """
        if status == HOPELESS:
            return None
        if now - self._started_at >= STABLE_AFTER_S:
            self._delay = FIRST_DELAY_S
        due = now + self._delay
        self._delay = min(self._delay * 2, LONGEST_DELAY_S)
        return due


def describe(status: int) -> str:
    """Say how a process ended: `exit status 1`, `signal SIGKILL`."""
    if status < 0:
        return f"signal {_signal_name(-status)}"
    if status > SIGNALLED:
        return f"exit status {status}, {_signal_name(status - SIGNALLED)}"
    return f"exit status {status}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return str(number)
