"""Keeps revisions that an undo may need, and deletes those that nothing needs."""

from kfunc.cluster.applying import Outcome
from kfunc.cluster.connection import Cluster
from kfunc.cluster.observing import observe
from kfunc.cluster.revisions import NO_GC, revisions, unused
from kfunc.cluster.rollout_record import record_name
from kfunc.manifests.plan import Manifest


def collect(
    cluster: Cluster, name: str, namespace: str, keep: int, *, dry_run: bool = False, record: Manifest | None = None
) -> list[Outcome]:
    """Delete the revisions beyond `keep`; the others are kept from Knative's own collector. What was deleted.

    `record`: the rollout's as it will be, where that is not the one that the cluster has.
    """
    observed = observe(cluster, name, namespace, "knative")
    record = record or cluster.get("ConfigMap", record_name(name), namespace)
    rows = revisions(observed, record)
    gone = {row.name for row in unused(rows, keep, record)}
    if not dry_run:
        for row in rows:
            if row.name in gone:
                cluster.delete("Revision", row.name, namespace)
            elif row.ready and not row.kept:
                cluster.patch("Revision", row.name, namespace, {"metadata": {"annotations": {NO_GC: "true"}}})
    return [Outcome("removed", each) for each in observed.revisions if each["metadata"]["name"] in gone]
