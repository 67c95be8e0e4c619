"""What people tell a rollout: each command is a change of its state, or RolloutRefused where it has no meaning now. Pure."""

from msgspec.structs import replace

from kfunc.errors import KfuncError
from kfunc.rollout.ending import promote, roll_back
from kfunc.rollout.state import Rollout, noted


class RolloutRefused(KfuncError):
    """A command that does not fit what the rollout does now."""

    status = 409


def pause(rollout: Rollout, now: float) -> Rollout:
    """Stay at the present step; what breaks a bound is still taken back."""
    _under_way(rollout)
    if rollout.phase not in ("running", "switched"):
        raise RolloutRefused(f"{rollout.phase} cannot be paused; `kfunc rollout status` shows how far it is")
    return rollout if rollout.paused else noted(replace(rollout, paused=True), "paused", now)


def resume(rollout: Rollout, now: float) -> Rollout:
    """Go on; the longest time of the step begins anew. What is not paused stays as it is."""
    if not rollout.paused:
        return rollout
    settled_at = now if rollout.settled_at else 0.0
    return noted(replace(rollout, paused=False, settled_at=settled_at), "resumed", now)


def is_shown(rollout: Rollout) -> bool:
    """Whether a comparison has its result, and goes on only because somebody wants more of it."""
    return rollout.strategy == "ab" and rollout.phase == "running" and bool(rollout.reason)


def promoted(rollout: Rollout, variant: str, now: float) -> Rollout:
    """Give everything to the candidate, or to the variant of a comparison, without waiting for analysis."""
    _under_way(rollout)
    if rollout.phase in ("promoting", "rolling-back"):
        raise RolloutRefused(f"it is {rollout.phase} already; `kfunc rollout watch` shows how far")
    if rollout.phase == "warming":
        raise RolloutRefused("the new revision is not ready yet; try again when `kfunc rollout status` says so")
    if rollout.strategy == "ab":
        names = ", ".join(share.tag for share in rollout.shares)
        chosen = rollout.share(variant)
        if chosen is None:
            raise RolloutRefused(f"give the variant that gets everything: kfunc rollout promote --variant NAME, one of {names}")
        if rollout.mode == "raw" and chosen.revision not in (rollout.stable.revision, rollout.rendered):
            raise RolloutRefused(
                "with mode: raw the first variant or func.yaml's own can be promoted: deploy the other one instead"
            )
        return promote(rollout, variant, "asked for", now)
    if variant and variant != rollout.candidates[0].tag:
        raise RolloutRefused("only an A/B test has variants: leave out --variant")
    if rollout.strategy == "blue-green" and rollout.phase == "running":
        asked = replace(rollout, asked_at=now, paused=False)
        return rollout if rollout.asked_at else noted(asked, "the switch is asked for", now)
    return promote(rollout, rollout.candidates[0].tag, "asked for", now)


def aborted(rollout: Rollout, reason: str, now: float) -> Rollout:
    """Give everything back to the stable revision."""
    _under_way(rollout)
    if rollout.phase == "rolling-back":
        return rollout
    if rollout.phase == "promoting" and rollout.stage == "clean":
        raise RolloutRefused("the promotion is nearly done: `kfunc rollout undo` takes it back afterwards")
    return roll_back(rollout, reason, now)


def _under_way(rollout: Rollout) -> None:
    if rollout.has_ended:
        raise RolloutRefused(f"no rollout of {rollout.function} is under way: the last one was {rollout.phase}")
