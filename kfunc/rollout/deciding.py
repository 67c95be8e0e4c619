"""Decides what a rollout does next: its state, what is seen of the cluster and the time in, its next state out. Pure."""

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from kfunc.rollout.analysis import REQUESTS, extended, percent
from kfunc.rollout.ending import ending, promote, roll_back
from kfunc.rollout.judging import judged, remembered
from kfunc.rollout.layout import current_step, layout
from kfunc.rollout.state import SOON_S, Decision, Rollout, Seen, Window, noted
from kfunc.rollout.statistics import Sample

LOOK_S = 5.0
SETTLING = 200
"""Requests of which one bad answer is no more than the usual bounds of 1 %; a rollout sends none of its own beyond."""
BARE_S = 20.0
"""How long a revision with traffic may have no ready pod: what it gets meanwhile is lost, or waits."""
UNDO_S = 60.0
"""An undo waits so long for as many pods as have to take over, and then takes those that there are: what it leaves is worse."""


def decide(rollout: Rollout, seen: Seen, now: float) -> Decision:
    """One look at the cluster, and what comes of it."""
    return PHASES[rollout.phase](rollout, seen, now)


def taken_up(rollout: Rollout, now: float) -> Rollout:
    """The rollout in the hands of another driver: nobody has looked for a while, so what lasts lasts from now on."""
    asked_at = now if rollout.asked_at else 0.0
    return replace(rollout, since=now, passed_at=now, unready_since=now, bare_since=0.0, asked_at=asked_at)


def _warming(rollout: Rollout, seen: Seen, now: float) -> Decision:
    """Until every candidate is ready, keeps its pods, and has its own host."""
    for share in rollout.candidates:
        if share.tag in seen.broken:
            reason = f"{share.revision} did not become ready: {seen.broken[share.tag]}"
            return Decision(roll_back(rollout, reason, now))
    rollout = _counted(rollout, seen)
    waiting = [share for share in rollout.candidates if not seen.ready.get(share.tag)]
    late = rollout.strategy == "undo" and now - rollout.since >= UNDO_S
    if waiting or not (seen.settled or late):
        left = rollout.settings.analysis.ready_timeout_s
        if now - rollout.since >= left:
            what = f"{waiting[0].revision} was not ready" if waiting else "the cluster did not take up the new revision"
            return Decision(roll_back(rollout, f"{what} within {left:g} s{seen.because}", now))
        return Decision(replace(rollout, settled_at=0.0) if rollout.settled_at else rollout)
    if rollout.mode == "raw":  # a Deployment is ready before gateways know its pods; a revision when they do
        rollout = rollout if rollout.settled_at else replace(rollout, settled_at=now)
        if now - rollout.settled_at < rollout.settings.propagation_s:
            return Decision(rollout)
    restarts = {pod.name: pod.restarts for pods in seen.pods.values() for pod in pods}
    rollout = replace(rollout, restarts=restarts, unready_since=now)
    if rollout.strategy == "undo":
        return Decision(promote(rollout, rollout.candidates[0].tag, "it had the traffic before", now))
    rollout = _entered(replace(rollout, phase="running", is_split=True), now)
    return Decision(noted(rollout, f"{', '.join(s.revision for s in rollout.candidates)} ready: {_split_text(rollout)}", now))


def _split_text(rollout: Rollout) -> str:
    if rollout.strategy == "ab":
        return ", ".join(f"{share.weight} % {share.tag}" for share in rollout.shares)
    step = current_step(rollout)
    return f"{step} % of the requests" if step else "at the preview's address"


def _entered(rollout: Rollout, now: float) -> Rollout:
    """A step begins: its requests count from when the cluster is seen to send them."""
    return replace(
        rollout, since=now, settled_at=0.0, passed_at=0.0, window=Window(last=rollout.window.last), checks=[], bad_looks={}
    )


def _running(rollout: Rollout, seen: Seen, now: float) -> Decision:
    """A step, the time before a switch, or a comparison."""
    rollout, trouble = _looked(rollout, seen, now)
    if trouble:
        return Decision(roll_back(rollout, f"{_where(rollout)}: {trouble}", now))
    if not rollout.settled_at:
        return Decision(rollout)
    if rollout.asked_at:
        return _asked(rollout, seen, now)
    by_itself = rollout.strategy == "blue-green" and rollout.settings.promotion == "auto"
    passed = not _unsure(rollout) and (seen.settled or not by_itself)
    rollout = replace(rollout, passed_at=now) if passed else rollout
    due = now - rollout.settled_at >= rollout.settings.interval_s
    load = rollout.settings.analysis.load is not UNSET and _needs_requests(rollout)
    if rollout.paused:
        return Decision(rollout, LOOK_S, load)
    if passed and due:
        return _passed(rollout, now, load)
    if late := _late(rollout, rollout.settings.interval_s, now):
        return Decision(roll_back(rollout, f"{_where(rollout)}: not passed within {late}{seen.because}", now))
    return Decision(rollout, SOON_S if passed else min(LOOK_S, rollout.settings.interval_s / 4 + 0.1), load)


def _late(rollout: Rollout, least_s: float, now: float) -> str:
    """The longest time without a passed look, and what is missing, where that time is over; a comparison has none."""
    most = max(rollout.settings.analysis.max_step_s, least_s)
    if rollout.strategy == "ab" or now - max(rollout.settled_at, rollout.passed_at) < most:
        return ""
    return f"{most:g} s{_with(_unsure(rollout))}"


def _needs_requests(rollout: Rollout) -> bool:
    """Whether more answers would help: there are fewer than are needed, or so few that one bad one leaves it open."""
    if any(check.name == REQUESTS and check.verdict != "pass" for check in rollout.checks):
        return True
    answered = min(rollout.window.samples.get(share.tag, Sample()).requests for share in rollout.candidates)
    return answered < SETTLING and bool(_unsure(rollout))


def _asked(rollout: Rollout, seen: Seen, now: float) -> Decision:
    """Somebody wants the switch: it is made when the candidate has the pods for it."""
    if seen.settled:
        return Decision(switch(rollout, now))
    if now - rollout.asked_at >= rollout.settings.analysis.ready_timeout_s:
        return Decision(noted(replace(rollout, asked_at=0.0), f"not switched{seen.because}", now))
    return Decision(rollout)


def _passed(rollout: Rollout, now: float, load: bool) -> Decision:
    """What follows when a step has its time and its analysis behind it."""
    if rollout.strategy == "ab":
        if not rollout.reason:
            rollout = noted(replace(rollout, reason="the comparison has its requests"), "the comparison has its requests", now)
        return Decision(rollout, LOOK_S, load, rests=True)
    if rollout.strategy == "blue-green":
        if rollout.settings.promotion == "manual":
            return Decision(rollout, LOOK_S, load, rests=True)
        return Decision(switch(rollout, now))
    if rollout.settings.promotion == "manual" and rollout.step == len(rollout.settings.steps) - 1:
        return Decision(rollout, LOOK_S, load, rests=True)
    rollout = remembered(rollout)
    summary = "; ".join(check.text for check in rollout.checks if check.name != REQUESTS)
    rollout = noted(rollout, f"{_where(rollout)} passed{': ' if summary else ''}{summary}", now)
    if rollout.step + 1 < len(rollout.settings.steps):
        rollout = _entered(replace(rollout, step=rollout.step + 1), now)
        return Decision(noted(rollout, _split_text(rollout), now))
    return Decision(promote(rollout, rollout.candidates[0].tag, "all steps are passed", now))


def _switched(rollout: Rollout, seen: Seen, now: float) -> Decision:
    """Blue/green after its switch: the old revision is kept, for the way back."""
    rollout, trouble = _looked(rollout, seen, now)
    if trouble:
        return Decision(roll_back(rollout, f"after the switch: {trouble}", now))
    if not rollout.settled_at:
        return Decision(rollout)
    keep_s, unsure = rollout.settings.keep_s, _unsure(rollout)
    rollout = rollout if unsure else replace(rollout, passed_at=now)
    if not rollout.paused and now - rollout.settled_at >= keep_s:
        if not unsure:
            return Decision(promote(rollout, rollout.candidates[0].tag, f"{keep_s:g} s have passed", now))
        if late := _late(rollout, keep_s, now):
            return Decision(roll_back(rollout, f"after the switch: not sure within {late}{seen.because}", now))
    return Decision(rollout, min(LOOK_S, keep_s / 4 + 0.1))


def _unsure(rollout: Rollout) -> str:
    """What keeps the rollout from going on; empty where every check is passed."""
    return "; ".join(check.text for check in rollout.checks if check.verdict != "pass")


def _looked(rollout: Rollout, seen: Seen, now: float) -> tuple[Rollout, str]:
    """The rollout with what was seen taken up, and what must end it."""
    analysis = rollout.settings.analysis
    rollout, trouble = _pods_looked(_counted(rollout, seen), seen, now)
    if trouble:
        return rollout, trouble
    for share in rollout.candidates:
        pods = seen.pods.get(share.tag, [])
        again = sum(max(pod.restarts - rollout.restarts.get(pod.name, 0), 0) for pod in pods)
        if again > analysis.restarts:
            why = next((pod.ended for pod in pods if pod.ended), "it ended")
            return rollout, f"containers of {share.revision} were started again {again} times: {why}"
    if not rollout.settled_at:
        if not seen.settled:
            late = now - rollout.since >= analysis.ready_timeout_s
            return rollout, f"the cluster did not take up the split{seen.because}" if late else ""
        rollout = replace(rollout, settled_at=now, window=Window(now, {}, rollout.window.last))
    window = extended(rollout.window, seen.pods, now, analysis.exclude_start_s)
    if seen.samples is not None:
        window = replace(window, samples=seen.samples, read_at={share.tag: now for share in rollout.shares})
    return judged(replace(rollout, window=window), seen, now)


def _counted(rollout: Rollout, seen: Seen) -> Rollout:
    """The rollout that knows how many pods the stable revision has, as long as it has requests."""
    pods = sum(pod.ready_at > 0 for pod in seen.pods.get(rollout.stable.tag, []))
    return replace(rollout, kept_pods=pods) if layout(rollout).weights[rollout.stable.tag] else rollout


def _pods_looked(rollout: Rollout, seen: Seen, now: float) -> tuple[Rollout, str]:
    """Whether each candidate has its pods, and what must end it where one has none, or too few for too long."""
    bare = [share for share in rollout.candidates if not any(pod.ready_at for pod in seen.pods.get(share.tag, []))]
    for share in bare:
        if share.tag in seen.broken:
            return rollout, f"{share.revision} has no ready pod: {seen.broken[share.tag]}"
    rollout = replace(rollout, bare_since=(rollout.bare_since or now) if bare else 0.0)
    weights = layout(rollout).weights
    asked = [share for share in bare if weights.get(share.tag)]
    if asked and now - rollout.bare_since >= BARE_S:
        return rollout, f"no pod of {asked[0].revision} was ready for {BARE_S:g} s{seen.because}"
    short = [share for share in rollout.candidates if not seen.ready.get(share.tag)]
    if not short:
        return replace(rollout, unready_since=now), ""
    most = rollout.settings.analysis.ready_timeout_s
    if now - rollout.unready_since < most:
        return rollout, ""
    what, was = ("no pod", "was") if short[0] in bare else (f"fewer than {rollout.settings.warm} pods", "were")
    return rollout, f"{what} of {short[0].revision} {was} ready for {most:g} s{seen.because}"


def _ended(rollout: Rollout, seen: Seen, now: float) -> Decision:
    return Decision(rollout, rests=True)


def switch(rollout: Rollout, now: float) -> Rollout:
    """Blue/green: the candidate gets everything."""
    rollout = _entered(replace(remembered(rollout), phase="switched", paused=False, asked_at=0.0), now)
    return noted(rollout, f"switched: {percent(1)} of the requests go to {rollout.candidates[0].revision}", now)


def _where(rollout: Rollout) -> str:
    if rollout.strategy == "canary":
        return f"step {current_step(rollout)} %"
    return "before the switch" if rollout.strategy == "blue-green" else "comparison"


def _with(text: str) -> str:
    return f": {text}" if text else ""


PHASES: dict[str, Callable[[Rollout, Seen, float], Decision]] = {
    "warming": _warming,
    "running": _running,
    "switched": _switched,
    "promoting": ending,
    "rolling-back": ending,
    "promoted": _ended,
    "rolled-back": _ended,
}
