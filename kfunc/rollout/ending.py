"""How a rollout ends: the promotion, or the way back, stage after stage, each when the one before is in effect. Pure."""

from msgspec.structs import replace

from kfunc.rollout.layout import STAGES, WAITED_FOR, next_stage
from kfunc.rollout.state import Decision, Rollout, Seen, Share, noted

ROUTES_S = 60.0
"""What a busy cluster may take to route requests otherwise, however quickly its pods become ready."""
WAVES = 4
"""A Deployment that is replaced goes so a quarter of its pods at a time, each of which may take as long as a new one."""


def promote(rollout: Rollout, tag: str, reason: str, now: float) -> Rollout:
    """The rollout ends with the share `tag`."""
    first = STAGES[rollout.via][0]
    rollout = replace(rollout, phase="promoting", stage=first, winner=tag, since=now, settled_at=0.0, reason=reason)
    winner = rollout.share(tag) or rollout.stable
    return noted(replace(rollout, paused=False, is_split=True), f"promoting {winner.revision}: {reason}", now)


def roll_back(rollout: Rollout, reason: str, now: float) -> Rollout:
    """The rollout ends as it began. Where nothing was split yet there is only something to remove."""
    stage = STAGES[rollout.via][0] if rollout.is_split else "clean"
    rollout = replace(rollout, phase="rolling-back", stage=stage, winner=rollout.stable.tag, since=now, settled_at=0.0)
    return noted(replace(rollout, reason=reason, paused=False), f"rolling back: {reason}", now)


def ending(rollout: Rollout, seen: Seen, now: float) -> Decision:
    """Stage after stage, each when the one before is in place and known to all gateways."""
    if not seen.settled:
        if now - rollout.since >= longest(rollout):
            return _late(rollout, seen, now)
        return Decision(replace(rollout, settled_at=0.0) if rollout.settled_at else rollout)
    if not rollout.settled_at:
        rollout = replace(rollout, settled_at=now)
    wait_s = rollout.settings.propagation_s if rollout.stage in WAITED_FOR[rollout.via] else 0.0
    if now - rollout.settled_at < wait_s:
        return Decision(rollout)
    stage = next_stage(rollout)
    if stage is not None:
        return Decision(replace(rollout, stage=stage, since=now, settled_at=0.0))
    return Decision(_ended(rollout, now))


def _late(rollout: Rollout, seen: Seen, now: float) -> Decision:
    """A stage that is not in effect for too long: what can be is taken back, what is done but for the tidying ends."""
    most = f"{longest(rollout):g} s{seen.because}"
    if rollout.stage == "clean":
        by_abort = f"kfunc rollout abort {rollout.function} tries again"
        way = by_abort if rollout.mode == "knative" else "the next kfunc rollout start, or kfunc deploy, removes it"
        return Decision(noted(_ended(rollout, now), f"something is left over that did not go within {most}; {way}", now))
    promotes = rollout.phase == "promoting"
    text = f"the {'promotion' if promotes else 'way back'} of {rollout.function} did not take effect within {most}"
    # the winner has its pods, and the function's are too few
    if promotes and rollout.stage == "adopt" and rollout.mode == "raw":
        way = f"kfunc rollout abort {rollout.function} takes it back"
        return Decision(rollout, stuck=f"{text}; requests stay with {_winner(rollout).revision} ({way})")
    if promotes and rollout.stage in ("shift", "adopt"):
        return Decision(roll_back(rollout, f"the promotion did not take effect within {most}", now))
    return Decision(rollout, stuck=text)


def _ended(rollout: Rollout, now: float) -> Rollout:
    winner = _winner(rollout).revision
    if rollout.phase == "promoting":
        return noted(replace(rollout, phase="promoted", ended_at=now), f"promoted: {winner} has all", now)
    return noted(replace(rollout, phase="rolled-back", ended_at=now), f"rolled back to {winner}", now)


def _winner(rollout: Rollout) -> Share:
    return rollout.share(rollout.winner) or rollout.stable


def longest(rollout: Rollout) -> float:
    """How long a stage may take to be in effect."""
    waves = WAVES if rollout.mode == "raw" and rollout.stage == "adopt" else 1
    return waves * max(rollout.settings.analysis.ready_timeout_s, ROUTES_S)
