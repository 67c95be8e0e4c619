"""`kfunc status`, `revisions`, `logs` and `invoke --remote` against an API server."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.rollout.record import Driver, to_config_map
from tests.cli.conftest import FUNC_YAML, Command
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import api as api
from tests.cluster.controllers import make_ready, pod
from tests.rollout.worlds import record, rollout

pytestmark = pytest.mark.integration
WITH_IMAGE = FUNC_YAML.replace("runtime: python", "runtime: python\nimage: example.com/iris:1")


@pytest.fixture
def deployed(kfunc: Command, folder: Path, api: ApiServer) -> ApiServer:
    """A function that is ready, without pods."""
    (folder / "func.yaml").write_text(WITH_IMAGE)
    api.objects.on_change = make_ready
    assert kfunc("deploy", folder, "--no-build").status == 0
    return api


def revision(api: ApiServer) -> str:
    name: str = api.objects.of_kind("Revision")[0]["metadata"]["name"]
    return name


def test_status_shows_address_and_revision(kfunc: Command, deployed: ApiServer) -> None:
    result = kfunc("status", "iris")
    assert result.status == 0
    assert result.out.startswith("default/iris: ready (no pod while nothing asks)\nurl: http://iris.default.example.test\n")
    assert f"{revision(deployed)}  ready  100 %" in result.out


def test_status_names_the_cause_and_a_way_out(kfunc: Command, deployed: ApiServer) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "manifest unknown"}}
    deployed.objects.put(pod("iris-1", revision(deployed), handler=waiting))
    out = kfunc("status", "iris").out
    assert "! the image example.com/iris:1 is not in its registry\n  kfunc build pushes it\n" in out


@pytest.mark.parametrize("command", ["status", "revisions"])
def test_a_name_that_is_also_a_folder_with_a_broken_file_is_a_name(
    kfunc: Command, deployed: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    broken = tmp_path / "elsewhere" / "iris"
    broken.mkdir(parents=True)
    (broken / "func.yaml").write_text("inference: 5\n")
    monkeypatch.chdir(broken.parent)
    assert kfunc(command, "iris").status == 0
    assert "func.yaml" in kfunc(command, "./iris").err


def live(*ways: tuple[str, int]) -> dict[str, Any]:
    """The VirtualService of a function, with a destination for each tag."""
    routes = [{"headers": {"response": {"set": {"x-kfunc-variant": tag}}}, "weight": weight} for tag, weight in ways]
    about = {"name": "live-iris", "namespace": "default"}
    spec = {
        "hosts": ["live-iris.default.svc.cluster.local", "live-iris.default", "live-iris.default.example.test"],
        "http": [{"name": "match", "match": [{}], "route": routes[:1]}, {"name": "split", "route": routes}],
    }
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": about, "spec": spec}


def test_status_shows_how_istio_splits_the_requests(kfunc: Command, deployed: ApiServer) -> None:
    service = deployed.objects.of_kind("KnativeService")[0]
    traffic = [{"revisionName": "iris-a", "tag": "stable", "percent": 100}, {"revisionName": "iris-b", "tag": "candidate"}]
    deployed.objects.put(service | {"status": service["status"] | {"traffic": traffic}})
    deployed.objects.put(live(("stable", 75), ("candidate", 25)))
    assert "split: http://live-iris.default.example.test (iris-a 75 %, iris-b 25 %)\n" in kfunc("status", "iris").out


def test_a_host_that_leads_to_one_revision_is_no_split(kfunc: Command, deployed: ApiServer) -> None:
    deployed.objects.put(live(("", 100)))
    assert "split:" not in kfunc("status", "iris").out


@pytest.mark.parametrize(
    ("driver", "line"),
    [
        (Driver("me", 4e9), "rollout: iris: canary running, step 1 of 2 (10 %), paused, 60 s\n"),
        (Driver("me", 1.0), "60 s; nobody drives it: `kfunc rollout resume` goes on\n"),
    ],
)
def test_status_says_that_a_rollout_is_under_way(kfunc: Command, deployed: ApiServer, driver: Driver, line: str) -> None:
    running = rollout(phase="running", paused=True, began_at=time.time() - 60, steps=[10, 100])
    deployed.objects.put(to_config_map(msgspec.structs.replace(record(running), driver=driver)))
    assert line in kfunc("status", "iris").out


def test_status_does_without_what_may_not_be_read(kfunc: Command, deployed: ApiServer) -> None:
    deployed.objects.refusals["GET", "/apis/networking.istio.io/"] = 403, "no"
    assert kfunc("status", "iris").status == 0


def test_status_of_nothing_fails_and_says_so(kfunc: Command, api: ApiServer) -> None:
    result = kfunc("status", "iris")
    assert (result.status, result.out) == (1, "default/iris: missing (there is no function iris in the namespace default)\n")


def test_status_for_programs_has_everything(kfunc: Command, deployed: ApiServer) -> None:
    deployed.objects.put(pod("iris-1", revision(deployed)))
    told = msgspec.json.decode(kfunc("status", "iris", "--output", "json").out)
    assert (told["ready"], told["phase"], told["mode"]) == (True, "ready", "knative")
    assert told["pods"][0] | {"detail": ""} == {
        "name": "iris-1",
        "revision": revision(deployed),
        "ready": True,
        "phase": "ready",
        "detail": "",
        "restarts": 0,
        "containers": [{"name": "handler", "ready": True, "state": "running"}],
    }


def test_a_folder_stands_for_its_function(kfunc: Command, deployed: ApiServer, folder: Path) -> None:
    assert kfunc("status", folder).out.startswith("default/iris: ready")


def test_a_folder_whose_function_has_another_name_has_to_be_written_as_one(
    kfunc: Command, deployed: ApiServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = folder / "flowers"
    beside.mkdir()
    (beside / "func.yaml").write_text((folder / "func.yaml").read_text())
    monkeypatch.chdir(folder)
    result = kfunc("delete", "flowers")
    assert result.status == 2
    assert "flowers is a folder here, whose function is iris: write ./flowers for that one" in result.err
    assert kfunc("status", "./flowers").status == 0


def test_what_is_no_name_and_no_folder_is_refused(kfunc: Command, api: ApiServer) -> None:
    result = kfunc("status", "No_Name")
    assert result == (2, "", "error: No_Name is neither a function's name nor a folder with a func.yaml\n")


def test_revisions_are_listed(kfunc: Command, deployed: ApiServer) -> None:
    rows = msgspec.json.decode(kfunc("revisions", "iris", "--output", "json").out)
    assert [(row["name"], row["percent"], row["latest"]) for row in rows] == [(revision(deployed), 100, True)]


def test_with_nothing_to_prune_it_says_so(kfunc: Command, deployed: ApiServer) -> None:
    assert kfunc("revisions", "iris", "--prune") == (0, "nothing to remove\n", "")


def test_revisions_that_would_go_are_named_by_a_dry_run(kfunc: Command, deployed: ApiServer, folder: Path) -> None:
    first = revision(deployed)
    for number in (2, 3):
        (folder / "func.yaml").write_text(WITH_IMAGE.replace("iris:1", f"iris:{number}"))
        kfunc("deploy", folder, "--no-build")
    assert kfunc("revisions", "iris", "--prune", "--keep", "1", "--dry-run").out == f"{first} would be removed\n"
    assert len(deployed.objects.of_kind("Revision")) == 3


def test_the_logs_of_all_containers_are_one_stream_by_time(kfunc: Command, deployed: ApiServer) -> None:
    running: dict[str, Any] = {"running": {}}
    states = {"handler": running, "logger": running, "queue-proxy": running}
    deployed.objects.put(pod("iris-1", revision(deployed), **states))
    deployed.objects.logs |= {
        "iris-1/handler": "2026-11-25T14:00:01Z one\n2026-11-25T14:00:03Z three\n",
        "iris-1/logger": "2026-11-25T14:00:02Z two\n",
        "iris-1/queue-proxy": "2026-11-25T14:00:00Z no\n",
    }
    assert kfunc("logs", "iris").out == "[handler] one\n[logger] two\n[handler] three\n"


def test_logs_of_several_pods_say_which(kfunc: Command, deployed: ApiServer) -> None:
    for name in ("iris-a", "iris-b"):
        deployed.objects.put(pod(name, revision(deployed)))
        deployed.objects.logs[f"{name}/handler"] = f"2026-11-25T14:00:01Z of {name}\n"
    assert kfunc("logs", "iris").out == "[a handler] of iris-a\n[b handler] of iris-b\n"


def test_logs_without_pods_say_what_that_may_mean(kfunc: Command, deployed: ApiServer) -> None:
    result = kfunc("logs", "iris")
    assert (result.status, "iris has no pods in the namespace default: nothing asks for it" in result.err) == (1, True)


def test_a_container_that_is_not_there_is_named_with_those_that_are(kfunc: Command, deployed: ApiServer) -> None:
    deployed.objects.put(pod("iris-1", revision(deployed)))
    result = kfunc("logs", "iris", "-c", "handlr")
    assert (result.status, result.err) == (1, "error: its pods have no container handlr: -c takes handler\n")


def test_logs_for_programs_are_objects(kfunc: Command, deployed: ApiServer) -> None:
    deployed.objects.put(pod("iris-1", revision(deployed)))
    deployed.objects.logs["iris-1/handler"] = "2026-11-25T14:00:01Z one\n"
    line = msgspec.json.decode(kfunc("logs", "iris", "--output", "json").out)
    assert line == {"at": "2026-11-25T14:00:01Z", "pod": "iris-1", "container": "handler", "text": "one"}


class _Gateway(BaseHTTPRequestHandler):
    """Answers V1 with the host that it was asked for."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        body = msgspec.json.encode({"predictions": [self.headers["host"]]})
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def gateway() -> Iterator[str]:
    """An ingress gateway's URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gateway) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_function_is_asked_by_its_host_at_the_gateway(kfunc: Command, deployed: ApiServer, gateway: str) -> None:
    result = kfunc("invoke", "--remote", "iris", "--gateway", gateway, "--model", "iris", "--protocol", "v1", "--data", "[[1]]")
    assert (result.status, result.err) == (0, "")
    assert "iris.default.example.test" in result.out


def test_a_host_that_nothing_knows_is_said_with_the_way_out(kfunc: Command, deployed: ApiServer) -> None:
    result = kfunc("invoke", "--remote", "iris", "--model", "iris")
    assert result.status == 1
    assert "nothing here knows the host iris.default.example.test: give the address of the ingress gateway" in result.err


def test_gateway_without_remote_is_misuse(kfunc: Command) -> None:
    assert kfunc("invoke", "--gateway", "http://127.0.0.1").status == 2
