from kfunc.bench.arrivals import Arrivals


def test_requests_are_due_at_a_constant_rate() -> None:
    assert Arrivals(10.0, 100.0, 200.0).take(100.35) == [100.0, 100.1, 100.2, 100.3]


def test_those_that_were_due_while_nobody_looked_are_due_still_at_their_times() -> None:
    arrivals = Arrivals(10.0, 0.0, 100.0)
    assert len(arrivals.take(1.0)) == 11
    assert arrivals.take(1.05) == []
    assert len(arrivals.take(3.0)) == 20


def test_after_the_end_none_is_due() -> None:
    arrivals = Arrivals(10.0, 0.0, 0.35)
    assert len(arrivals.take(99.0)) == 4
    assert arrivals.next_at is None


def test_the_times_do_not_drift() -> None:
    arrivals = Arrivals(3.0, 0.0, 1e6)
    assert arrivals.take(1000.0)[-1] == 1000.0
