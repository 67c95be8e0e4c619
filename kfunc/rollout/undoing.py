"""Begins the way back: an earlier revision is warmed, gets everything at once, and the function is described by it again."""

import secrets

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.cluster.connection import Cluster
from kfunc.cluster.kinds import key_of
from kfunc.cluster.observed import SERVICE_LABEL, Observed
from kfunc.cluster.revisions import undo_target
from kfunc.cluster.split import live_name
from kfunc.manifests.plan import Manifest
from kfunc.manifests.split import CANDIDATE, STABLE
from kfunc.rollout.asking import ask
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.knative_changes import MIN_SCALE
from kfunc.rollout.objects import by_key, for_revision, own_annotations, split_of, stated
from kfunc.rollout.raw_changes import as_candidate
from kfunc.rollout.record import Objects, Record, to_config_map
from kfunc.rollout.state import Rollout, Settings, Share, noted
from kfunc.rollout.tags import refuse_split


def plan_undo(
    cluster: Cluster, function: str, namespace: str, last: Record | None, to: str, now: float, *, force: bool = False
) -> Record:
    """The record of a rollout back to the revision that had the traffic before, or to `to`, not yet written.

    `force`: take over fields that others have set. Raises RolloutRefused, ClusterError.
    """
    refuse_split(cluster, function, namespace, [])
    raw = last if last is not None and last.rollout.mode == "raw" else None
    record = _raw_undo(cluster, raw, to, now) if raw else _knative_undo(cluster, function, namespace, last, to, now)
    ask(cluster, record.objects, force=force)
    return record


def _knative_undo(cluster: Cluster, function: str, namespace: str, last: Record | None, to: str, now: float) -> Record:
    service = cluster.get("KnativeService", function, namespace)
    if service is None:
        raise RolloutRefused(
            f"there is no Knative Service {function} in {namespace} that could go back; `kfunc status` shows what there is"
        )
    serving = [part["revisionName"] for part in service.get("status", {}).get("traffic", []) if part.get("percent")]
    if len(serving) != 1:
        raise RolloutRefused(f"{len(serving)} revisions share the traffic: give one all of it first")
    target = to or _served_before(cluster, service, last, serving[0])
    if target == serving[0]:
        raise RolloutRefused(f"{target} has the traffic already")
    revision = cluster.get("Revision", target, namespace)
    if revision is None:
        raise RolloutRefused(f"there is no revision {target}; `kfunc revisions` lists those that are left")
    last = last or _deployed(cluster, service, serving[0], now)
    rollout = _undoing(last.rollout, [Share(STABLE, serving[0]), Share(CANDIDATE, target)], now)
    rollout = replace(rollout, scales=own_scales(cluster, rollout))
    return Record(rollout, _objects(_live(cluster, last), service, revision, rollout))


def _served_before(cluster: Cluster, service: Manifest, last: Record | None, serving: str) -> str:
    """The revision that `kfunc revisions` marks. Raises RolloutRefused where none is left."""
    _, namespace, function = key_of(service)
    revisions = cluster.objects("Revision", namespace, {SERVICE_LABEL: function})
    observed = Observed(function, namespace, service=service, revisions=revisions)
    found = undo_target(observed, None if last is None else to_config_map(last))
    if not found:
        raise RolloutRefused(
            f"none of the revisions that had the traffic before {serving} is left: name another one, --to REVISION "
            "(kfunc revisions lists them)"
        )
    return found


def _deployed(cluster: Cluster, service: Manifest, serving: str, now: float) -> Record:
    """What a function is that was never rolled out: as if its revision had just been promoted."""
    _, namespace, function = key_of(service)
    traffic = cluster.get("VirtualService", live_name(function), namespace)
    rule = cluster.get("DestinationRule", serving, namespace) if traffic is not None else None
    rollout = Rollout(
        id="",
        function=function,
        namespace=namespace,
        via="knative" if traffic is None else "istio",
        strategy="canary",
        shares=[Share(STABLE, serving)],
        settings=Settings(steps=[]),
        rendered=serving,
        since=now,
        began_at=now,
    )
    return Record(rollout, Objects(before=[stated(one) for one in (service, traffic, rule) if one is not None]))


def _objects(live: list[Manifest], service: Manifest, revision: Manifest, rollout: Rollout) -> Objects:
    """The present objects, with the earlier revision's template, and with the split between the two."""
    old, new = (share.revision for share in reversed(rollout.shares))
    template = {"metadata": template_metadata(revision), "spec": revision["spec"]}
    promoted = [stated(service) | {"spec": service["spec"] | {"template": template}}]
    split = []
    for manifest in live:
        kind, _, name = key_of(manifest)
        if kind == "VirtualService" and name == live_name(rollout.function):
            split.append(split_of(manifest, rollout.function, [share.tag for share in rollout.shares]))
        if kind == "DestinationRule" and name == new:
            earlier = for_revision(manifest, old)
            split += [manifest, earlier]
            promoted.append(earlier)
        elif kind != "KnativeService":
            promoted.append(manifest)
    before = [stated(service), *[one for one in live if key_of(one)[0] != "KnativeService"]]
    return Objects([], split, promoted, before)


def own_scales(cluster: Cluster, rollout: Rollout) -> dict[str, str]:
    """The min-scale that each revision has of its own, as text; empty for none."""
    found = {share.revision: cluster.get("Revision", share.revision, rollout.namespace) for share in rollout.shares}
    return {
        name: (one["metadata"].get("annotations") or {}).get(MIN_SCALE, "") for name, one in found.items() if one is not None
    }


def template_metadata(revision: Manifest) -> Manifest:
    """Of a Revision the metadata that its template had."""
    about = revision["metadata"]
    annotations = own_annotations(about.get("annotations") or {})
    labels = {name: value for name, value in (about.get("labels") or {}).items() if "serving.knative.dev/" not in name}
    made = {"name": about["name"], "labels": labels, "annotations": annotations}
    return {name: value for name, value in made.items() if value}


def _live(cluster: Cluster, last: Record) -> list[Manifest]:
    """What there is now of the last rollout's objects, as it is stated."""
    objects = last.objects
    found = []
    for kind, namespace, name in by_key([*objects.before, *objects.split, *objects.promoted]):
        live = cluster.get(kind, name, namespace)
        if live is not None:
            found.append(stated(live))
    return found


def _raw_undo(cluster: Cluster, last: Record, to: str, now: float) -> Record:
    """In raw mode what was before the last promotion becomes a candidate beside what is now."""
    before = last.rollout
    if to:
        raise RolloutRefused("with mode: raw there is one earlier state, the one before the last promotion: leave out --to")
    if before.phase != "promoted" or before.strategy == "ab":
        raise RolloutRefused(f"the last rollout was {before.phase}: only a promotion can be undone here")
    shares = [Share(STABLE, before.function), Share(CANDIDATE, f"{before.function}-{CANDIDATE}")]
    candidate = as_candidate(last.objects.before, before.function)
    split = last.objects.split
    live = [one for one in _live(cluster, last) if key_of(one) not in by_key(candidate)]
    return Record(_undoing(before, shares, now), Objects(candidate, split, last.objects.before, live))


def _undoing(before: Rollout, shares: list[Share], now: float) -> Rollout:
    """The way back, for which nothing is measured and no requests are sent."""
    settings = replace(before.settings, analysis=replace(before.settings.analysis, load=UNSET))
    rollout = Rollout(
        id=secrets.token_hex(4),
        function=before.function,
        namespace=before.namespace,
        mode=before.mode,
        via=before.via,
        strategy="undo",
        shares=shares,
        settings=settings,
        rendered="",
        since=now,
        began_at=now,
        unready_since=now,
    )
    return noted(rollout, f"back from {shares[0].revision} to {shares[1].revision}", now)
