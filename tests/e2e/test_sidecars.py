"""The sidecar image on the cluster: batcher and logger in front of a server that is not kfunc's."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.cluster import Namespace, Response, wait_until
from tests.e2e.functions import rendered_service
from tests.e2e.test_events import read, sink

FOREIGN = Path(__file__).parent / "foreign"
BOTH = ("linux/amd64", "linux/arm64")


@pytest.fixture(scope="module")
def sidecar_image(build: Callable[..., str]) -> str:
    """Batcher and logger for both platforms, as an index."""
    wanted = [word for platform in BOTH for word in ("--platform", platform)]
    built = json.loads(build(FOREIGN, "sidecar", "--sidecar", *wanted, "--output", "json"))
    assert built["platforms"] == list(BOTH)
    return f"{built['image'].removesuffix(':1')}@{built['digest']}"


@pytest.fixture(scope="module")
def server_image(build: Callable[..., str]) -> str:
    """The server: its file in /models, on a base that has Python."""
    return build(FOREIGN, "foreign", "--weights-only")


@pytest.fixture
def doubles(
    namespace: Namespace, kfunc: Callable[..., str], sidecar_image: str, server_image: str, tmp_path: Path
) -> Namespace:
    """The namespace with the function in it, and a sink for its events."""
    namespace.apply(*sink(sidecar_image))
    wait_until(lambda: namespace.get("pod", "sink")["status"]["phase"] == "Running", "the sink runs", 60)
    text = (FOREIGN / "func.yaml").read_text().replace("sink.example.com", f"sink.{namespace.name}.svc.cluster.local")
    for name, image in (("foreign", server_image), ("sidecar", sidecar_image)):
        text = text.replace(f"registry.example.com/e2e/{name}:1", image)
    (tmp_path / "func.yaml").write_text(text)
    (tmp_path / "server.py").write_text((FOREIGN / "server.py").read_text())
    namespace.apply(rendered_service(kfunc, namespace.name, tmp_path))
    namespace.wait_ready("doubles")
    return namespace


def test_the_sidecars_merge_translate_and_log_for_somebody_elses_server(
    doubles: Namespace, sidecar_image: str, figure: Callable[[str, str], None]
) -> None:
    host, cluster = doubles.host("doubles"), doubles.cluster

    def ask(number: int) -> Response:
        return cluster.request(host, "/v1/models/doubles:predict", json.dumps({"instances": [number]}).encode())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(40)))
    assert [answer.json["predictions"][0]["doubled"] for answer in answers] == [2 * number for number in range(40)]
    rows = [answer.json["predictions"][0]["rows"] for answer in answers]
    assert max(rows) > 1
    images = {each["name"]: each["image"] for each in doubles.pods("doubles")[0]["spec"]["containers"]}
    assert images["batcher"] == images["logger"] == sidecar_image
    asked = {answer.headers["x-request-id"] for answer in answers}
    ip = doubles.get("pod", "sink")["status"]["podIP"]

    def whole() -> bool:
        kept = json.loads(read(doubles, ip))
        return all(len({kind for kind, _ in kept.get(each, [])}) == 2 for each in asked)

    wait_until(whole, "both events of every request", 60, pause=1)
    figure(
        "sidecars before a foreign server: rows of a call, at most", f"{max(rows)}; both events of all {len(asked)} requests"
    )
