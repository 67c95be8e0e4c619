"""Why revisions of a rollout are not ready: the same diagnosis that `kfunc deploy` and `kfunc status` make."""

import math

from msgspec import Struct
from msgspec.structs import replace

from kfunc.cluster.causes import in_a_line
from kfunc.cluster.connection import Cluster
from kfunc.cluster.diagnosis import Diagnosis, diagnose_revision
from kfunc.cluster.observed import Observed, is_ready
from kfunc.cluster.observing import with_words
from kfunc.cluster.patience import Patience
from kfunc.manifests.plan import Manifest


class Hindrance(Struct, frozen=True):
    """What keeps a revision back, in words; `is_final`: waiting does not help."""

    text: str
    is_final: bool = False


class Hindrances:
    """Remembers how long each cause has lasted."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._patience: dict[str, Patience] = {}

    def look(self, found: Observed, unready: dict[str, list[Manifest]], now: float) -> dict[str, Hindrance]:
        """Of each revision that is not ready; `unready` has their pods. Raises ClusterError."""
        self._patience = {name: self._patience.get(name) or Patience(now, math.inf) for name in unready}
        if not unready:
            return {}
        waiting = [pod for pods in unready.values() for pod in pods if not is_ready(pod)]
        told = with_words(self._cluster, replace(found, pods=waiting))
        return {name: self._judged(diagnose_revision(told, name, pods), now) for name, pods in unready.items()}

    def _judged(self, diagnosis: Diagnosis, now: float) -> Hindrance:
        final = self._patience[diagnosis.revision].judge(diagnosis, now)
        causes = final or diagnosis.causes
        doing = f"{diagnosis.phase}: {diagnosis.detail}".removesuffix(": ")
        return Hindrance("; ".join(map(in_a_line, causes)) or doing, bool(final))
