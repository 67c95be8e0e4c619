"""What comes of a rollout that has begun, whoever drives it: exit statuses, and what is said."""

import threading
import time

import pytest
from msgspec.structs import replace

from kfunc.cli.rollout_driving import finish, go_on
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.record import Driver, Record, to_config_map
from kfunc.rollout.state import Event
from kfunc.rollout.store import ConfigMapStore
from tests.cli.conftest import Command
from tests.cluster.api_server import ApiServer, connect
from tests.cluster.conftest import api as api
from tests.rollout.worlds import record, rollout

pytestmark = pytest.mark.integration
MAP = "/api/v1/namespaces/default/configmaps/iris-rollout"
BEGUN = record(rollout(events=[Event(1000.0, "iris-b comes beside iris-a")]))


def kept(api: ApiServer, one: Record) -> Record:
    """The record as the cluster has it."""
    made = api.objects.put(to_config_map(one))
    return replace(one, version=made["metadata"]["resourceVersion"])


def test_where_somebody_else_is_quicker_it_is_followed(api: ApiServer, capsys: pytest.CaptureFixture[str]) -> None:
    known = kept(api, BEGUN)
    kept(api, replace(BEGUN, driver=Driver("job", time.time() + 30)))
    done = replace(BEGUN.rollout, phase="promoted", events=[*BEGUN.rollout.events, Event(1001.0, "promoted: iris-b has all")])
    timer = threading.Timer(0.5, lambda: kept(api, replace(BEGUN, rollout=done)))
    timer.start()
    assert go_on(connect(), known, "me", as_json=False) == 0
    timer.join()
    said = capsys.readouterr().out
    assert [line.split("  ")[1] for line in said.splitlines()] == ["iris-b comes beside iris-a", "promoted: iris-b has all"]


@pytest.mark.parametrize("driver", [Driver(), Driver("job", 1e12)], ids=["driven", "followed"])
def test_a_cluster_that_is_lost_is_no_rollback(api: ApiServer, driver: Driver, capsys: pytest.CaptureFixture[str]) -> None:
    known = kept(api, replace(BEGUN, driver=driver))
    api.objects.refusals["GET", MAP] = (401, "Unauthorized")
    assert go_on(connect(), known, "me", as_json=False) == 4
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.endswith("; the rollout stays as it is: kfunc rollout resume iris goes on\n")


@pytest.mark.parametrize(("phase", "status"), [("rolled-back", 0), ("promoted", 1)])
def test_abort_is_good_where_it_ends_so(kfunc: Command, api: ApiServer, phase: str, status: int) -> None:
    kept(api, replace(BEGUN, driver=Driver("job", time.time() + 30)))

    def end() -> None:
        kept(api, replace(BEGUN, rollout=replace(BEGUN.rollout, phase=phase)))

    timer = threading.Timer(1.0, end)
    timer.start()
    assert kfunc("rollout", "abort", "iris", "-n", "default").status == status
    timer.join()


def test_a_record_that_has_gone_is_no_way_back(api: ApiServer) -> None:
    with pytest.raises(RolloutRefused, match="the rollout of iris is gone: somebody has deleted the function, or its record"):
        finish(ConfigMapStore(connect(), "iris", "default"), as_json=False)
