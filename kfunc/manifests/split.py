"""Which revisions share the traffic, and how: one answer for the Knative Service and for Istio. Pure."""

from msgspec import UNSET, Struct

from kfunc.config.names import MAX_LABEL
from kfunc.config.traffic import Match, Traffic
from kfunc.errors import StartupError
from kfunc.manifests.plan import Manifest, Plan

STABLE, CANDIDATE = "stable", "candidate"


class Share(Struct, frozen=True):
    """A revision and its percent of the requests that no match decides; a revision without a name is the rendered one."""

    tag: str
    revision: str
    percent: int
    match: list[Match] = []


def traffic_of(plan: Plan) -> Traffic:
    """The settings, or their defaults."""
    given = plan.function.inference.traffic
    return Traffic() if given is UNSET else given


def split(plan: Plan) -> list[Share]:
    """The shares, the one that the function's plain URL stays pinned to first. Raises StartupError.

    One share without a tag: everything goes to the revision that is rendered.
    """
    traffic, release = traffic_of(plan), plan.release
    refuse_options_without_effect(plan)
    if traffic.strategy == "ab":
        shares = [Share(one.name, one.revision, one.weight, one.match) for one in traffic.variants]
        return sorted(shares, key=lambda share: share.revision != release.stable) if release.stable else shares
    if not release.stable:
        return [Share("", "", 100)]
    if len(plan.name) > MAX_LABEL - len(CANDIDATE) - 1:
        raise StartupError(f"the name {plan.name} is too long for {CANDIDATE}-{plan.name}, the new revision's host")
    weight = release.weight
    if weight is None:
        weight = traffic.steps[0] if traffic.strategy == "canary" else 0
    elif traffic.strategy == "blue-green" and weight not in (0, 100):
        raise StartupError(f"blue/green gives a revision nothing or everything: --weight 0 or 100, not {weight}")
    return [Share(STABLE, release.stable, 100 - weight), Share(CANDIDATE, "", weight)]


def refuse_options_without_effect(plan: Plan) -> None:
    """A release's options that would change nothing. Raises StartupError."""
    release, traffic = plan.release, plan.function.inference.traffic
    if traffic is not UNSET and traffic.strategy == "ab":
        known = [variant.revision for variant in traffic.variants if variant.revision]
        if release.weight is not None:
            raise StartupError("an A/B test has its weights in inference.traffic.variants: change them there, without --weight")
        if release.stable and release.stable not in known:
            raise StartupError(f"--stable {release.stable} is no variant of inference.traffic: give {' or '.join(known)}")
    elif release.weight is not None and not release.stable:
        raise StartupError("--weight is the new revision's part beside another: name that one with --stable REVISION")
    elif traffic is UNSET and release.weight is not None:
        raise StartupError("--weight splits the traffic, and func.yaml has none to split: add inference.traffic")
    elif traffic is UNSET and release.stable and plan.mode == "raw":
        raise StartupError("--stable keeps the traffic, and with mode: raw nothing else can have any: add inference.traffic")


def described(shares: list[Share]) -> str:
    """What answers, in words."""
    return " and ".join(f"{share.percent} % {share.tag}" for share in shares) if len(shares) > 1 else "everything"


def service_traffic(plan: Plan, revision: str) -> list[Manifest]:
    """`spec.traffic` of the Knative Service whose template makes `revision`.

    Behind Istio's split the plain URL stays at the first share, so that nobody gets past a canary by it.
    """
    shares = split(plan)
    if len(shares) == 1:
        return [{"latestRevision": True, "percent": 100}]
    pinned = traffic_of(plan).via == "istio"
    return [
        {
            "revisionName": share.revision or revision,
            "percent": (0 if number else 100) if pinned else share.percent,
            "tag": share.tag,
        }
        for number, share in enumerate(shares)
    ]
