"""How long a deployment waits: time is an argument. Pure."""

from kfunc.cluster.causes import Cause
from kfunc.cluster.diagnosis import Diagnosis

WAITED_OUT = "never-ready"


class Patience:
    """Judges one diagnosis after the other until it is ready, a cause has lasted too long, or the time is over."""

    def __init__(self, now: float, timeout_s: float) -> None:
        self._ends_at = now + timeout_s
        self._timeout_s = timeout_s
        self._since: dict[str, float] = {}

    def left_s(self, now: float) -> float:
        """Until the time is over."""
        return max(0.0, self._ends_at - now)

    def judge(self, diagnosis: Diagnosis, now: float) -> list[Cause] | None:
        """The causes for which waiting ends; none of them: it is ready; None: wait on."""
        if diagnosis.phase == "ready":
            return []
        self._since = {cause.code: self._since.get(cause.code, now) for cause in diagnosis.causes}
        over = [cause for cause in diagnosis.causes if self._is_over(cause, now)]
        if over:
            return over
        if now >= self._ends_at:
            return diagnosis.causes or [waited_out(diagnosis, self._timeout_s)]
        return None

    def _is_over(self, cause: Cause, now: float) -> bool:
        return cause.patience_s is not None and now - self._since[cause.code] >= cause.patience_s


def waited_out(diagnosis: Diagnosis, timeout_s: float) -> Cause:
    """Nothing is wrong that could be named, and it took too long."""
    doing = f"{diagnosis.phase}: {diagnosis.detail}" if diagnosis.detail else diagnosis.phase
    text = f"not ready after {timeout_s:g} s, still {doing}"
    advice = "kfunc logs shows what its containers say; --timeout waits longer"
    return Cause(WAITED_OUT, text, advice)
