"""What the ConfigMap of a function's rollouts says to those who only need to know which revisions it is about. Pure."""

import msgspec
from msgspec import Struct

from kfunc.manifests.plan import Manifest

ENDED = ("promoted", "rolled-back")
"""Phases of a rollout after which it needs no revision of its own."""


class _Share(Struct, frozen=True):
    revision: str = ""


class _Rollout(Struct, frozen=True):
    phase: str = ""
    rendered: str = ""
    shares: list[_Share] = []


class Told(Struct, frozen=True):
    """The revisions of the last rollout, whether it is under way, and who served before: the newest last.

    `is_readable`: False for a record of another version, of which nothing is known.
    """

    revisions: frozenset[str] = frozenset()
    under_way: bool = False
    served: list[str] = []
    is_readable: bool = True


def record_name(function: str) -> str:
    """The ConfigMap's name."""
    return f"{function}-rollout"


def told(record: Manifest | None) -> Told:
    """What it says; nothing where there is none."""
    data = (record or {}).get("data") or {}
    try:
        served = msgspec.json.decode(data.get("served", "[]"), type=list[str])
        rollout = msgspec.json.decode(data["rollout"], type=_Rollout) if "rollout" in data else None
    except msgspec.MsgspecError:
        return Told(is_readable=False)
    if rollout is None:
        return Told(served=served)
    named = {rollout.rendered, *(share.revision for share in rollout.shares)} - {""}
    return Told(frozenset(named), rollout.phase not in ENDED, served)
