"""Begins a rollout: what there is, what is to be, and the settings become its record. Nothing is changed before it is kept."""

import secrets

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.cluster.binding import holds
from kfunc.cluster.connection import Cluster
from kfunc.cluster.kinds import key_of
from kfunc.cluster.split import live_name
from kfunc.config.places import MANAGEMENT_PORTS
from kfunc.config.traffic import Traffic
from kfunc.errors import KfuncError, StartupError
from kfunc.manifests import knative
from kfunc.manifests.eventing import sink_binding
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Plan, Release
from kfunc.manifests.queries import queries
from kfunc.manifests.raw import deployment_name
from kfunc.manifests.split import STABLE, split, traffic_of
from kfunc.manifests.volumes import sidecars_of
from kfunc.rollout.asking import ask
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.driver import Conflict, Store
from kfunc.rollout.history import begun
from kfunc.rollout.knative_changes import MIN_SCALE
from kfunc.rollout.objects import by_key, stated, unsplit
from kfunc.rollout.record import LEASE_S, Driver, Objects, Record
from kfunc.rollout.state import Rollout, Settings, Share, noted
from kfunc.rollout.tags import refuse_split
from kfunc.rollout.undoing import own_scales

OTHER_WAYS = " (kfunc deploy brings changes of access, monitoring and hosts)"


class NothingToDo(KfuncError):
    """The function is already as func.yaml says."""


def plan_rollout(cluster: Cluster, plan: Plan, now: float, *, force: bool = False) -> Record:
    """The record of a new rollout of what `plan` renders, not yet written. `force`: take over fields that others have set.

    Raises RolloutRefused where something is in the way, NothingToDo, StartupError, ClusterError.
    """
    _check_traffic(plan)
    stable = serving_revision(cluster, plan)
    _check_binding(cluster, plan)
    plan = replace(plan, release=replace(plan.release, stable=stable, weight=None if _is_ab(plan) else 0))
    if plan.mode == "knative" and not _is_ab(plan) and stable == knative.revision(plan):
        raise NothingToDo(
            f"{stable} has the traffic, and is what func.yaml describes: there is nothing to roll out{OTHER_WAYS}"
        )
    shares = _shares(plan)
    refuse_split(cluster, plan.name, plan.namespace, shares)
    _check_revisions(cluster, plan, shares)
    rendered = next(share.revision for share in shares if _is_rendered(plan, share))
    objects = _objects(cluster, plan, force)
    if plan.mode == "raw" and _is_deployed(plan, objects):
        raise NothingToDo(f"the Deployment {stable} is what func.yaml describes: there is nothing to roll out{OTHER_WAYS}")
    rollout = _rollout(plan, shares, rendered, now)
    if plan.mode == "knative":
        rollout = replace(rollout, scales=own_scales(cluster, rollout) | {rendered: _rendered_scale(plan)})
    return Record(noted(rollout, f"{rendered} comes beside {stable}", now), objects)


def refuse_early(cluster: Cluster, plan: Plan, store: Store, now: float) -> None:
    """What can be seen to be in the way before an image is built. Raises RolloutRefused, StartupError."""
    _check_traffic(plan)
    _check_none_under_way(store.read(), plan.name, now)
    serving_revision(cluster, plan)
    _check_binding(cluster, plan)


def _check_traffic(plan: Plan) -> None:
    if plan.function.inference.traffic is UNSET:
        raise StartupError("func.yaml does not say how traffic moves: add inference.traffic, or use `kfunc deploy`")


def _check_binding(cluster: Cluster, plan: Plan) -> None:
    """A SinkBinding changes what the pods of both revisions are made from: it has to be there as it is to be."""
    if not plan.function.inference.eventing.sink_binding:
        return
    kind, namespace, name = key_of(wanted := sink_binding(plan))
    live = cluster.get(kind, name, namespace)
    if live is None or not holds(wanted["spec"], live["spec"]):
        what = "new" if live is None else "another than the cluster's"
        raise RolloutRefused(
            f"inference.eventing's SinkBinding is {what}, and cannot come with one of two revisions: "
            "kfunc deploy --all-at-once brings it, later changes can be rolled out"
        )


def _is_deployed(plan: Plan, objects: Objects) -> bool:
    """Whether the live Deployment is the one that a promotion would leave."""
    key = ("Deployment", plan.namespace, plan.name)
    wanted, live = by_key(objects.promoted)[key], by_key(objects.before).get(key, {})
    return holds(wanted["spec"], live.get("spec"))


def _rendered_scale(plan: Plan) -> str:
    annotations: dict[str, str] = knative.template(plan)["metadata"].get("annotations", {})
    return annotations.get(MIN_SCALE, "")


def serving_revision(cluster: Cluster, plan: Plan) -> str:
    """The revision, or the Deployment, that has all of the traffic. Raises RolloutRefused."""
    kind = "Deployment" if plan.mode == "raw" else "KnativeService"
    live = cluster.get(kind, plan.name, plan.namespace)
    if live is None:
        raise RolloutRefused(f"{plan.name} is not in {plan.namespace} yet: `kfunc deploy` brings its first revision there")
    if plan.mode == "raw":
        return plan.name
    shares = [part for part in live.get("status", {}).get("traffic", []) if part.get("percent")]
    if not shares:
        raise RolloutRefused(f"no revision of {plan.name} has been ready so far: kfunc status {plan.name} says why")
    if len(shares) != 1:
        raise RolloutRefused(
            f"{len(shares)} revisions share the traffic of {plan.name}: give one of them all, "
            f"kn service update {plan.name} --traffic REVISION=100"
        )
    name: str = shares[0]["revisionName"]
    return name


def _is_ab(plan: Plan) -> bool:
    return traffic_of(plan).strategy == "ab"


def _shares(plan: Plan) -> list[Share]:
    release = plan.release
    if _is_ab(plan):
        known = [variant.revision for variant in traffic_of(plan).variants]
        if release.stable not in known:
            raise RolloutRefused(
                f"{release.stable} has the traffic, and is no variant of inference.traffic: "
                f"add {{name: control, revision: {release.stable}, weight: …}}"
            )
    rendered = deployment_name(plan) if plan.mode == "raw" else knative.revision(plan)
    return [Share(share.tag, share.revision or rendered, share.percent) for share in split(plan)]


def _is_rendered(plan: Plan, share: Share) -> bool:
    return share.revision == (deployment_name(plan) if plan.mode == "raw" else knative.revision(plan))


def _check_revisions(cluster: Cluster, plan: Plan, shares: list[Share]) -> None:
    kind = "Deployment" if plan.mode == "raw" else "Revision"
    for share in shares:
        if not _is_rendered(plan, share) and cluster.get(kind, share.revision, plan.namespace) is None:
            raise RolloutRefused(f"there is no {kind} {share.revision}; `kfunc revisions` lists them")


def _rollout(plan: Plan, shares: list[Share], rendered: str, now: float) -> Rollout:
    traffic = traffic_of(plan)
    return Rollout(
        id=secrets.token_hex(4),
        function=plan.name,
        namespace=plan.namespace,
        mode=plan.mode,
        via=traffic.via,
        strategy=traffic.strategy,
        shares=shares,
        settings=settings_of(plan, traffic),
        rendered=rendered,
        since=now,
        began_at=now,
        unready_since=now,
    )


def settings_of(plan: Plan, traffic: Traffic) -> Settings:
    """The settings of a rollout. Raises StartupError for an analysis that nobody can make."""
    measured = plan.function.inference.server is UNSET or bool(sidecars_of(plan.config))
    outermost = queries(plan).outermost
    if not measured and not traffic.analysis.queries:
        raise StartupError(
            "this server has no metrics of kfunc's: keep the logger or the batcher, or give analysis.prometheus and queries"
        )
    manual = traffic.strategy == "blue-green" if traffic.promotion is UNSET else traffic.promotion == "manual"
    return Settings(
        steps=traffic.steps,
        interval_s=traffic.interval_s,
        keep_s=traffic.keep_s,
        warm=traffic.warm,
        promotion="manual" if manual else "auto",
        propagation_s=traffic.propagation_s,
        metrics_port=MANAGEMENT_PORTS[outermost] if measured else 0,
        component=outermost if measured else "",
        model=plan.config.model.name,
        analysis=traffic.analysis,
        keep_revisions=plan.function.inference.revisions.keep,
        gateway_namespace=traffic.gateway_namespace,
    )


def _objects(cluster: Cluster, plan: Plan, force: bool) -> Objects:
    """All manifests that the rollout may need, each tried against the cluster's own checks first."""
    beside = render(plan)
    candidate = [one for path, made in beside.files.items() if _is_service(path) for one in made]
    made_split = beside.files.get("istio/traffic.yaml", [])
    alone = replace(plan, release=Release(plan.release.image, plan.release.digest))
    if _is_ab(plan):
        alone = _without_variants(alone)
    promoted = [one for made in render(alone).files.values() for one in made]
    objects = Objects(candidate, made_split, promoted, [])
    ask(cluster, objects, force=force)
    return replace(objects, before=_before(cluster, plan, objects))


def _is_service(path: str) -> bool:
    return path in ("knative/service.yaml", "raw/deployment.yaml")


def _without_variants(plan: Plan) -> Plan:
    """The function after its comparison: the traffic is one revision's."""
    traffic = replace(traffic_of(plan), strategy="canary", variants=[])
    inference = replace(plan.function.inference, traffic=traffic)
    return replace(plan, function=replace(plan.function, inference=inference))


def _before(cluster: Cluster, plan: Plan, objects: Objects) -> list[Manifest]:
    """The live objects that the rollout will change, as they were stated; a split is none to go back to."""
    wanted = by_key([*objects.candidate, *objects.split, *objects.promoted])
    found = []
    for kind, namespace, name in wanted:
        live = cluster.get(kind, name, namespace)
        if live is not None:
            found.append(unsplit(stated(live), plan.name, STABLE) if name == live_name(plan.name) else stated(live))
    return found


def begin(store: Store, record: Record, holder: str, now: float) -> Record:
    """Keep the record, which takes the lock: of two that begin at once the second is refused. Raises RolloutRefused."""
    last = store.read()
    _check_none_under_way(last, record.rollout.function, now)
    mine = replace(begun(record, last), driver=Driver(holder, now + LEASE_S), version=last.version if last else "")
    try:
        return store.write(mine)
    except Conflict:
        raise RolloutRefused(f"somebody else has just begun a rollout of {record.rollout.function}") from None


def _check_none_under_way(last: Record | None, function: str, now: float) -> None:
    if last is not None and not last.rollout.has_ended:
        driver = f", driven by {last.driver.holder}" if last.driver.is_there(now) else ""
        raise RolloutRefused(
            f"a rollout of {function} is under way ({last.rollout.phase}{driver}): "
            "kfunc rollout watch shows it, kfunc rollout abort takes it back"
        )
