"""What has to change of Deployments and Istio's objects, in raw mode, for a rollout to be where it should be. Pure.

The candidate is a Deployment of its own beside the function's. At a promotion the function's takes over its template,
and gets the traffic back before the candidate's is removed.
"""

from collections.abc import Iterator

from msgspec import Struct

from kfunc.cluster.kinds import Key
from kfunc.cluster.observed import condition, is_observed
from kfunc.config.labels import INSTANCE_LABEL
from kfunc.manifests.plan import Manifest
from kfunc.manifests.split import CANDIDATE
from kfunc.rollout.knative_changes import main_key
from kfunc.rollout.layout import layout, takes_over
from kfunc.rollout.objects import Change, Delete, Difference, applied, by_key, is_split, with_weights
from kfunc.rollout.raw_sizes import FLOORS, available, floor, free, sized
from kfunc.rollout.record import Record
from kfunc.rollout.state import Layout, Rollout, Share


class RawLive(Struct, frozen=True):
    """What there is of the rollout's objects."""

    objects: dict[Key, Manifest] = {}


def difference(record: Record, live: RawLive) -> Difference:
    """What is to be done next, in order. Where there is a winner, requests are turned to it before anything else is changed."""
    rollout, wanted, objects = record.rollout, layout(record.rollout), record.objects
    turned = list(_turned(record, live, wanted)) if wanted.is_split else []
    changes: list[Change] = turned if wanted.winner else []
    waiting = ""
    if wanted.tagged:
        beside = _beside(record, live)
        changes += _missing(beside | _rules(record), live)
        waiting = next(
            filter(None, (_too_few(beside, live, one.revision) for one in rollout.candidates if _waits(rollout, one))), ""
        )
    if not wanted.winner:
        return Difference([*changes, *turned], waiting)
    made = rollout.phase in ("promoting", "promoted") and wanted.winner != rollout.stable.tag
    stated_so = free(by_key(objects.promoted if made else objects.before))
    final = stated_so
    if wanted.tagged:
        final = sized(stated_so, rollout.function, _other(record, live), live.objects) | _rules(record)
    main = main_key(rollout)
    if not wanted.tagged and is_split(live.objects.get(main)) and main in final:
        return Difference(list(applied(final[main], live.objects.get(main))))  # pods stay as long as requests are sent to them
    if wanted.plain == wanted.winner:
        running = {key: manifest for key, manifest in final.items() if key[0] in ("Deployment", *FLOORS)}
        changes += _missing(running, live)
        waiting = _not_taken_over(rollout, running, live)
        if not wanted.is_split and not (changes or waiting):
            changes += _missing(dict(sorted(final.items(), key=lambda item: item[0] != main)), live)
    if not wanted.tagged:
        ours = {**by_key(objects.candidate), **by_key(objects.split), **by_key(objects.promoted)}
        changes += [Delete(key) for key in ours if key not in final and key in live.objects]
    return Difference(changes, waiting if not changes else "")


def _turned(record: Record, live: RawLive, wanted: Layout) -> Iterator[Change]:
    main = main_key(record.rollout)
    split = by_key(record.objects.split).get(main)
    if split is not None:
        yield from applied(with_weights(split, wanted.weights, matches=not wanted.winner), live.objects.get(main))


def _rules(record: Record) -> dict[Key, Manifest]:
    """What stands beside the VirtualService, from before requests are split until none of them is.

    A gateway answers 503 where a route names a subset that it does not know: it has to learn of subsets before it learns of
    routes to them, and to forget the routes first. So the rules have all subsets of all times.
    """
    objects, main = record.objects, main_key(record.rollout)
    rules = {key: manifest for key, manifest in by_key(objects.split).items() if key != main}
    for key, manifest in rules.items():
        subsets = {
            subset["name"]: subset
            for made in (objects.before, objects.promoted, objects.split)
            for subset in by_key(made).get(key, {}).get("spec", {}).get("subsets", [])
        }
        if subsets:
            rules[key] = manifest | {"spec": manifest["spec"] | {"subsets": list(subsets.values())}}
    return rules


def _beside(record: Record, live: RawLive) -> dict[Key, Manifest]:
    """The candidates with the pods that they keep, or need to take over at once, and the stable one with its own.

    Of the stable one, as long as it has requests, only what gives it too few pods is touched.
    """
    rollout, stable, warm = record.rollout, record.rollout.stable, record.rollout.settings.warm
    made = free(by_key(record.objects.candidate))
    for share in rollout.candidates:
        needed = available(live.objects, rollout.namespace, stable.revision) if takes_over(rollout, share) else 0
        made = sized(made, share.revision, max(warm, needed), live.objects)
    if rollout.winner:
        return made
    before = {key: one for key, one in free(by_key(record.objects.before)).items() if key[0] in ("Deployment", *FLOORS)}
    if layout(rollout).weights[stable.tag]:
        kept = sized(before, stable.revision, warm, live.objects)
        return made | {key: one for key, one in kept.items() if one is not before[key]}
    return made | sized(before, stable.revision, max(warm, rollout.kept_pods), live.objects)


def _other(record: Record, live: RawLive) -> int:
    """How many ready pods the Deployments have from which the function's own takes over."""
    rollout = record.rollout
    others = {share.revision for share in rollout.shares} - {rollout.function}
    return max((available(live.objects, rollout.namespace, name) for name in others), default=0)


def _missing(wanted: dict[Key, Manifest], live: RawLive) -> Iterator[Change]:
    for key, manifest in wanted.items():
        yield from applied(manifest, live.objects.get(key))


def _too_few(wanted: dict[Key, Manifest], live: RawLive, name: str) -> str:
    """What a Deployment lacks of the pods that it is to have at least; empty where it has them."""
    namespace = next(key[1] for key in wanted)
    fewest, ready = floor(wanted, name), available(live.objects, namespace, name)
    return f"{ready} of {fewest} pods of {name} are ready" if ready < fewest else ""


def _waits(rollout: Rollout, share: Share) -> bool:
    """Whether the share's pods are waited for before it gets everything."""
    return takes_over(rollout, share) and rollout.phase in ("warming", "running")


def _not_taken_over(rollout: Rollout, running: dict[Key, Manifest], live: RawLive) -> str:
    """Why the function's own Deployment is not as the winner's yet; empty where it is.

    At a promotion all of its pods are waited for before requests turn to it. On the way back they have turned, and nothing
    is waited for before the candidate, which may hold the room for its pods, is gone.
    """
    is_last, promotes = not layout(rollout).tagged, rollout.phase in ("promoting", "promoted")
    own = live.objects.get(("Deployment", rollout.namespace, rollout.function))
    if own is None or not (promotes or is_last):
        return ""
    if not _runs_alone(own, with_all=not is_last):
        return condition(own, "Progressing").words or f"the Deployment {rollout.function} is being replaced"
    return "" if is_last else _too_few(running, live, rollout.function)


def _runs_alone(live: Manifest, *, with_all: bool) -> bool:
    """Whether a Deployment runs its present template and no other, by one pod or `with_all` that it wants."""
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    updated, there, ready = (status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas"))
    enough = updated == ready == wanted if with_all else ready >= min(1, wanted)
    return is_observed(live) and updated == there and enough


def as_candidate(before: list[Manifest], rollout_function: str) -> list[Manifest]:
    """The function's earlier objects, as those of a candidate beside the present ones."""
    name = f"{rollout_function}-{CANDIDATE}"
    kept = [one for one in before if one["kind"] in ("Deployment", *FLOORS, "PodDisruptionBudget")]
    return [_renamed(one, rollout_function, name) for one in kept if one["metadata"]["name"] == rollout_function]


def _renamed(manifest: Manifest, old: str, new: str) -> Manifest:
    about = manifest["metadata"]
    labels = {key: new if key == INSTANCE_LABEL and value == old else value for key, value in about.get("labels", {}).items()}
    spec = manifest["spec"]
    if manifest["kind"] in FLOORS:
        spec = spec | {"scaleTargetRef": spec["scaleTargetRef"] | {"name": new}}
    else:
        spec = spec | {"selector": {"matchLabels": spec["selector"]["matchLabels"] | {INSTANCE_LABEL: new}}}
    if manifest["kind"] == "Deployment":
        described = spec["template"]["metadata"]
        spec = spec | {
            "template": spec["template"] | {"metadata": described | {"labels": described["labels"] | {INSTANCE_LABEL: new}}}
        }
    return manifest | {"metadata": about | {"name": new, "labels": labels}, "spec": spec}
