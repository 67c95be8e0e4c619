"""The way back to one revision where requests are split and no record says by which rollout."""

import secrets

from msgspec.structs import replace

from kfunc.cluster.connection import Cluster
from kfunc.cluster.split import live_name
from kfunc.manifests.plan import Manifest
from kfunc.manifests.split import CANDIDATE, STABLE
from kfunc.rollout.knative_changes import MIN_SCALE
from kfunc.rollout.objects import by_key, is_split, stated, unsplit
from kfunc.rollout.record import Objects, Record
from kfunc.rollout.state import Rollout, Settings, Share, noted
from kfunc.rollout.tags import tagged
from kfunc.rollout.undoing import own_scales

PARTS = ("Deployment", "HorizontalPodAutoscaler", "ScaledObject", "PodDisruptionBudget")
"""Kinds of which a candidate without Knative has one each."""


def recovered(cluster: Cluster, function: str, namespace: str, now: float) -> Record | None:
    """A rollout without a record as one that goes back to the revision with the plain address; None where nothing is split."""
    service = cluster.get("KnativeService", function, namespace)
    virtual_service = cluster.get("VirtualService", live_name(function), namespace)
    live = service or cluster.get("Deployment", function, namespace)
    shares = _shares(function, service)
    if live is None or not shares or not (is_split(virtual_service) or tagged(service)):
        return None
    split, before = [], [stated(live)]
    if virtual_service is not None:
        before.append(unsplit(stated(virtual_service), function, shares[0].tag))
        split.append(stated(virtual_service))
    preview = cluster.get("VirtualService", f"preview-{function}", namespace)
    if preview is not None:
        split.append(stated(preview))
    beside = [] if service is not None else _beside(cluster, function, namespace)
    rollout = Rollout(
        id=secrets.token_hex(4),
        function=function,
        namespace=namespace,
        mode="knative" if service is not None else "raw",
        via="knative" if virtual_service is None else "istio",
        strategy="canary",
        shares=shares,
        settings=Settings(steps=[100]),
        rendered="",
        phase="rolling-back",
        stage="shift" if virtual_service is None else "merge",
        winner=shares[0].tag,
        is_split=True,
        reason="asked for",
        since=now,
        began_at=now,
    )
    rollout = noted(rollout, f"the split that no rollout knows goes: {shares[0].revision} gets everything", now)
    if service is not None:
        rollout = _with_scales(rollout, service, own_scales(cluster, rollout), now)
    return Record(rollout, Objects(beside, split, before, before))


def _with_scales(rollout: Rollout, service: Manifest, found: dict[str, str], now: float) -> Rollout:
    """The rollout with the min-scales for the time after it: the template's of the revision that it made, none of others.

    What the revisions have now may be the lost rollout's.
    """
    template = service["spec"]["template"].get("metadata") or {}
    own = str((template.get("annotations") or {}).get(MIN_SCALE, ""))
    scales = {name: own if name == template.get("name") else "" for name in found}
    stable = rollout.stable.revision
    if found.get(stable) and not scales[stable]:
        text = f"{stable} keeps no pods any more when nothing is asked: kfunc deploy brings what func.yaml says (scale.min)"
        rollout = noted(rollout, text, now)
    return replace(rollout, scales=scales)


def _shares(function: str, service: Manifest | None) -> list[Share]:
    """The tagged revisions, the one first that the plain address leads to; it may have no tag of its own."""
    if service is None:
        return [Share(STABLE, function), Share(CANDIDATE, f"{function}-{CANDIDATE}")]
    in_effect = (service.get("status") or {}).get("traffic") or []
    most = sorted((part for part in in_effect if part.get("percent")), key=lambda part: -int(part["percent"]))
    if not most:
        return []
    plain = Share(str(most[0].get("tag") or STABLE), str(most[0]["revisionName"]))
    others = tagged(service)
    named = next((share for share in others if share.revision == plain.revision), plain)
    return [named, *(share for share in others if share.tag != named.tag)]


def _beside(cluster: Cluster, function: str, namespace: str) -> list[Manifest]:
    """What a candidate without Knative consists of."""
    found = [cluster.get(kind, f"{function}-{CANDIDATE}", namespace) for kind in PARTS]
    return list(by_key([stated(one) for one in found if one is not None]).values())
