"""Asks the cluster, before a rollout begins, whether it takes all that belongs to it.

Fields that others have set are asked for once, here: what has begun is carried through, or taken back, whoever sets what.
"""

from kfunc.cluster.connection import Cluster
from kfunc.rollout.objects import by_key
from kfunc.rollout.raw_sizes import free
from kfunc.rollout.record import Objects


def ask(cluster: Cluster, objects: Objects, *, force: bool) -> None:
    """Try every object, and keep nothing. Raises ClusterError for what is refused, and for others' fields unless `force`."""
    wanted = free(by_key([*objects.promoted, *objects.split, *objects.candidate]))
    for _, manifest in sorted(wanted.items(), key=lambda item: item[0][0] == "KnativeService"):
        cluster.apply(manifest, dry_run=True, force=force)
