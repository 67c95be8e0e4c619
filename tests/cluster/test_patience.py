"""How long a deployment waits, with time as an argument."""

from kfunc.cluster.causes import Cause
from kfunc.cluster.diagnosis import Diagnosis
from kfunc.cluster.patience import Patience

PULL = Cause("image-pull", "cannot be pulled", patience_s=10.0)
OOM = Cause("out-of-memory", "needs more", patience_s=0.0)
SCALING = Cause("unschedulable", "a node is being added")


def held(*causes: Cause) -> Diagnosis:
    return Diagnosis("starting", "handler not running yet", list(causes))


def test_ready_ends_without_a_cause() -> None:
    assert Patience(0, 60).judge(Diagnosis("ready"), 1) == []


def test_without_a_cause_it_waits() -> None:
    assert Patience(0, 60).judge(held(), 59) is None


def test_a_cause_ends_it_when_it_has_lasted() -> None:
    patience = Patience(0, 60)
    assert [patience.judge(held(PULL), now) for now in (1, 10, 11)] == [None, None, [PULL]]


def test_a_cause_that_went_away_begins_anew() -> None:
    patience = Patience(0, 60)
    assert [patience.judge(held(*causes), now) for causes, now in (((PULL,), 1), ((), 5), ((PULL,), 11))] == [None] * 3


def test_a_cause_without_hope_ends_it_at_once() -> None:
    assert Patience(0, 60).judge(held(PULL, OOM), 1) == [OOM]


def test_a_cause_that_may_take_long_ends_it_with_the_time() -> None:
    patience = Patience(0, 60)
    assert [patience.judge(held(SCALING), now) for now in (1, 59, 60)] == [None, None, [SCALING]]


def test_when_the_time_is_over_without_a_cause_it_says_what_it_waited_for() -> None:
    causes = Patience(0, 60).judge(held(), 60)
    assert causes is not None
    assert [cause.code for cause in causes] == ["never-ready"]
    assert causes[0].text == "not ready after 60 s, still starting: handler not running yet"
