"""`kfunc rollout drive` as the Job runs it."""

import time

import pytest
from msgspec.structs import replace

from kfunc.rollout.record import Driver, to_config_map
from tests.cli.conftest import Command
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import api as api
from tests.cluster.controllers import SlowKnative
from tests.rollout.test_knative_changes import POLICY, RULED, TAGGED, revision, service
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


def test_a_promotion_where_knative_splits_ends_with_the_access_rules_of_func_yaml(kfunc: Command, api: ApiServer) -> None:
    turned = [part | {"percent": percent} for part, percent in zip(TAGGED, [0, 100], strict=True)]
    last = {"phase": "promoting", "winner": "candidate", "stage": "shift", "is_split": True}
    one = rollout(via="knative", scales={"iris-a": "", "iris-b": ""}, propagation_s=0.0, **last)
    ready = {
        "spec": {"containers": [{"image": "example.com/iris:1"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    named = {"namespace": "default", "labels": {"serving.knative.dev/service": "iris"}}
    for name in ("iris-a", "iris-b"):
        about = revision(name)["metadata"] | named
        api.objects.put({"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": about} | ready)
    api.objects.on_change = SlowKnative()
    api.objects.put(service("iris-b", turned))
    api.objects.put(to_config_map(replace(record(one), objects=RULED)))
    assert kfunc("rollout", "drive", "iris", "-n", "default").status == 0
    (policy,) = api.objects.of_kind("AuthorizationPolicy")
    assert policy["spec"] == POLICY["spec"]
