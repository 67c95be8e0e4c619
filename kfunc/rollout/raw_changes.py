"""What has to change of Deployments and Istio's objects, in raw mode, for a rollout to be where it should be. Pure.

The candidate is a Deployment of its own beside the function's. At a promotion the function's takes over its template,
and gets the traffic back before the candidate's is removed.
"""

from collections.abc import Iterator

from msgspec import Struct

from kfunc.cluster.binding import holds
from kfunc.manifests.plan import Manifest
from kfunc.manifests.raw import INSTANCE
from kfunc.manifests.split import CANDIDATE
from kfunc.rollout.knative_changes import main_key
from kfunc.rollout.layout import layout
from kfunc.rollout.objects import (
    Apply,
    Change,
    Delete,
    Difference,
    Key,
    by_key,
    condition,
    is_observed,
    with_version,
    with_weights,
)
from kfunc.rollout.record import Record


class RawLive(Struct, frozen=True):
    """What there is of the rollout's objects."""

    objects: dict[Key, Manifest] = {}


def difference(record: Record, live: RawLive) -> Difference:
    """What is to be done next, in order."""
    rollout, wanted = record.rollout, layout(record.rollout)
    made = record.rollout.phase in ("promoting", "promoted") and wanted.winner != rollout.stable.tag
    final = by_key(record.objects.promoted if made else record.objects.before)
    changes: list[Change] = []
    if wanted.tagged:
        changes += _missing(by_key(record.objects.candidate), live)
    if wanted.is_split:
        main = main_key(rollout)
        for key, manifest in by_key(record.objects.split).items():
            edited = with_weights(manifest, wanted.weights, matches=not wanted.winner) if key == main else manifest
            changes += _applied(key, edited, live)
    waiting = ""
    if wanted.winner and wanted.plain == wanted.winner:
        running = {key: manifest for key, manifest in final.items() if key[0] == "Deployment"}
        for key, manifest in running.items():
            changes += _applied(key, manifest, live)
        waiting = "" if changes else _rolling_out([live.objects[key] for key in running if key in live.objects])
        if not wanted.is_split and not waiting:
            for key, manifest in final.items():
                changes += _applied(key, manifest, live)
    if not wanted.tagged:
        ours = {**by_key(record.objects.candidate), **by_key(record.objects.split)}
        changes += [Delete(key) for key in ours if key not in final and key in live.objects]
    return Difference(changes, waiting if not changes else "")


def _missing(wanted: dict[Key, Manifest], live: RawLive) -> Iterator[Change]:
    for key, manifest in wanted.items():
        yield from _applied(key, manifest, live)


def _applied(key: Key, manifest: Manifest, live: RawLive) -> Iterator[Change]:
    there = live.objects.get(key)
    said = {name: value for name, value in manifest.items() if name not in ("apiVersion", "kind", "metadata")}
    if there is None or not holds(said, there):
        yield Apply(with_version(manifest, there))


def _rolling_out(deployments: list[Manifest]) -> str:
    """Why Deployments do not run their present template alone yet; empty where they do."""
    for live in deployments:
        status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
        counts = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
        if not is_observed(live) or counts != [wanted] * 3:
            return condition(live, "Progressing")[1] or f"the Deployment {live['metadata']['name']} is being replaced"
    return ""


def as_candidate(before: list[Manifest], rollout_function: str) -> list[Manifest]:
    """The function's earlier objects, as those of a candidate beside the present ones."""
    name = f"{rollout_function}-{CANDIDATE}"
    kept = [one for one in before if one["kind"] in ("Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget")]
    return [_renamed(one, rollout_function, name) for one in kept if one["metadata"]["name"] == rollout_function]


def _renamed(manifest: Manifest, old: str, new: str) -> Manifest:
    about = manifest["metadata"]
    labels = {key: new if key == INSTANCE and value == old else value for key, value in about.get("labels", {}).items()}
    spec = manifest["spec"]
    if manifest["kind"] == "HorizontalPodAutoscaler":
        spec = spec | {"scaleTargetRef": spec["scaleTargetRef"] | {"name": new}}
    else:
        spec = spec | {"selector": {"matchLabels": spec["selector"]["matchLabels"] | {INSTANCE: new}}}
    if manifest["kind"] == "Deployment":
        described = spec["template"]["metadata"]
        spec = spec | {
            "template": spec["template"] | {"metadata": described | {"labels": described["labels"] | {INSTANCE: new}}}
        }
    return manifest | {"metadata": about | {"name": new, "labels": labels}, "spec": spec}
