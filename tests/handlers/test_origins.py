"""Models from elsewhere in a handler: fetched at the start or one by one, decrypted, replaced, and readiness meanwhile."""

import asyncio
import json
import tarfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.config.pod import PodConfig
from kfunc.config.residency import ModelCache, Residency
from kfunc.errors import Loading, ModelLoadError
from kfunc.handlers.repository import Repository
from kfunc.storage.credentials import Credentials
from kfunc.storage.sealing import seal
from tests.handlers.test_repository import Loads
from tests.handlers.test_residents import AnsweringLoads, ask, until
from tests.storage.web_server import WebServer

Make = Callable[..., Repository]
CONTENT = b"weights" * 1000


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def loads() -> AnsweringLoads:
    return AnsweringLoads()


@pytest.fixture
def make(configured: Callable[..., PodConfig], tmp_path: Path, loads: Loads) -> Make:
    def make(uri: str, residency: Residency | None = None, **changes: Any) -> Repository:
        config = configured(uri, **{"runtime": "auto", **changes})
        cache = ModelCache(path=str(tmp_path / "cache"))
        return Repository(msgspec.structs.replace(config, model_cache=cache, residency=residency), loads)

    return make


def hub(web: WebServer, monkeypatch: pytest.MonkeyPatch, *names: str) -> str:
    """The URI of a repository of the hub with these models."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    web.answers["/api/models/team/all/revision/main"] = json.dumps({"sha": "c0"}).encode()
    nodes = [{"type": "file", "path": f"{name}/m.onnx", "size": len(CONTENT), "oid": name} for name in names]
    web.answers["/api/models/team/all/tree/c0?recursive=true"] = json.dumps(nodes).encode()
    for name in names:
        web.put(f"/team/all/resolve/c0/{name}/m.onnx", CONTENT)
    return "hf://team/all"


def test_a_model_from_elsewhere_is_loaded_from_the_cache(make: Make, loads: Loads, web: WebServer, tmp_path: Path) -> None:
    repository = make(web.put("/models/m.onnx", CONTENT))
    asyncio.run(repository.open())
    (made,) = loads.made
    assert (made.config.model.name, made.config.model.runtime) == ("iris", "onnx")
    path = Path(made.config.model.uri)
    assert path.is_relative_to(tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    repository.close()


def test_readiness_says_how_far_the_download_is(make: Make, web: WebServer) -> None:
    async def play() -> None:
        repository = make(web.put("/m.onnx", CONTENT))
        web.delay_s = 0.2
        opening = asyncio.ensure_future(repository.open())
        told: list[dict[str, Any]] = []
        while not opening.done():
            try:
                repository.require_ready()
            except Loading as error:
                told.append(error.details)
            await asyncio.sleep(0.01)
        await opening
        repository.require_ready()
        assert {"ready": False, "phase": "asking the storage"} in told
        assert {"ready": False, "phase": "downloading", "done": 0, "total": len(CONTENT)} in told
        repository.close()

    asyncio.run(play())


def test_of_a_prefix_only_the_model_that_is_asked_for_is_fetched(
    make: Make, loads: Loads, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "rose", "wine"), Residency(wait_s=5))
        await repository.open()
        assert sorted(repository.names) == ["iris", "rose", "wine"]
        assert not web.ranges_asked()
        assert await ask(repository, "wine") == "1"
        assert [name for name, _, _ in loads.what()] == ["wine"]
        assert len(web.ranges_asked()) == 1
        repository.close()

    asyncio.run(play())


def test_models_that_come_and_go_below_a_prefix_are_seen(make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "wine"), Residency(wait_s=5), refresh_s=0.02)
        await repository.open()
        await ask(repository, "wine")
        hub(web, monkeypatch, "iris", "rose")
        await until(lambda: "rose" in repository.names)
        assert await ask(repository, "rose") == "1"
        assert repository.find("wine", "").model is None
        hub(web, monkeypatch, "iris", "rose", "wine")
        await until(lambda: repository.find("wine", "").model is not None)
        assert await ask(repository, "wine") == "1"
        repository.close()

    asyncio.run(play())


def test_a_sealed_model_is_opened_from_memory_which_it_leaves_at_the_end(
    make: Make, loads: Loads, web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_KEY", b64encode(bytes(32)).decode())
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    seal(tmp_path / "m.onnx", tmp_path / "m.onnx.sealed", "secret", Credentials({"MODEL_KEY": b64encode(bytes(32)).decode()}))
    repository = make(web.put("/m.onnx.sealed", (tmp_path / "m.onnx.sealed").read_bytes()), sealed=True)
    asyncio.run(repository.open())
    path = Path(loads.made[0].config.model.uri)
    assert (path.name, path.parts[:3], path.read_bytes() == CONTENT) == ("m.onnx", ("/", "dev", "shm"), True)
    repository.close()
    assert not path.exists()


VOUCHED = [({}, False), ({"runtime": "python"}, True), ({"trust": True}, False), ({"trust": True, "digest": "own"}, True)]


@pytest.mark.parametrize(("changes", "loaded"), VOUCHED)
def test_code_from_elsewhere_runs_only_where_func_yaml_says_so(
    make: Make, loads: Loads, web: WebServer, tmp_path: Path, changes: dict[str, Any], loaded: bool
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/handler.py").write_bytes(CONTENT)
    archive = tarred(tmp_path / "m")
    if "digest" in changes:
        changes = changes | {"digest": f"sha256:{sha256(archive).hexdigest()}"}
    repository = make(web.put("/m.tar", archive), **changes)
    with nullcontext() if loaded else pytest.raises(ModelLoadError, match=r"holds a handler\.py, which comes from elsewhere"):
        asyncio.run(repository.open())
    assert len(loads.made) == loaded
    repository.close()


def tarred(folder: Path) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, ".")
    return buffer.getvalue()
