"""Mixed shapes, random cancellations and upstream faults: every answer is right (`make soak-batcher` asks a million)."""

from contextlib import ExitStack

import pytest
import uvloop

from tests.batcher_sidecar.soak.__main__ import soak
from tests.batcher_sidecar.soak.client import Tally
from tests.batcher_sidecar.soak.processes import batcher, upstream

pytestmark = pytest.mark.integration


def test_every_answer_is_right_whatever_happens_around_it() -> None:
    tally = Tally()
    with ExitStack() as stack:
        _, behind = upstream(stack, 1)
        _, port = batcher(stack, behind)
        uvloop.run(soak(port, 5_000, 50, 1, tally))
    assert tally.wrong == []
    assert tally.outcomes["200"] > 4_000
    assert tally.outcomes["left"] > 10
