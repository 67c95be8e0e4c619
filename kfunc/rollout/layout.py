"""What the cluster should be like at each point of a rollout, and which ends follow one another. Pure."""

from kfunc.rollout.state import Layout, Rollout, Share, Stage

STAGES: dict[str, tuple[Stage, ...]] = {"istio": ("shift", "adopt", "merge", "clean"), "knative": ("shift", "merge", "clean")}
"""How a rollout ends, by who splits the traffic. Requests go to the winner before anything of another's is removed.

shift: the winner gets everything; adopt: the function's plain address leads to it, too (by Knative's own split it does);
merge: the live host follows the plain address, and what else the winner's func.yaml has is there: access, egress, monitoring;
clean: tags, and pods that were kept, are not needed any more.
"""
WAITED_FOR: dict[str, tuple[Stage, ...]] = {"istio": ("shift", "merge"), "knative": ("shift",)}
"""Stages that change where requests go, after which gateways need time until all of them know."""


def layout(rollout: Rollout) -> Layout:
    """What the cluster should be like now."""
    stable, warm = rollout.stable.tag, rollout.settings.warm
    if rollout.phase == "warming":
        return Layout(everything(rollout, stable), stable, False, True, warm)
    if rollout.phase in ("running", "switched"):
        return Layout(weights(rollout), stable, True, True, warm)
    winner, stage = rollout.winner, rollout.stage
    if rollout.has_ended or stage == "clean":
        return Layout(everything(rollout, winner), winner, False, False, 0, winner)
    plain = stable if stage == "shift" else winner
    return Layout(everything(rollout, winner), plain, stage != "merge", True, warm, winner)


def weights(rollout: Rollout) -> dict[str, int]:
    """Percent by tag while the traffic is split."""
    if rollout.strategy == "ab":
        return {share.tag: share.weight for share in rollout.shares}
    percent = 100 if rollout.phase == "switched" else current_step(rollout)
    return {rollout.stable.tag: 100 - percent, rollout.candidates[0].tag: percent}


def takes_over(rollout: Rollout, share: Share) -> bool:
    """Whether the share is to get everything at once, and needs the pods for that."""
    return rollout.strategy in ("blue-green", "undo") and share != rollout.stable and not rollout.winner


def current_step(rollout: Rollout) -> int:
    """The candidate's percent in the step that a canary is at; blue/green has nothing before its switch."""
    return rollout.settings.steps[rollout.step] if rollout.strategy == "canary" else 0


def everything(rollout: Rollout, tag: str) -> dict[str, int]:
    """All requests for one share."""
    return {share.tag: 100 if share.tag == tag else 0 for share in rollout.shares}


def next_stage(rollout: Rollout) -> Stage | None:
    """The stage after the present one; None after the last."""
    stages = STAGES[rollout.via]
    number = stages.index(rollout.stage) + 1
    return stages[number] if number < len(stages) else None
