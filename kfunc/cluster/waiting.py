"""Looks at a function again and again until it is ready or will not be."""

from collections.abc import Callable

from msgspec import Struct

from kfunc.cluster.causes import Cause
from kfunc.cluster.connection import Cluster
from kfunc.cluster.diagnosis import Diagnosis, diagnose
from kfunc.cluster.observing import observe
from kfunc.cluster.patience import Patience
from kfunc.config.deployment import Mode
from kfunc.errors import ClusterError

INTERVAL_S = 0.5
OUTAGE_S = 30.0
"""How long the API may be away: a control plane that is upgraded is, for some seconds."""


class Ending(Struct, frozen=True):
    """How waiting ended: no cause is ready."""

    diagnosis: Diagnosis
    causes: list[Cause]


def wait_ready(
    cluster: Cluster,
    name: str,
    namespace: str,
    mode: Mode,
    timeout_s: float,
    report: Callable[[Diagnosis], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Ending:
    """Wait for the newest revision; `report` gets each diagnosis, and may ask the API itself.

    Raises ClusterError where the API stays away.
    """
    patience = Patience(clock(), timeout_s)
    away_since: float | None = None
    while True:
        try:
            diagnosis = diagnose(observe(cluster, name, namespace, mode))
            report(diagnosis)
            away_since = None
        except ClusterError as error:
            away_since = clock() if away_since is None else away_since
            if not error.may_pass or clock() - away_since > min(OUTAGE_S, timeout_s):
                raise
            sleep(INTERVAL_S)
            continue
        causes = patience.judge(diagnosis, clock())
        if causes is not None:
            return Ending(diagnosis, causes)
        sleep(min(INTERVAL_S, patience.left_s(clock()) + 0.01))
