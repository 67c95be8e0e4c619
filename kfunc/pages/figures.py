"""What the charts show: the figures between two moments that a viewer asked. Sans-IO."""

from msgspec import Struct

from kfunc.telemetry.figures import Figures, Snapshot, between, read

MOST = 64
"""Snapshots that are kept: a viewer comes back each second, and few look on."""


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
        self._number = 0

    def take(self, exposition: str, now: float, since: str) -> Shown:
        """Read the pod's metrics at `now` (seconds, monotonic)."""
        snapshot = read(exposition, now)
        self._number += 1
        moment = str(self._number)
        before = self._taken.get(since)
        self._taken[moment] = snapshot
        while len(self._taken) > MOST:
            del self._taken[next(iter(self._taken))]
        labels = [each.labels for each in snapshot.select("kfunc_model_accelerator")]
        devices = {each.get("device") or each.get("accelerator") or "" for each in labels}
        return Shown(
            moment=moment,
            seconds=0.0 if before is None else now - before.at_s,
            figures=None if before is None else between(before, snapshot),
            device=", ".join(sorted(devices - {""})),
            load_s=snapshot.total("kfunc_model_load_seconds"),
            cold_start_s=snapshot.total("kfunc_cold_start_seconds"),
        )
