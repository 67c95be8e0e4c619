"""What has to change of a Knative Service, its revisions and Istio's objects for a rollout to be where it should be. Pure."""

from collections.abc import Iterator

from msgspec import Struct

from kfunc.cluster.binding import holds, is_bound, with_template_kept
from kfunc.cluster.kinds import Key, key_of
from kfunc.cluster.observed import condition, is_observed
from kfunc.cluster.split import live_name
from kfunc.manifests.plan import Manifest
from kfunc.rollout.layout import layout, takes_over
from kfunc.rollout.objects import (
    Annotate,
    Apply,
    Change,
    Delete,
    Difference,
    applied,
    by_key,
    is_split,
    stated,
    with_version,
    with_weights,
)
from kfunc.rollout.record import Objects, Record
from kfunc.rollout.state import Layout, Rollout, Share

MIN_SCALE, MAX_SCALE = "autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale"


class Live(Struct, frozen=True):
    """What there is: the Service, its revisions by name, other objects of the rollout, and ready pods by revision."""

    service: Manifest
    revisions: dict[str, Manifest] = {}
    others: dict[Key, Manifest] = {}
    ready_pods: dict[str, int] = {}


def difference(record: Record, live: Live) -> Difference:
    """What is to be done next, in order. Where there is a winner, requests are turned to it before anything else is changed."""
    rollout, wanted = record.rollout, layout(record.rollout)
    first: list[Change] = []
    if wanted.winner and is_split(live.others.get(main_key(rollout))):
        first = [*_traffic(record, live, wanted, service_waits=False)]
        if first and not wanted.tagged:  # tags stay as long as requests are sent to their hosts
            return Difference([change for change in first if not isinstance(change, Delete)])
    rest = _rest(record, live, wanted, is_turned=bool(first))
    return Difference([*first, *rest.changes], rest.waiting)


def _rest(record: Record, live: Live, wanted: Layout, is_turned: bool) -> Difference:
    """What is to be done of the Service, its revisions and, where they are not turned yet, of where requests go."""
    rollout = record.rollout
    service = _service(record, live.service, wanted)
    if service["spec"]["template"]["metadata"]["name"] != _template(live.service) and not is_bound(live.service):
        return _pinning(rollout, live.service, wanted)
    changes: list[Change] = []
    if not is_as_wanted(service, live.service):
        others = [one for one in record.objects.candidate if key_of(one)[0] != "KnativeService"] if wanted.tagged else []
        changes += [Apply(one) for one in others]
        changes.append(Apply(with_version(service, live.service)))
    waiting = "" if changes else route_waiting(live.service, service["spec"]["traffic"])
    changes += _scales(rollout, live, wanted)
    if not is_turned:
        changes += _traffic(record, live, wanted, bool(changes or waiting))
    return Difference(changes, waiting or _too_few(rollout, live, wanted))


def _too_few(rollout: Rollout, live: Live, wanted: Layout) -> str:
    """What the revision that is to take over at once lacks of the pods for that; empty where it has them."""
    for share in rollout.candidates if rollout.phase in ("warming", "running") else ():
        fewest, ready = _fewest(rollout, share, live, wanted), live.ready_pods.get(share.revision, 0)
        if takes_over(rollout, share) and ready < fewest:
            return f"{ready} of {fewest} pods of {share.revision} are ready"
    return ""


def _pinning(rollout: Rollout, live: Manifest, wanted: Layout) -> Difference:
    """First the traffic is bound by name to the revision that has it, and to the tags that requests are sent to.

    A new template makes Knative look for the latest revision that is ready, which may be another than the one with the traffic.
    """
    plain = rollout.share(wanted.plain) or rollout.stable
    traffic = service_traffic(rollout, wanted) if wanted.is_split else [{"revisionName": plain.revision, "percent": 100}]
    pinned = stated(live) | {"spec": live["spec"] | {"traffic": traffic}}
    if holds(traffic, live["spec"].get("traffic")):
        return Difference(waiting=f"Knative binds the traffic to {plain.revision}")
    return Difference([Apply(with_version(pinned, live))])


def _service(record: Record, live: Manifest, wanted: Layout) -> Manifest:
    """The Service as it should be."""
    rollout, objects = record.rollout, record.objects
    key: Key = ("KnativeService", rollout.namespace, rollout.function)
    if wanted.tagged:
        base = by_key(objects.candidate).get(key)
    else:
        revision = next(share.revision for share in rollout.shares if share.tag == wanted.winner)
        base = by_key(_final(rollout, revision, objects)).get(key)
    base = base or stated(live)
    return with_template_kept(base | {"spec": base["spec"] | {"traffic": service_traffic(rollout, wanted)}}, live)


def _final(rollout: Rollout, revision: str, objects: Objects) -> list[Manifest]:
    """The objects of a rollout that ends with this revision: it was rendered, or is what an undo goes back to, or was there."""
    made = rollout.phase in ("promoting", "promoted") and (revision == rollout.rendered or rollout.strategy == "undo")
    return objects.promoted if made else objects.before


def service_traffic(rollout: Rollout, wanted: Layout) -> list[Manifest]:
    """`spec.traffic`: tags for the shares, or the winner alone.

    A winner that is not the newest revision is named, for Knative might take another one for the latest.
    """
    if not wanted.tagged:
        winner = next(share.revision for share in rollout.shares if share.tag == wanted.winner)
        if winner == rollout.rendered:
            return [{"latestRevision": True, "percent": 100}]
        return [{"revisionName": winner, "percent": 100}]
    percents = wanted.weights if rollout.via == "knative" else {wanted.plain: 100}
    return [
        {"revisionName": share.revision, "percent": percents.get(share.tag, 0), "tag": share.tag} for share in rollout.shares
    ]


def is_as_wanted(service: Manifest, live: Manifest) -> bool:
    """Whether the live Service has this template and this traffic."""
    same = service["spec"]["template"]["metadata"]["name"] == _template(live)
    return same and _parts(service["spec"]["traffic"]) == _parts(live["spec"].get("traffic", []))


def _template(service: Manifest) -> str:
    return str(service["spec"]["template"].get("metadata", {}).get("name", ""))


def _parts(traffic: list[Manifest]) -> list[tuple[str, bool, int, str]]:
    """Traffic as tuples that compare; a percent of 0 may be left out."""
    return sorted(
        (
            "" if part.get("latestRevision") else part.get("revisionName", ""),
            bool(part.get("latestRevision")),
            part.get("percent") or 0,
            part.get("tag", ""),
        )
        for part in traffic
    )


def route_waiting(live: Manifest, traffic: list[Manifest]) -> str:
    """Why the traffic is not in effect yet; empty where it is."""
    ready = condition(live, "RoutesReady")
    if not is_observed(live):
        return "Knative has not seen the Service's change yet"
    if ready.status != "True" or _parts(live["status"].get("traffic", [])) != _parts(traffic):
        return ready.words or "Knative sets up the routes"
    return ""


def _scales(rollout: Rollout, live: Live, wanted: Layout) -> Iterator[Change]:
    """Pods that the shares' revisions keep for the time of the rollout.

    Of a revision's annotations only those of autoscaling leave its pods as they are: any other would replace them.
    """
    for share in rollout.shares:
        revision = live.revisions.get(share.revision)
        if revision is None:
            continue
        annotations = revision["metadata"].get("annotations") or {}
        version = revision["metadata"]["resourceVersion"]
        own, now = rollout.scales.get(share.revision, ""), annotations.get(MIN_SCALE, "")
        if not wanted.tagged and own != now:
            yield Annotate(share.revision, {MIN_SCALE: own or None}, version)
        elif wanted.tagged and int(now or 0) < (fewest := _fewest(rollout, share, live, wanted)):
            yield Annotate(share.revision, {MIN_SCALE: str(fewest)}, version)


def _fewest(rollout: Rollout, share: Share, live: Live, wanted: Layout) -> int:
    """How many pods a share keeps: as many as have to take over at once, where that is so, and no more than it may have."""
    needed = 0
    if share == rollout.stable and not wanted.weights[share.tag]:
        needed = rollout.kept_pods  # for the way back
    elif takes_over(rollout, share):
        needed = live.ready_pods.get(rollout.stable.revision, 0)
    allowed = as_allowed(max(wanted.warm, needed), live.revisions.get(share.revision))
    return max(allowed, int(rollout.scales.get(share.revision) or 0))


def as_allowed(pods: int, revision: Manifest | None) -> int:
    """So many pods, or the most that a revision may have."""
    most = int(((revision or {}).get("metadata", {}).get("annotations") or {}).get(MAX_SCALE) or 0)
    return min(pods, most) if most else pods


def _traffic(record: Record, live: Live, wanted: Layout, service_waits: bool) -> Iterator[Change]:
    """What is beside the Service: Istio's split and its weights, or what is there before or after it."""
    rollout, objects = record.rollout, record.objects
    split = by_key(objects.split)  # none where Knative splits
    if wanted.is_split:
        main = main_key(rollout)
        if service_waits and not is_split(live.others.get(main)):
            return  # the tags' hosts are not there yet
        for key, manifest in split.items():
            if key == main:
                manifest = with_weights(manifest, wanted.weights, matches=not wanted.winner)
            yield from applied(manifest, live.others.get(key))
        return
    if not wanted.winner:
        return  # before the split nothing is touched
    final = final_traffic(record)
    for key, manifest in sorted(final.items(), key=lambda item: item[0] != main_key(rollout)):
        yield from applied(manifest, live.others.get(key))
    if not wanted.tagged:
        yield from (Delete(key) for key in left_over(record) if key not in final and key in live.others)


def left_over(record: Record) -> set[Key]:
    """What a rollout may leave behind: its split, and what a promotion had brought that was taken back; not what pods read."""
    objects = record.objects
    made = {key for key in by_key(objects.promoted) if key[0] != "KnativeService"} if record.rollout.winner else set()
    return (set(by_key(objects.split)) | made) - set(by_key(objects.candidate))


def main_key(rollout: Rollout) -> Key:
    """The VirtualService that splits."""
    return "VirtualService", rollout.namespace, live_name(rollout.function)


def final_traffic(record: Record) -> dict[Key, Manifest]:
    """What is left of the traffic's objects, and all that comes with a promotion, without the Service itself."""
    rollout = record.rollout
    winner = rollout.share(rollout.winner) or rollout.stable
    chosen = _final(rollout, winner.revision, record.objects)
    return {key: manifest for key, manifest in by_key(chosen).items() if key[0] != "KnativeService"}
