"""What `kfunc deploy` leaves alone: rollouts under way, traffic that is split, and traffic that should move in steps."""

from msgspec import UNSET

from kfunc.cluster.binding import holds, needs_names
from kfunc.cluster.connection import Cluster
from kfunc.cluster.kinds import kind_of
from kfunc.cluster.moving import KIND
from kfunc.cluster.observed import Observed
from kfunc.cluster.revisions import has_tags, serving
from kfunc.cluster.split import live_name
from kfunc.errors import KfuncError
from kfunc.manifests.images import function_image
from kfunc.manifests.knative import revision
from kfunc.manifests.outputs import render
from kfunc.manifests.plan import Manifest, Plan
from kfunc.manifests.raw import deployment
from kfunc.manifests.split import traffic_of
from kfunc.rollout.objects import split_tags
from kfunc.rollout.store import ConfigMapStore

SPLITS = "VirtualService"


def refuse_rollout(cluster: Cluster, plan: Plan) -> None:
    """A rollout that is under way is not overrun, nor a split that func.yaml does not speak of any more. Raises KfuncError."""
    record = ConfigMapStore(cluster, plan.name, plan.namespace).read()
    if record is not None and not record.rollout.has_ended:
        raise KfuncError(
            f"a rollout of {plan.name} is under way: kfunc rollout status {plan.name} shows it, promote or abort ends it"
        )
    if plan.function.inference.traffic is UNSET and split_tags(cluster.get(SPLITS, live_name(plan.name), plan.namespace)):
        raise _split(plan)  # a comparison that was deployed: its tags would go before its routes


def refuse_bypass(plan: Plan, before: Observed, all_at_once: bool) -> None:
    """Traffic that somebody has split is left alone, and traffic that should move in steps does not jump. Raises KfuncError."""
    if plan.function.inference.traffic is UNSET or traffic_of(plan).strategy == "ab":
        return
    if plan.mode == "raw":
        if before.service is not None and not all_at_once and not holds(_template(plan), before.service["spec"]["template"]):
            raise _jumps(plan, f"the Deployment {plan.name} runs something else")
        return
    if has_tags(before):
        raise _split(plan)
    stable = [name for name in serving(before) if name != revision(plan)]
    if stable and not all_at_once:
        raise _jumps(plan, f"{stable[0]} has the traffic")


def refuse_hurry(cluster: Cluster, plan: Plan) -> None:
    """Traffic that is bound by name can only follow a revision that is waited for. Raises KfuncError.

    Of an image that is yet to be built it is not known whether it is the one that runs; it is taken for another.
    """
    manifests = (manifest for group in render(plan).files.values() for manifest in group)
    service = next((each for each in manifests if kind_of(each) == KIND), None)
    if service is not None and needs_names(service, cluster.get(KIND, plan.name, plan.namespace)):
        raise KfuncError(
            f"the traffic of {plan.name} is bound to a revision by name, and leaves it when the new one is ready: "
            "leave out --wait=false"
        )


def _jumps(plan: Plan, there: str) -> KfuncError:
    return KfuncError(
        f"{there}, and inference.traffic says {traffic_of(plan).strategy}: "
        f"kfunc rollout start --image {function_image(plan)} moves the traffic in steps, "
        "--all-at-once gives the new revision everything now"
    )


def _template(plan: Plan) -> Manifest:
    """What the pods of the function's own Deployment are made from."""
    made: Manifest = deployment(plan, plan.name)["spec"]["template"]
    return made


def _split(plan: Plan) -> KfuncError:
    return KfuncError(
        f"revisions of {plan.name} have tags, and requests may be split between them: kfunc rollout abort {plan.name} "
        "gives everything to one, then deploy again"
    )
