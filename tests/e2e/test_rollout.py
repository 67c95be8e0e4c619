"""Rollouts on a real cluster: shares, bad revisions, switches, drivers that are killed, several that want the same."""

import json
import re
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.rollouts import TRAFFIC, through_rollouts
from tests.e2e.cluster import Json, Namespace, wait_until
from tests.e2e.rolling import HERE, VARIANT, Rolling

ANALYSIS = {"min_requests": 20, "max_step_s": 120, "ready_timeout_s": 40, "exclude_start_s": 1, "p99_ms": 250}
CANARY: Json = {"steps": [10, 50, 100], "interval_s": 5, "propagation_s": 2, "analysis": ANALYSIS}
BLUE_GREEN: Json = {"strategy": "blue-green", "interval_s": 2, "propagation_s": 2, "keep_s": 20, "analysis": ANALYSIS}
CLEAN = {"tags": [], "routes": ["all"], "scales": {"0"}}

Make = Callable[..., Rolling]


@pytest.fixture(scope="session")
def twice_image(build: Callable[..., str]) -> str:
    """The image of all revisions here: they differ in their environment."""
    return build(HERE, "twice")


@pytest.fixture
def rolling(namespace: Namespace, kfunc: Callable[..., str], twice_image: str, tmp_path: Path) -> Make:
    """Makes a function with its first revision."""

    def make(traffic: Json, name: str = "twice", mode: str = "knative") -> Rolling:
        made = Rolling(namespace, kfunc, twice_image, tmp_path / name, name)
        made.write(traffic, mode, VERSION="1")
        made.deploy()
        return made

    return make


def test_a_canary_gets_its_ten_percent_of_a_thousand_requests_and_is_promoted(
    rolling: Make, figure: Callable[[str, str], None]
) -> None:
    function = rolling(CANARY | {"interval_s": 600, "analysis": ANALYSIS | {"max_step_s": 600}})
    function.write(CANARY | {"interval_s": 600, "analysis": ANALYSIS | {"max_step_s": 600}}, VERSION="2")
    with function.running("start", str(function.folder)) as driver:
        function.wait_state(phase="running")
        wait_until(lambda: function.ask().headers.get(VARIANT), "the split is in place")
        answers = [function.ask() for _ in range(1000)]
        candidate = sum(answer.headers[VARIANT] == "candidate" for answer in answers)
        figure("canary 90/10: candidate's requests of 1,000", str(candidate))
        assert {answer.status for answer in answers} == {200}
        assert 65 <= candidate <= 135  # 99.98 % of all fair splits
        function.rollout("promote", str(function.folder))
        assert driver.wait(60) == 0
    assert function.state()["phase"] == "promoted"
    assert function.leftovers() == CLEAN


def test_a_rollout_goes_through_its_steps_without_a_failed_request(rolling: Make) -> None:
    function = rolling(CANARY)
    before = function.serving()
    function.write(CANARY, VERSION="2")
    with function.requests(40) as counts:
        said = function.start()
    assert re.findall(r"step (\d+) % passed", said) == ["10", "50", "100"]
    assert counts.failures == []
    assert function.serving() != before
    assert function.leftovers() == CLEAN
    assert "nothing to roll out" in function.start()


@pytest.mark.parametrize(
    ("envs", "reason"),
    [
        ({"ERROR_RATE": "0.5"}, "step 10 %: error rate"),
        ({"SLEEP_S": "0.6"}, "step 10 %: p99"),
        ({"NEVER_READY": "1"}, "was not ready within 40 s"),
    ],
)
def test_a_bad_revision_is_rolled_back_with_the_reason(
    rolling: Make, envs: dict[str, str], reason: str, figure: Callable[[str, str], None]
) -> None:
    function = rolling(CANARY)
    before = function.serving()
    function.write(CANARY, VERSION="2", **envs)
    with function.requests(40) as counts:
        begin = time.monotonic()
        said = function.start(status=1)
    seconds = time.monotonic() - begin
    figure(f"rolled back ({next(iter(envs))}): failed requests", f"{len(counts.failures)} of {counts.total} in {seconds:.0f} s")
    assert reason in said
    assert reason in function.state()["reason"]
    assert function.serving() == before
    assert function.leftovers() == CLEAN
    assert len(counts.failures) < 0.1 * counts.total


def test_blue_green_switches_both_ways_under_load_without_a_failed_request(rolling: Make) -> None:
    function = rolling(BLUE_GREEN)
    before = function.serving()
    function.write(BLUE_GREEN, VERSION="2")
    with function.requests(60) as counts:
        assert "gives the new revision everything" in function.start()
        wait_until(lambda: function.ask(function.preview).status == 200, "the preview answers")
        assert function.ask().headers[VARIANT] == "stable"
        with function.running("promote", str(function.folder)):
            wait_until(lambda: function.ask().headers.get(VARIANT) == "candidate", "the switch", 30)
            function.rollout("abort", str(function.folder))
        assert function.serving() == before
        function.write(BLUE_GREEN, VERSION="3")
        function.start()
        function.rollout("promote", str(function.folder))
        assert function.serving() != before
        function.rollout("undo", str(function.folder))
    assert counts.failures == []
    assert function.serving() == before
    assert function.leftovers() == CLEAN


def test_what_was_promoted_is_undone_and_redone(rolling: Make) -> None:
    traffic = CANARY | {"steps": [100]}
    function = rolling(traffic)
    first = function.serving()
    function.write(traffic, VERSION="2")
    with function.requests(40) as counts:
        function.start()
        second = function.serving()
        function.rollout("undo", str(function.folder))
        assert function.serving() == first
        function.rollout("undo", str(function.folder))
        assert function.serving() == second
    assert counts.failures == []


@pytest.mark.parametrize("drops_traffic", [False, True], ids=["all at once", "without traffic"])
def test_a_deployment_after_a_rollback_asks_the_rejected_revision_nothing(rolling: Make, drops_traffic: bool) -> None:
    function = rolling(CANARY)
    before = function.serving()
    function.write(CANARY, VERSION="2", ERROR_RATE="1")
    with function.requests(40):
        assert "error rate" in function.start(status=1)
    assert function.serving() == before
    function.write(None if drops_traffic else CANARY, VERSION="3", START_S="3")
    host = function.plain if drops_traffic else function.live
    with function.requests(40, host) as counts:
        function.kfunc("deploy", function.folder, "--no-build", *([] if drops_traffic else ["--all-at-once"]))
    assert counts.total > 100
    assert counts.failures == []
    assert function.serving() != before
    assert function.namespace.get("ksvc", "twice")["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]


def test_undo_after_a_rollback_goes_to_what_had_the_traffic_before(rolling: Make) -> None:
    traffic = CANARY | {"steps": [100]}
    function = rolling(traffic)
    first = function.serving()
    with function.requests(40):
        function.write(traffic, VERSION="2")
        function.start()
        second = function.serving()
        function.write(traffic, VERSION="3", ERROR_RATE="1")
        function.start(status=1)
        assert f"back from {second} to {first}" in function.rollout("undo", str(function.folder))
    assert function.serving() == first


def test_a_driver_that_is_killed_is_followed_by_another_that_ends_the_same(rolling: Make) -> None:
    traffic = CANARY | {"interval_s": 15}  # a step is seen, however slowly the machine asks for it
    function = rolling(traffic)
    function.write(traffic, VERSION="2")
    with function.requests(40) as counts:
        with function.running("start", str(function.folder)) as driver:
            function.wait_state(phase="running", step=1)
            driver.send_signal(signal.SIGKILL)
        said, status = function.tried("start", str(function.folder))
        assert (status, "is under way" in said) == (1, True)
        wait_until(lambda: function.state()["driver"] == "", "the driver's lease is over", 60, 1.0)
        function.rollout("resume", str(function.folder))
    assert function.state()["phase"] == "promoted"
    assert counts.failures == []


def test_of_two_starts_at_once_one_is_refused(rolling: Make) -> None:
    function = rolling(CANARY | {"steps": [100]})
    function.write(CANARY | {"steps": [100]}, VERSION="2")
    with function.requests(40), ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda _: function.tried("start", str(function.folder)), range(2)))
    refused = [text for text, status in said if status == 1]
    assert len(refused) == 1
    assert re.search("is under way|is changing", refused[0])
    assert function.state()["phase"] == "promoted"


def test_requests_are_made_where_there_are_none(rolling: Make) -> None:
    traffic = CANARY | {"steps": [10, 100], "analysis": ANALYSIS | {"load": {"rate": 20}}}
    function = rolling(traffic)
    function.write(traffic, VERSION="2")
    assert "step 10 % passed" in function.start()


def test_variants_are_compared_until_one_is_chosen(rolling: Make) -> None:
    function = rolling(CANARY)
    first = function.serving()
    variants = [{"name": "control", "revision": first, "weight": 50}, {"name": "treatment", "weight": 50}]
    traffic = {"strategy": "ab", "interval_s": 8, "propagation_s": 2, "variants": variants}
    function.write(traffic | {"analysis": ANALYSIS | {"error_rate": 1.0}}, VERSION="2", ERROR_RATE="0.3")
    with function.requests(60):
        said = function.start()
    assert re.search(r"control .* \(.* to .*\)", said)
    rows = {row["variant"]: row for row in function.state()["shares"]}
    assert rows["treatment"]["is_different"]
    assert rows["treatment"]["gap"]["low"] > 0
    function.rollout("promote", str(function.folder), "--variant", "control")
    assert function.serving() == first
    assert function.leftovers() == CLEAN


def test_knative_alone_splits_where_there_is_no_istio(rolling: Make) -> None:
    traffic = CANARY | {"via": "knative", "steps": [50, 100], "analysis": ANALYSIS | {"load": {"rate": 20}}}
    made = rolling(CANARY, "plain")
    made.write(traffic, VERSION="1")
    made.kfunc("deploy", made.folder, "--no-build")
    before = made.serving()
    made.write(traffic, VERSION="2")
    assert "step 50 % passed" in made.start()
    assert made.serving() != before


def test_deployments_are_rolled_out_in_raw_mode_without_a_failed_request(rolling: Make) -> None:
    traffic = CANARY | {"gateways": ["knative-serving/knative-ingress-gateway"]}
    function = rolling(traffic, "bare", "raw")
    function.write(traffic, "raw", VERSION="2")
    with function.requests(40) as counts:
        said = function.start()
        function.write(traffic, "raw", VERSION="3", ERROR_RATE="0.5")
        assert "error rate" in function.start(status=1)
    assert re.findall(r"step (\d+) % passed", said) == ["10", "50", "100"]
    assert [failure for failure in counts.failures if "500" not in failure] == []
    deployments = function.namespace.get("deployments", selector="app.kubernetes.io/name=bare")["items"]
    assert [one["metadata"]["name"] for one in deployments] == ["bare"]


def test_a_job_drives_the_rollout_from_within_the_cluster(rolling: Make, build: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "driver"
    folder.mkdir()
    for name in ("handler.py", "func.yaml"):
        (folder / name).write_text((HERE / name).read_text())
    (folder / "requirements.txt").write_text("kubernetes\n")
    image = build(folder, "driver")
    function = rolling(CANARY)
    function.write(CANARY, VERSION="2")
    with function.requests(40) as counts:
        function.rollout("start", str(function.folder), "--job-image", image)
        function.rollout("watch", str(function.folder))
    assert function.state()["phase"] == "promoted"
    assert counts.failures == []
    jobs = function.namespace.get("jobs")["items"]
    wait_until(lambda: function.namespace.get("jobs")["items"][0]["status"].get("succeeded") == 1, "the Job has succeeded", 60)
    assert len(jobs) == 1


def test_the_states_document_is_whole(rolling: Make) -> None:
    function = rolling(CANARY | {"steps": [100]})
    function.write(CANARY | {"steps": [100]}, VERSION="2")
    with function.requests(40):
        text = function.rollout("start", str(function.folder), "--output", "json")
    document = json.loads(text)
    assert (document["phase"], document["winner"], document["steps"]) == ("promoted", "candidate", [100])
    assert [row["traffic"] for row in document["shares"]] == [0, 100]


@pytest.mark.timeout(1800)
def test_no_request_of_fifty_thousand_fails_through_twenty_rollouts(rolling: Make, figure: Callable[[str, str], None]) -> None:
    function = rolling(TRAFFIC)
    total, failures, longest = through_rollouts(function, 20, 50_000, 80)
    figure("20 rollouts: failed of requests, longest", f"{len(failures)} of {total}, {longest:.2f} s")
    assert failures == []
