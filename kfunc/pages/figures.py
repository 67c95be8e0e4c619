"""What the charts show: the figures between two moments that a viewer asked. Sans-IO."""

from msgspec import Struct

from kfunc.telemetry.figures import NAMES, Figures, Snapshot, between, read

SHOWN = (*NAMES, "kfunc_model_accelerator", "kfunc_model_load_seconds", "kfunc_cold_start_seconds")
"""The metrics that are read."""
MOST = 64
"""Snapshots that are kept: all viewers share one a second, and come back each second."""


class Shown(Struct, frozen=True):
    """One answer. `figures` are of the time since the moment that the viewer named, if it is still known.

    `moment` is what to name next time.
    """

    moment: str
    seconds: float
    figures: Figures | None
    device: str
    load_s: float
    cold_start_s: float


class FigureHistory:
    """The last snapshots, by their moments; nothing is taken while nobody looks."""

    def __init__(self) -> None:
        self._taken: dict[str, Snapshot] = {}
        self._shown: dict[str, Shown] = {}  # of the last moment, by the moment since which
        self._number = 0

    def take(self, exposition: str, now: float) -> None:
        """Read the pod's metrics at `now` (seconds, monotonic)."""
        self._shown.clear()
        self._number += 1
        moment = str(self._number)
        self._taken[moment] = read(exposition, now)
        while len(self._taken) > MOST:
            del self._taken[next(iter(self._taken))]

    def shown(self, since: str) -> Shown:
        """What a viewer sees at the last moment, who came before at the moment `since`."""
        known = since if since in self._taken else ""
        if known not in self._shown:
            self._shown[known] = self._show(str(self._number), known)
        return self._shown[known]

    def _show(self, moment: str, since: str) -> Shown:
        snapshot = self._taken[moment]
        before = None if since == moment else self._taken.get(since)
        labels = [each.labels for each in snapshot.select("kfunc_model_accelerator")]
        devices = {each.get("device") or each.get("accelerator") or "" for each in labels}
        return Shown(
            moment=moment,
            seconds=0.0 if before is None else snapshot.at_s - before.at_s,
            figures=None if before is None else between(before, snapshot),
            device=", ".join(sorted(devices - {""})),
            load_s=snapshot.total("kfunc_model_load_seconds"),
            cold_start_s=snapshot.total("kfunc_cold_start_seconds"),
        )
