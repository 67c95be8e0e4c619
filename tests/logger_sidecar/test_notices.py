"""What is said of lost calls, and how often."""

import pytest

from kfunc.logger_sidecar.notices import Notices


def test_lost_calls_are_counted_each_and_said_once_with_their_number_and_at_the_end_those_that_came_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counted: list[tuple[str, int]] = []
    notices = Notices(lambda reason, calls: counted.append((reason, calls)))
    for calls in (1, 50, 7):
        notices.drop("full", calls)
    notices.drop("failed")
    assert counted == [("full", 1), ("full", 50), ("full", 7), ("failed", 1)]
    notices.end()
    said = [record.getMessage().rpartition("(")[2] for record in caplog.records]
    assert said == ["calls lost so far: 1)", "calls lost so far: 1)", "calls lost so far: 58)"]
