"""Function → PodConfig: nothing is left open."""

import pytest
from msgspec import Struct

from kfunc.config import pod
from kfunc.config.batcher import Batcher
from kfunc.config.complete import complete
from kfunc.config.inference import Limits, ModelSource, Settings
from kfunc.config.load import read_function
from kfunc.config.logger import Logger
from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.source import parse_source


def completed(text: str, runtime: str = "onnx") -> PodConfig:
    return complete(read_function(parse_source(text.encode())), runtime)


def test_the_shortest_function_is_completed_with_the_defaults() -> None:
    assert completed("name: iris\ninference: {model: {uri: m.onnx}}\n") == PodConfig(
        function="iris",
        namespace="default",
        model=PodModel(name="iris", version="1", uri="m.onnx", runtime="onnx"),
        protocols=["v1", "v2"],
        accelerator="auto",
        workers=1,
        timeout_s=60.0,
        hang_timeout_s=60.0,
        grace_s=30.0,
        limits=Limits(),
    )


def test_what_the_file_says_is_kept() -> None:
    model = "{uri: m.pkl, name: flower, version: '7', execution: thread, threads: 2, concurrency: 3, trust: true, digest: '%s'}"
    digest = "sha256:" + "0" * 64
    text = (
        f"name: iris\ninference:\n  model: {model % digest}\n  protocols: [v2]\n  accelerator: cpu\n  workers: 2\n"
        "  timeout_s: 3\n  hang_timeout_s: 4\n  grace_s: 5\n  limits: {max_headers: 6}\n  batcher: {max_batch_size: 7}\n"
        "  logger: {mode: request}\n"
    )
    assert completed(text, "sklearn") == PodConfig(
        function="iris",
        namespace="default",
        model=PodModel(
            name="flower", version="7", uri="m.pkl", runtime="sklearn", execution="thread", threads=2, concurrency=3,
            trust=True, digest=digest,
        ),
        protocols=["v2"],
        accelerator="cpu",
        workers=2,
        timeout_s=3.0,
        hang_timeout_s=4.0,
        grace_s=5.0,
        limits=Limits(max_headers=6),
        batcher=Batcher(max_batch_size=7),
        logger=Logger(mode="request"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "namespace"),
    [("namespace: a\ndeploy: {namespace: b}\n", "a"), ("deploy: {namespace: b}\n", "b"), ("", "default")],
)
def test_the_wanted_namespace_comes_before_the_one_in_use(given: str, namespace: str) -> None:
    assert completed(given + "inference: {model: {uri: m}}\n").namespace == namespace


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("m.onnx", "m.onnx"),
        ("file:m.onnx", "m.onnx"),
        ("file:///srv/a%20b", "/srv/a b"),
        ("file://localhost/a", "/a"),
        ("a%20b", "a%20b"),
    ],
)
def test_a_file_uri_becomes_its_path(uri: str, path: str) -> None:
    assert completed(f"inference: {{model: {{uri: '{uri}'}}}}\n").model.uri == path


def test_a_function_without_any_name_is_called_function() -> None:
    assert completed("inference: {model: {uri: m}}\n").model.name == "function"


@pytest.mark.parametrize(("block", "pod_block"), [(Settings, PodConfig), (ModelSource, PodModel)])
def test_the_pod_has_every_field_that_is_its_own(block: type[Struct], pod_block: type[Struct]) -> None:
    assert set(block.__struct_fields__) <= set(pod_block.__struct_fields__)


def test_the_pod_reads_what_was_completed() -> None:
    config = completed("name: iris\ninference: {model: {uri: m}, batcher: {}, logger: {sink: 'http://a/'}}\n")
    assert pod.decode({pod.VARIABLE: pod.encode(config)}) == config
