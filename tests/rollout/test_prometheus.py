"""What Prometheus is asked and what its answers mean; a real one is asked, too."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from typing import cast
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

from kfunc.cluster.connection import Cluster
from kfunc.config.analysis import Query
from kfunc.errors import StartupError
from kfunc.rollout.measuring import Prometheus
from kfunc.rollout.prometheus import Unanswered, filled, read_number, read_vector, window
from kfunc.rollout.state import Window
from tests.parts import program
from tests.rollout.worlds import rollout, settings

VECTOR = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"code":"200"},"value":[1,"5"]}]}}'


def test_the_variables_of_a_query_are_filled_in() -> None:
    query = Query(name="q", query='sum(rate(x{r="$revision",f="$function",n="$namespace"}[$window]))', max=1.0)
    one = rollout(window=Window(1000.0))
    assert filled(query, one, one.candidates[0], 1045.2) == 'sum(rate(x{r="iris-b",f="iris",n="default"}[46s]))'


def test_a_window_is_never_too_short_for_two_scrapes() -> None:
    assert window(rollout(window=Window(1000.0)), 1001.0) == "30s"


def test_an_answer_has_labels_and_values() -> None:
    assert read_vector(200, VECTOR) == [({"code": "200"}, 5.0)]
    scalar = b'{"status":"success","data":{"resultType":"scalar","result":[1,"0.5"]}}'
    assert read_number(200, scalar) == 0.5


def test_no_value_and_a_value_that_is_no_number_are_none() -> None:
    empty = b'{"status":"success","data":{"resultType":"vector","result":[]}}'
    assert read_number(200, empty) is None
    assert read_number(200, VECTOR.replace(b'"5"', b'"NaN"')) is None


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"status":"error","error":"bad query"}', "Prometheus answers 400: bad query"),
        (200, b"<html>", "is not Prometheus"),
        (200, b'{"status":"success","data":{"resultType":"matrix","result":[{}]}}', "is not Prometheus"),
    ],
)
def test_other_answers_say_what_they_are(status: int, body: bytes, said: str) -> None:
    with pytest.raises(Unanswered, match=said):
        read_vector(status, body)


def test_several_values_are_not_one() -> None:
    two = VECTOR.replace(b"}]}}", b'},{"metric":{},"value":[1,"6"]}]}}')
    with pytest.raises(Unanswered, match=r"gives 2 values where one is expected: put sum\(\) around it"):
        read_number(200, two)


def test_an_address_of_a_service_is_namespace_name_and_port() -> None:
    with pytest.raises(StartupError, match="is not service:NAMESPACE/NAME:PORT"):
        Prometheus("service:prometheus", cast(Cluster, None))


class Exporter(BaseHTTPRequestHandler):
    """Counters that grow by 100 requests a second, `/bad` with one error in four."""

    began = time.monotonic()

    def do_GET(self) -> None:
        count = int((time.monotonic() - self.began) * 100)
        errors = count // 4 if self.path == "/bad" else 0
        text = (
            f'kfunc_requests_total{{component="handler",code="200"}} {count - errors}\n'
            f'kfunc_requests_total{{component="handler",code="500"}} {errors}\n'
            f'kfunc_request_duration_seconds_bucket{{component="handler",le="0.1"}} {count}\n'
            f'kfunc_request_duration_seconds_bucket{{component="handler",le="+Inf"}} {count}\n'
            f'kfunc_request_duration_seconds_sum{{component="handler"}} {count * 0.05}\n'
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """A real Prometheus that scrapes two revisions every second; its URL."""
    binary = program("prometheus").with_name("prometheus")
    exporter = ThreadingHTTPServer(("127.0.0.1", 0), Exporter)
    threading.Thread(target=exporter.serve_forever, daemon=True).start()
    labels = "namespace: default, function: iris, revision"
    targets = "".join(
        f"  - job_name: {name}\n    metrics_path: /{path}\n    static_configs:\n"
        f"      - {{targets: ['127.0.0.1:{exporter.server_port}'], labels: {{{labels}: {name}}}}}\n"
        for name, path in (("iris-a", "good"), ("iris-b", "bad"))
    )
    (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs:\n{targets}")
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(binary), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with subprocess.Popen([*command, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://{address}"
        finally:
            process.terminate()
            exporter.shutdown()
            exporter.server_close()


@pytest.mark.integration
def test_a_real_prometheus_gives_the_figures_of_each_revision(tmp_path: Path) -> None:
    failed = 'sum(kfunc_requests_total{revision="$revision",code="500"}) / sum(kfunc_requests_total{revision="$revision"})'
    query = Query(name="failed", query=failed, max=1.0)
    with prometheus(tmp_path) as url:
        given = settings(prometheus=url, queries=[query], p99_ms=100)
        one = replace(rollout(window=Window(time.time())), settings=replace(given, component="handler"))
        asked = Prometheus(url, cast(Cluster, None))
        ends_at = time.monotonic() + 30
        while True:
            try:
                with urlopen(f"{url}/-/ready"):
                    samples = asked.samples(one, time.time())
                if all(sample.requests > 20 for sample in samples.values()):
                    break
            except (URLError, Unanswered):
                pass
            assert time.monotonic() < ends_at
            time.sleep(0.5)
        values = asked.values(one, time.time())
        asked.close()
    assert samples["stable"].errors == 0
    assert samples["candidate"].errors / samples["candidate"].requests == pytest.approx(0.25, abs=0.05)
    assert samples["candidate"].bounds == [0.1]
    assert values["failed"]["candidate"] == pytest.approx(0.25, abs=0.01)
