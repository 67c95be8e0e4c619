"""`kfunc rollout watch`: an API that is away for a moment."""

import pytest

from kfunc.cli.rollout_status import OUTAGE_S, patient_read
from kfunc.errors import ClusterError
from kfunc.rollout.record import Record
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
