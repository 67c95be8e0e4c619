"""What a rollout is and how far it has come: the values that its core works on and its ConfigMap holds. Pure."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from kfunc.cluster.rollout_record import ENDED
from kfunc.config.analysis import Analysis, Promotion
from kfunc.config.deployment import Mode
from kfunc.config.traffic import Via
from kfunc.rollout.statistics import Sample

VERSION = 1
MOST_EVENTS = 100
SOON_S = 1.0

Strategy = Literal["canary", "blue-green", "ab", "undo"]
Phase = Literal["warming", "running", "switched", "promoting", "rolling-back", "promoted", "rolled-back"]
Stage = Literal["shift", "adopt", "merge", "clean"]
Verdict = Literal["pass", "fail", "unsure"]


class Share(Struct, frozen=True):
    """A revision with its tag, and its percent of an A/B test."""

    tag: str
    revision: str
    weight: int = 0


class Settings(Struct, frozen=True, kw_only=True):
    """func.yaml's, as they were when the rollout began; `component` is the pod's outermost process of kfunc's, none: empty."""

    steps: list[int]
    interval_s: float = 60.0
    keep_s: float = 300.0
    warm: int = 1
    promotion: Promotion = "auto"
    propagation_s: float = 5.0
    metrics_port: int = 0
    component: str = ""
    model: str = ""
    analysis: Analysis = Analysis()
    keep_revisions: int = 5
    gateway_namespace: str = ""


class Window(Struct, frozen=True):
    """What was counted since a step began; `last` has the counters of each pod that counts, as they were last seen.

    `read_at`: by tag, when the figures of a revision were last read in this step.
    `values`: the stable revision's of queries, as they were last read while it had traffic.
    """

    since: float = 0.0
    samples: dict[str, Sample] = {}
    last: dict[str, Sample] = {}
    read_at: dict[str, float] = {}
    values: dict[str, float] = {}


class Check(Struct, frozen=True):
    """One condition of a step, what came of it, and the figures in words."""

    name: str
    tag: str
    verdict: Verdict
    text: str


class Event(Struct, frozen=True):
    """Something that happened, at a time in seconds since 1970."""

    at: float
    text: str


class Rollout(Struct, frozen=True, kw_only=True):
    """A rollout: the first share had all requests when it began.

    `since` is when its phase, or the step within it, began; `settled_at` when the cluster was first seen as the phase,
    or the stage of its end, wants it (0: not yet); `passed_at` when its checks were last passed, or somebody took it up,
    from when on its longest time counts; `unready_since` when the revisions were last seen all ready;
    `bare_since` since when one of them has no ready pod (0: each has one). `why`: what is waited for, as it was last seen;
    `rests`: nothing happens until somebody says so.
    `scales` are the revisions' own min-scales, as text, for the time after it; `kept_pods`: how many ready pods the
    stable revision had when it last had requests. `asked_at`: when somebody asked for the switch (0: nobody).
    `reference`, `stable_values`: what the stable revision showed in earlier steps, for those in which it gets next to nothing.
    """

    id: str
    function: str
    namespace: str
    mode: Mode = "knative"
    via: Via = "istio"
    strategy: Strategy
    shares: list[Share]
    settings: Settings
    rendered: str
    scales: dict[str, str] = {}
    phase: Phase = "warming"
    step: int = 0
    since: float
    settled_at: float = 0.0
    passed_at: float = 0.0
    unready_since: float = 0.0
    bare_since: float = 0.0
    kept_pods: int = 0
    asked_at: float = 0.0
    began_at: float
    ended_at: float = 0.0
    is_split: bool = False
    paused: bool = False
    rests: bool = False
    stage: Stage = "shift"
    winner: str = ""
    reason: str = ""
    why: str = ""
    window: Window = Window()
    reference: Sample | None = None
    stable_values: dict[str, float] = {}
    restarts: dict[str, int] = {}
    bad_looks: dict[str, int] = {}
    checks: list[Check] = []
    events: list[Event] = []
    version: int = VERSION

    @property
    def stable(self) -> Share:
        """The revision that all goes back to."""
        return self.shares[0]

    @property
    def candidates(self) -> list[Share]:
        """The revisions that are tried."""
        return self.shares[1:]

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self.phase in ENDED

    def share(self, tag: str) -> Share | None:
        """The share with this tag."""
        return next((share for share in self.shares if share.tag == tag), None)


class Pod(Struct, frozen=True):
    """A pod of a revision: when it became ready (0: it is not), its counters if they could be read, its restarts."""

    name: str
    ready_at: float = 0.0
    counters: Sample | None = None
    restarts: int = 0
    ended: str = ""


class Seen(Struct, frozen=True):
    """What the cluster is like: whether all is as the layout wants it, the pods by tag, and what Prometheus says.

    `settled`: so it is, and requests go that way; `why`: what is waited for; `broken`: by tag, why a revision
    cannot become ready. `samples` are Prometheus' since the window began, `values` those of queries by name and tag;
    both None where it was not asked, or did not answer.
    """

    settled: bool = False
    why: str = ""
    ready: dict[str, bool] = {}
    broken: dict[str, str] = {}
    pods: dict[str, list[Pod]] = {}
    samples: dict[str, Sample] | None = None
    values: dict[str, dict[str, float | None]] | None = None

    @property
    def because(self) -> str:
        """What is waited for, as the end of a sentence."""
        return f": {self.why}" if self.why else ""


class Layout(Struct, frozen=True):
    """What the cluster should be like, for the driver to make it so.

    `weights`: percent by tag, where `is_split`; else the live host goes where the plain address goes, which is `plain`.
    `tagged`: each share has its tag and keeps `warm` pods. `winner`: the share that has everything at the end.
    """

    weights: dict[str, int]
    plain: str
    is_split: bool
    tagged: bool
    warm: int
    winner: str = ""


class Decision(Struct, frozen=True):
    """The state from now on, how long nothing needs to be looked at, and whether requests should be sent.

    `rests`: nothing happens until somebody says so, and the driver may go. `stuck`: why it may go as well, since the cluster
    does not take up what has to come next; empty where it does.
    """

    rollout: Rollout
    wait_s: float = SOON_S
    load: bool = False
    rests: bool = False
    stuck: str = ""


def noted(rollout: Rollout, text: str, now: float) -> Rollout:
    """The rollout with an event more."""
    return replace(rollout, events=[*rollout.events, Event(now, text)][-MOST_EVENTS:])
