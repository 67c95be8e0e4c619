"""`kfunc rollout drive` as the Job runs it."""

import time

import pytest
from msgspec.structs import replace

from kfunc.rollout.record import Driver, to_config_map
from tests.cli.conftest import Command
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import api as api
from tests.rollout.worlds import record, rollout

pytestmark = pytest.mark.integration


def test_while_a_driver_that_may_be_dead_has_its_time_the_job_is_to_try_again(kfunc: Command, api: ApiServer) -> None:
    driven = replace(record(rollout()), driver=Driver("dead:1", time.time() + 30))
    api.objects.put(to_config_map(driven))
    result = kfunc("rollout", "drive", "iris", "-n", driven.rollout.namespace, "--stay")
    assert (result.status, result.err) == (4, "error: dead:1 drives this rollout; `kfunc rollout watch` shows it\n")


def test_a_fault_of_ours_is_no_rollback(kfunc: Command, api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = record(rollout())
    api.objects.put(to_config_map(begun))
    monkeypatch.setattr("kfunc.cli.rollout_commands.run", lambda *given, **named: 1 // 0)
    result = kfunc("rollout", "drive", "iris", "-n", begun.rollout.namespace)
    assert (result.status, "ZeroDivisionError" in result.err) == (4, True)
