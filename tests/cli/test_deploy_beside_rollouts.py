"""`kfunc deploy` after and during a rollout: no traffic at what was rejected, one command at a time, the history of undo."""

import time
from pathlib import Path

import msgspec
import pytest

from kfunc.cluster.lock import Lock
from kfunc.manifests.plan import Manifest
from kfunc.rollout.history import with_served
from kfunc.rollout.record import Record
from kfunc.rollout.state import Phase
from kfunc.rollout.store import ConfigMapStore
from kfunc.rollout.undoing import plan_undo
from tests.cli.conftest import FUNC_YAML, Command
from tests.cluster.api_server import ApiServer, connect
from tests.cluster.conftest import api as api
from tests.cluster.controllers import SlowKnative
from tests.rollout.test_recovering import AB
from tests.rollout.worlds import record, rollout

pytestmark = pytest.mark.integration
LATEST = [{"latestRevision": True, "percent": 100}]
ARGUMENTS = ("--no-build", "--timeout", "10")


@pytest.fixture
def knative(api: ApiServer) -> SlowKnative:
    """Controllers as slow as real ones."""
    controllers = SlowKnative()
    api.objects.on_change = controllers
    return controllers


def write(folder: Path, number: int, traffic: str = "  traffic: {strategy: canary}\n") -> None:
    text = FUNC_YAML.replace("runtime: python", f"runtime: python\nimage: example.com/iris:{number}")
    (folder / "func.yaml").write_text(text + traffic)


def service(api: ApiServer) -> Manifest:
    (found,) = api.objects.of_kind("KnativeService")
    return found


def revisions(api: ApiServer) -> list[str]:
    return [each["metadata"]["name"] for each in api.objects.of_kind("Revision")]


@pytest.fixture
def rejected(kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative) -> str:
    """A revision that is ready and was rolled back: the traffic is bound to the one before."""
    write(folder, 1)
    assert kfunc("deploy", folder, *ARGUMENTS).status == 0
    good = service(api)
    write(folder, 2)
    assert kfunc("deploy", folder, *ARGUMENTS, "--all-at-once").status == 0
    first, second = revisions(api)
    bound = [{"revisionName": first, "percent": 100}]
    api.objects.put(good | {"spec": good["spec"] | {"traffic": bound}})
    knative(api.objects, service(api))
    knative.served.clear()
    return second


@pytest.mark.parametrize(
    ("traffic", "options"),
    [("  traffic: {strategy: canary}\n", ["--all-at-once"]), ("", [])],
    ids=["all at once", "no traffic"],
)
def test_the_rejected_revision_gets_no_traffic(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative, rejected: str, traffic: str, options: list[str]
) -> None:
    write(folder, 3, traffic)
    result = kfunc("deploy", folder, *ARGUMENTS, *options)
    first, _, third = revisions(api)
    assert (result.status, result.err) == (0, "")
    assert knative.served == [first, third]
    assert service(api)["spec"]["traffic"] == LATEST
    assert f"{third} gets everything, {first} had it until it was ready" in result.out


def test_afterwards_nothing_changes_any_more(kfunc: Command, folder: Path, knative: SlowKnative, rejected: str) -> None:
    write(folder, 3)
    kfunc("deploy", folder, *ARGUMENTS, "--all-at-once")
    assert "nothing changed" in kfunc("deploy", folder, *ARGUMENTS).out


def test_a_revision_that_does_not_become_ready_leaves_the_traffic_where_it_is(
    kfunc: Command, folder: Path, api: ApiServer, rejected: str
) -> None:
    never = SlowKnative(ready_after_s=2.0)
    api.objects.on_change = never
    write(folder, 3)
    assert kfunc("deploy", folder, "--no-build", "--timeout", "1", "--all-at-once").status == 1
    assert never.served == [revisions(api)[0]]


@pytest.mark.parametrize("options", [("--no-build",), ()], ids=["no build", "before anything is built"])
def test_who_does_not_wait_is_told_that_it_takes_waiting(
    kfunc: Command, folder: Path, api: ApiServer, rejected: str, options: tuple[str, ...]
) -> None:
    write(folder, 3)
    result = kfunc("deploy", folder, *options, "--wait=false", "--all-at-once")
    assert (result.status, "leave out --wait=false" in result.err) == (1, True)
    assert "packages for" not in result.err
    assert len(revisions(api)) == 2


def kept(phase: Phase, *served: str) -> Record:
    """A record in the cluster."""
    store = ConfigMapStore(connect(), "iris", "default")
    return store.write(with_served(record(rollout(phase=phase)), *served))


@pytest.mark.parametrize("traffic", ["  traffic: {strategy: canary}\n", ""], ids=["canary", "no traffic"])
def test_a_rollout_is_not_overrun_whatever_func_yaml_says(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative, traffic: str
) -> None:
    kept("warming")
    write(folder, 1, traffic)
    result = kfunc("deploy", folder, *ARGUMENTS, "--all-at-once")
    assert "a rollout of iris is under way: kfunc rollout status iris shows it, promote or abort ends it" in result.err
    assert api.objects.of_kind("KnativeService") == []


@pytest.mark.parametrize("command", [("deploy",), ("rollout", "start"), ("rollout", "undo")])
def test_while_deploy_runs_others_are_told_to_wait(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative, command: tuple[str, ...]
) -> None:
    write(folder, 1)
    kfunc("deploy", folder, *ARGUMENTS)
    write(folder, 2)
    kept("promoted", "iris-0", "iris-1")
    options = ["--no-build"] if command != ("rollout", "undo") else []
    with Lock(connect(), "iris", "default", "kfunc deploy (ann:1)"):
        result = kfunc(*command, folder, *options)
    assert result.status == 1
    assert "kfunc deploy (ann:1) is changing iris: wait until it has ended, and try again" in result.err
    assert len(revisions(api)) == 1


def test_a_split_that_no_rollout_knows_is_ended_by_abort(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative
) -> None:
    write(folder, 1)
    kfunc("deploy", folder, *ARGUMENTS)
    live = service(api)
    (first,) = revisions(api)
    tagged = [{"revisionName": first, "percent": 100, "tag": "control"}]
    api.objects.put(live | {"spec": live["spec"] | {"traffic": tagged}})
    knative(api.objects, service(api))
    for command in (("deploy",), ("rollout", "start", "--detach")):
        write(folder, 2)
        result = kfunc(*command, folder, "--no-build")
        assert (result.status, "kfunc rollout abort iris gives everything to one" in result.err) == (1, True)
    assert kfunc("rollout", "abort", "iris", "-n", "default").status == 0
    assert service(api)["spec"]["traffic"] == [{"revisionName": first, "percent": 100}]
    assert kfunc("rollout", "start", folder, "--no-build", "--detach").status == 0


def test_a_deployed_comparison_is_ended_before_func_yaml_speaks_of_it_no_more(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative
) -> None:
    write(folder, 1, "")
    kfunc("deploy", folder, *ARGUMENTS)
    api.objects.put(AB)
    result = kfunc("deploy", folder, *ARGUMENTS)
    assert (result.status, "kfunc rollout abort iris gives everything to one" in result.err) == (1, True)


def test_what_deploy_brings_is_part_of_the_history_that_undo_goes_back_along(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative
) -> None:
    write(folder, 1)
    kfunc("deploy", folder, *ARGUMENTS)
    kept("promoted", "iris-0")
    write(folder, 2)
    kfunc("deploy", folder, *ARGUMENTS, "--all-at-once")
    first, second = revisions(api)
    told = ConfigMapStore(connect(), "iris", "default").read()
    assert told is not None
    assert told.served == ["iris-0", first, second]
    rows = msgspec.json.decode(kfunc("revisions", "iris", "--output", "json").out)
    assert [row["name"] for row in rows if row["undo"]] == [first]


@pytest.mark.parametrize("way", [(), ("--to",)], ids=["the marked one", "a named one"])
def test_what_was_only_deployed_so_far_can_be_undone(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative, way: tuple[str, ...]
) -> None:
    write(folder, 1, "")
    kfunc("deploy", folder, *ARGUMENTS)
    write(folder, 2, "")
    kfunc("deploy", folder, *ARGUMENTS)
    first, second = revisions(api)
    rows = msgspec.json.decode(kfunc("revisions", "iris", "--output", "json").out)
    assert [row["name"] for row in rows if row["undo"]] == [first]
    begun = plan_undo(connect(), "iris", "default", None, first if way else "", time.time())
    assert [share.revision for share in begun.rollout.shares] == [second, first]
    assert begun.rollout.via == "knative"


def test_status_marks_the_same_revision_for_the_undo(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative
) -> None:
    for number in 1, 2, 3:
        write(folder, number, "")
        kfunc("deploy", folder, *ARGUMENTS)
    first, _, third = revisions(api)
    kept("promoted", first, third)
    marks = []
    for command in (("revisions", "iris"), ("status", "iris")):
        told = msgspec.json.decode(kfunc(*command, "--output", "json").out)
        marks.append([row["name"] for row in (told["revisions"] if "status" in command else told) if row["undo"]])
    assert marks == [[first], [first]]


def test_undo_says_what_there_is_to_do_where_nothing_is_left(
    kfunc: Command, folder: Path, api: ApiServer, knative: SlowKnative
) -> None:
    write(folder, 1)
    kfunc("deploy", folder, *ARGUMENTS)
    kept("rolled-back", *revisions(api))
    result = kfunc("rollout", "undo", folder)
    (only,) = revisions(api)
    assert f"none of the revisions that had the traffic before {only} is left: name another one, --to REVISION" in result.err


def test_a_command_that_was_killed_is_waited_for_no_longer_than_its_lock_says(kfunc: Command, api: ApiServer) -> None:
    Lock(connect(), "iris", "default", "dead", lambda: time.time() - 60).__enter__()
    with Lock(connect(), "iris", "default", "next"):
        assert api.objects.of_kind("Lease")[0]["spec"]["holderIdentity"] == "next"
