"""A function's revisions: what each is to it, and which are not needed any more. Pure."""

from collections.abc import Collection

from msgspec import Struct

from kfunc.cluster.observed import REVISION_LABEL, Observed, condition, is_ready, label, name_of, routed, target
from kfunc.cluster.rollout_record import told
from kfunc.manifests.plan import Manifest

NO_GC = "serving.knative.dev/no-gc"
"""The annotation that keeps Knative's own collector away."""


class Revision(Struct, frozen=True):
    """One revision. `percent` is of the plain address' traffic; `undo`: what `kfunc rollout undo` goes back to."""

    name: str
    created: str
    ready: bool
    reason: str = ""
    percent: int = 0
    tags: list[str] = []
    pods: int = 0
    latest: bool = False
    undo: bool = False
    image: str = ""
    kept: bool = False


def revisions(observed: Observed, record: Manifest | None = None) -> list[Revision]:
    """All of a function's, the newest first; `record` is its rollout's ConfigMap."""
    latest, undo = target(observed), undo_target(observed, record)
    rows = []
    for manifest in observed.revisions:
        name, ready = name_of(manifest), condition(manifest, "Ready")
        shares = [share for share in routed(observed) if _revision(share, observed) == name]
        pods = [pod for pod in observed.pods if label(pod, REVISION_LABEL) == name and is_ready(pod)]
        about = manifest["metadata"]
        rows.append(
            Revision(
                name,
                str(about.get("creationTimestamp", "")),
                ready.status == "True",
                "" if ready.status == "True" else ready.reason,
                sum(int(share.get("percent") or 0) for share in shares),
                [str(share["tag"]) for share in shares if share.get("tag")],
                len(pods),
                name == latest,
                name == undo,
                str(manifest["spec"]["containers"][0]["image"]),
                (about.get("annotations") or {}).get(NO_GC) == "true",
            )
        )
    return sorted(rows, key=lambda row: (row.created, row.name), reverse=True)


def served_before(served: list[str], serving: str, left: Collection[str]) -> str:
    """Of the revisions that are left the one that had the traffic before the present one; empty for none.

    `served`: those that had it, one after the other, the newest last.
    """
    at = len(served) - served[::-1].index(serving) - 1 if serving in served else len(served)
    return next((name for name in reversed(served[:at]) if name != serving and name in left), "")


def undo_target(observed: Observed, record: Manifest | None = None) -> str:
    """What an undo goes back to: what had the traffic before; without a history the newest that is ready and has none."""
    latest, now, last = target(observed), serving(observed), told(record)
    if now and last.served:
        return served_before(last.served, now[0], [name_of(each) for each in observed.revisions])
    ready = [
        each for each in observed.revisions if condition(each, "Ready").status == "True" and name_of(each) not in {latest, *now}
    ]
    of_rollout = [each for each in ready if name_of(each) in last.revisions]
    found = sorted(of_rollout or ready, key=lambda each: (str(each["metadata"].get("creationTimestamp")), name_of(each)))
    return name_of(found[-1]) if found else ""


def unused(rows: list[Revision], keep: int, record: Manifest | None = None) -> list[Revision]:
    """Those that can go: neither traffic, tag, undo nor a rollout under way needs them, and newer ones are kept.

    `keep` is how many that are ready stay beside those that are needed; one that never became ready is not counted, and goes.
    One that is kept from Knative's collector was ready when that was decided, whatever is the matter with it now. Beside a
    record that cannot be read none goes.
    """
    last = told(record)
    if not last.is_readable:
        return []
    needed = last.revisions if last.under_way else frozenset()
    free = [row for row in rows if not (row.percent or row.tags or row.latest or row.undo or row.pods or row.name in needed)]
    needed_for_undo = sum(row.undo for row in rows)
    good = [row for row in free if row.ready or row.kept]
    surplus = good[max(0, keep - needed_for_undo) :]
    return [row for row in free if row in surplus or row not in good]


def serving(observed: Observed) -> list[str]:
    """The revisions that have traffic, the one with most first."""
    shares = [share for share in routed(observed) if share.get("percent")]
    shares.sort(key=lambda share: -int(share["percent"]))
    return list(dict.fromkeys(name for share in shares if (name := _revision(share, observed))))


def has_tags(observed: Observed) -> bool:
    """Whether a rollout has its hands on the traffic."""
    spec = (observed.service or {}).get("spec") or {}
    return any(share.get("tag") for share in spec.get("traffic") or []) if observed.mode == "knative" else False


def _revision(share: Manifest, observed: Observed) -> str:
    latest = ((observed.service or {}).get("status") or {}).get("latestReadyRevisionName", "")
    return str(share.get("revisionName") or (latest if share.get("latestRevision") else ""))
