"""Which revisions had all of the traffic, one after the other: what an undo goes back along. Pure."""

from msgspec.structs import replace

from kfunc.rollout.record import Record
from kfunc.rollout.state import Rollout

MOST_SERVED = 10


def with_served(record: Record, *revisions: str) -> Record:
    """The record that knows of these as well, the newest last."""
    served = list(record.served)
    for revision in revisions:
        if served[-1:] != [revision]:
            served.append(revision)
    return replace(record, served=served[-MOST_SERVED:])


def begun(record: Record, last: Record | None) -> Record:
    """A new rollout's record, which goes on with the last one's history."""
    known = replace(record, served=last.served if last else [])
    return with_served(known, record.rollout.stable.revision) if record.rollout.mode == "knative" else known


def advanced(record: Record, rollout: Rollout) -> Record:
    """The record with the rollout's next state: what is promoted has the traffic from now on."""
    now_promoted = rollout.phase == "promoted" and record.rollout.phase != "promoted"
    winner = rollout.share(rollout.winner)
    if now_promoted and winner is not None and rollout.mode == "knative":
        record = with_served(record, winner.revision)
    return replace(record, rollout=rollout)
