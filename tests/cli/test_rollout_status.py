"""`kfunc rollout watch`: an API that is away for a moment."""

import time
from typing import cast

import pytest
from msgspec.structs import replace

from kfunc.cli.rollout_status import OUTAGE_S, UNDRIVEN_S, Shown, follow, patient_read, watched
from kfunc.errors import ClusterError
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.record import Driver, Record
from kfunc.rollout.store import ConfigMapStore
from tests.rollout.worlds import FakeStore, record, rollout


class Away(FakeStore):
    """A record that cannot be read for a time."""

    def __init__(self, code: int, back_at: float) -> None:
        super().__init__(record(rollout()))
        self.code, self.back_at, self.now = code, back_at, 0.0

    def read(self) -> Record | None:
        if self.now < self.back_at:
            raise ClusterError("away", self.code)
        return super().read()

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Kept(FakeStore):
    """A record by this machine's clock."""

    def now(self) -> float:
        return time.time()


class Gone(FakeStore):
    """A record that somebody deletes."""

    function = "iris"


def test_a_rollout_that_was_deleted_is_not_followed_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    store = cast(ConfigMapStore, Gone(None))
    with pytest.raises(RolloutRefused, match="the rollout of iris is gone"):
        follow(store, [], False, stay=True)


@pytest.mark.parametrize("rests", [True, False])
def test_a_rollout_that_rests_is_left_though_its_driver_stays(rests: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfunc.cli.rollout_status.LOOK_S", 0.0)
    driven = replace(record(rollout(phase="running", rests=rests)), driver=Driver("job", time.time() + 0.3))
    left = follow(cast(ConfigMapStore, Kept(driven)), [], True, stay=False)
    assert (left is None) == rests


class Passing(FakeStore):
    """A record whose time passes by the look."""

    function = "iris"
    at = 1000.0

    def now(self) -> float:
        self.at += 10
        return self.at


def test_where_nobody_drives_it_is_said_and_not_watched_for_ever(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.cli.rollout_status.LOOK_S", 0.0)
    begun = record(rollout())
    store = Passing(begun)
    assert watched(cast(ConfigMapStore, store), begun, Shown(False), is_page=False) == 4
    assert capsys.readouterr().err == "driven by: nobody; kfunc rollout resume iris goes on\n"
    assert store.at == 1010.0 + UNDRIVEN_S


@pytest.mark.parametrize(("rests", "until"), [(True, 0.0), (False, 1e9)], ids=["for people", "its driver works"])
def test_what_rests_or_is_driven_is_watched_until_it_ends(rests: bool, until: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kfunc.cli.rollout_status.LOOK_S", 0.0)
    waiting = replace(record(rollout(phase="running", rests=rests)), driver=Driver("job", until))
    store, looks = Passing(waiting), list[float]()

    def show(shown: Record, now: float) -> None:
        looks.append(now)
        if len(looks) == 100:
            store.record = replace(waiting, rollout=replace(waiting.rollout, phase="promoted"))

    assert watched(cast(ConfigMapStore, store), waiting, show, is_page=False) == 0
    assert len(looks) == 101


@pytest.mark.parametrize("code", [0, 503])
def test_it_is_waited_for(code: int) -> None:
    store = Away(code, 5)
    assert patient_read(store, store.clock, store.sleep) == FakeStore.read(store)


@pytest.mark.parametrize(("code", "back_at", "after"), [(0, 1e9, OUTAGE_S), (403, 1e9, 1.0)])
def test_but_not_for_ever_and_not_where_it_says_no(code: int, back_at: float, after: float) -> None:
    store = Away(code, back_at)
    with pytest.raises(ClusterError):
        patient_read(store, store.clock, store.sleep)
    assert store.now == after
