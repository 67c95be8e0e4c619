"""Tags on a function that are not a rollout's own, and to which requests may be sent: it does not begin beside them.

A comparison that `kfunc deploy` has brought has such tags, people have theirs, and some are left where a record was lost.
"""

from kfunc.cluster.connection import Cluster
from kfunc.cluster.split import live_name
from kfunc.manifests.plan import Manifest
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.objects import split_tags
from kfunc.rollout.state import Share


def refuse_split(cluster: Cluster, function: str, namespace: str, shares: list[Share]) -> None:
    """Refuse to begin where requests are split, unless the revisions and tags are the same. Raises RolloutRefused."""
    service = cluster.get("KnativeService", function, namespace)
    tags = {share.tag: share.revision for share in tagged(service)} if service is not None else {}
    sent = split_tags(cluster.get("VirtualService", live_name(function), namespace))
    own = {share.tag: share.revision for share in shares}
    foreign = {tag for tag, revision in tags.items() if own.get(tag) != revision} | (set(sent) - set(tags))
    if foreign:
        raise RolloutRefused(
            f"{function} has tags that are not this rollout's ({', '.join(sorted(foreign))}), and requests may go to them: "
            f"kfunc rollout abort {function} gives everything to one revision and removes them; then start again"
        )


def tagged(service: Manifest | None) -> list[Share]:
    """The tags that a Knative Service has in effect."""
    parts = ((service or {}).get("status") or {}).get("traffic") or []
    return [Share(str(part["tag"]), str(part.get("revisionName", ""))) for part in parts if part.get("tag")]
