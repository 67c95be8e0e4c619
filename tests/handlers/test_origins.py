"""Models from elsewhere in a handler: fetched at the start or one by one, decrypted, replaced, and readiness meanwhile."""

import asyncio
import json
import logging
import tarfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.residency import ModelCache, Residency
from kfunc.errors import Loading, ModelLoadError, Unavailable
from kfunc.handlers.layout import NO_NAME
from kfunc.handlers.origins import Origins, require_libraries, signature
from kfunc.handlers.repository import Repository
from kfunc.storage.cache import Cache
from kfunc.storage.credentials import Credentials
from kfunc.storage.sealing import seal
from kfunc.telemetry.log_lines import PROGRESS
from tests.handlers.conftest import configuration
from tests.handlers.test_repository import Loaded, Loads
from tests.handlers.test_residents import SlowLoads, ask, until
from tests.storage.web_server import WebServer

Make = Callable[..., Repository]
CONTENT = b"weights" * 1000


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def loads() -> SlowLoads:
    return SlowLoads()


@pytest.fixture
def make(configured: Callable[..., PodConfig], tmp_path: Path, loads: Loads) -> Make:
    def make(uri: str, residency: Residency | None = None, load: Any = loads, **changes: Any) -> Repository:
        config = configured(uri, **{"runtime": "auto", **changes})
        cache = ModelCache(path=str(tmp_path / "cache"))
        return Repository(msgspec.structs.replace(config, model_cache=cache, residency=residency), load)

    return make


def hub(web: WebServer, monkeypatch: pytest.MonkeyPatch, *names: str, commit: str = "c0") -> str:
    """The URI of a repository of the hub with these models."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    web.answers["/api/models/team/all/revision/main"] = json.dumps({"sha": commit}).encode()
    nodes = [{"type": "file", "path": f"{name}/m.onnx", "size": len(CONTENT), "oid": f"{name}-{commit}"} for name in names]
    web.answers[f"/api/models/team/all/tree/{commit}?recursive=true"] = json.dumps(nodes).encode()
    for name in names:
        web.put(f"/team/all/resolve/{commit}/{name}/m.onnx", CONTENT)
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


@pytest.mark.parametrize("vouched", [False, True])
def test_what_is_built_of_a_model_that_nobody_vouches_for_is_kept_outside_of_its_files(
    vouched: bool, make: Make, loads: Loads, web: WebServer, tmp_path: Path
) -> None:
    given = {"trust": True, "digest": f"sha256:{sha256(CONTENT).hexdigest()}"} if vouched else {}
    repository = make(web.put("/models/m.onnx", CONTENT), **given)
    asyncio.run(repository.open())
    model = loads.made[0].config.model
    content = next((tmp_path / "cache/models").iterdir()) / "content"
    assert Path(model.uri).is_relative_to(content)
    assert model.built == ("" if vouched else str(content.with_name("built")))
    repository.close()


def test_what_python_keeps_of_code_and_hidden_files_make_no_other_version(tmp_path: Path) -> None:
    (tmp_path / "handler.py").write_text("")
    before = signature(tmp_path)
    for name in ("__pycache__/handler.cpython-313.pyc", "shop/__pycache__/x.pyc", ".cache/seen"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert signature(tmp_path) == before
    (tmp_path / "shop/other.py").touch()
    assert signature(tmp_path) != before


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


def test_readiness_says_why_the_storage_is_asked_again(make: Make, web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        repository = make(web.put("/m.onnx", CONTENT))
        web.statuses = [503]
        opening = asyncio.ensure_future(repository.open())
        told: list[str] = []
        while not opening.done():
            try:
                repository.require_ready()
            except Loading as error:
                told.append(error.message)
            await asyncio.sleep(0.01)
        await opening
        why = f"asking the storage: {web.url}/m.onnx: answers 503; trying again in 0.2 s (2 of 9)"
        assert f"the model iris is loading: {why}" in told
        assert f"model iris: {why}" in caplog.text
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


def test_a_model_that_cannot_be_fetched_keeps_no_other_from_being_served(
    make: Make, web: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        missing = PodModel(name="wine", uri=f"{web.url}/wine.onnx")
        repository = make(web.put("/m.onnx", CONTENT), Residency(wait_s=5, pinned=["iris"]), models=[missing])
        await repository.open()
        repository.require_ready()
        assert await ask(repository, "iris") == "1"
        with pytest.raises(Unavailable, match="the model wine cannot be loaded; the log"):
            await ask(repository, "wine")
        repository.close()

    asyncio.run(play())
    assert "model wine: cannot be found, and its requests are 503 until it can be: " in caplog.text


@pytest.mark.parametrize("changes", [{"lazy": True}, {"residency": Residency(pinned=["iris"])}])
def test_what_the_function_needs_and_cannot_be_fetched_keeps_it_from_starting(
    make: Make, web: WebServer, changes: dict[str, Any]
) -> None:
    with pytest.raises(ModelLoadError, match="404"):
        asyncio.run(make(f"{web.url}/m.onnx", **changes).open())


def test_storages_that_are_slow_are_waited_for_together(make: Make, web: WebServer) -> None:
    async def play() -> None:
        others = [PodModel(name=f"m{number}", uri=web.put(f"/{number}.onnx", CONTENT)) for number in range(12)]
        repository = make(web.put("/m.onnx", CONTENT), Residency(), models=others)
        web.delay_s = 0.1
        began_at = time.monotonic()
        await repository.open()
        together = time.monotonic() - began_at
        requests = len(web.asked)
        assert len(repository.names) == 13
        assert together < requests * web.delay_s / 2
        repository.close()

    asyncio.run(play())


async def beside_a_hub_that_is_away(make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> Repository:
    uri = hub(web, monkeypatch)
    monkeypatch.setattr("kfunc.handlers.repository.LOOK_AGAIN_S", 0.02)
    web.answers.clear()
    repository = make(web.put("/m.onnx", CONTENT), Residency(wait_s=5), models=[PodModel(name="all", uri=uri)])
    await repository.open()
    return repository


def test_a_source_that_fails_in_a_way_that_nobody_thought_of_is_asked_again(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        repository = await beside_a_hub_that_is_away(make, web, monkeypatch)
        ask_members, faults = repository.origins.members, [KeyError("x")]

        def members(model: PodModel) -> list[PodModel]:
            if faults:
                raise faults.pop()
            return ask_members(model)

        monkeypatch.setattr(repository.origins, "members", members)
        hub(web, monkeypatch, "rose")
        await until(lambda: "rose" in repository.names)
        repository.close()

    asyncio.run(play())
    assert "model all: cannot be found" in caplog.text


def test_a_prefix_that_could_not_be_asked_at_the_start_is_asked_again(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        repository = await beside_a_hub_that_is_away(make, web, monkeypatch)
        assert sorted(repository.names) == ["all", "iris"]
        hub(web, monkeypatch, "rose", "wine")
        await until(lambda: "rose" in repository.names)
        assert sorted(repository.names) == ["iris", "rose", "wine"]
        assert await ask(repository, "rose") == "1"
        repository.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("files", "runtime", "members"),
    [
        (["MLmodel", "data/model.keras", "conda.yaml"], "auto", []),
        (["saved_model.pb", "variables/variables.index", "assets/x"], "auto", []),
        (["tokenizer_config.json", "onnx/model.onnx"], "auto", []),
        (["preprocessor_config.json", "a/b"], "auto", []),
        (["handler.py", "parts/x"], "auto", []),
        (["iris.ONNX", "notes/x"], "auto", []),
        (["model.json", "notes/x"], "auto", []),
        (["config.json", "README.txt", "iris/m.onnx"], "auto", ["iris"]),
        (["tokenizer_config.json", "onnx/model.onnx"], "onnx", ["onnx"]),
        (["tools.py", "iris/handler.py"], "python", ["iris"]),
        (["iris/m.onnx", "my model/m.onnx", ".git/x"], "auto", ["iris"]),
    ],
)
def test_a_folder_elsewhere_that_is_one_model_is_not_taken_for_one_of_several(
    files: list[str],
    runtime: str,
    members: list[str],
    web: WebServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    uri = hub(web, monkeypatch)
    nodes = [{"type": "file", "path": each, "size": 1, "oid": each} for each in files]
    web.answers["/api/models/team/all/tree/c0?recursive=true"] = json.dumps(nodes).encode()
    cache = ModelCache(path=str(tmp_path / "cache"))
    config = msgspec.structs.replace(configuration(uri, runtime), model_cache=cache)
    assert [each.name for each in Origins(config).members(config.model)] == members
    left_out = [each.getMessage() for each in caplog.records]
    assert left_out == [f"{uri}/my model: is left out: {NO_NAME}"] * ("my model/m.onnx" in files)


def test_models_that_come_and_go_below_a_prefix_are_seen(make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "wine"), Residency(wait_s=5), refresh_s=0.02)
        await repository.open()
        await ask(repository, "wine")
        hub(web, monkeypatch, "iris", "rose", commit="c1")
        await until(lambda: "rose" in repository.names)
        assert await ask(repository, "rose") == "1"
        assert sorted(repository.names) == ["iris", "rose"]
        hub(web, monkeypatch, "iris", "rose", "wine", commit="c2")
        await until(lambda: "wine" in repository.names)
        assert await ask(repository, "wine") == "1"
        repository.close()

    asyncio.run(play())


def held_up(web: WebServer, path: str) -> threading.Event:
    """From now on who downloads the file waits; the event says that somebody does, and cleared it lets all go on."""
    waits = threading.Event()

    def answer(request: Any) -> None:
        waits.set()
        deadline = time.monotonic() + 10
        while waits.is_set() and time.monotonic() < deadline:
            time.sleep(0.005)
        request.send_file(path)

    web.answers[path] = answer
    return waits


def test_a_version_that_appears_while_the_one_before_is_on_its_way_is_taken_up(
    make: Make, loads: SlowLoads, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "wine"), Residency(wait_s=10), refresh_s=0.02)
        await repository.open()
        waits = held_up(web, "/team/all/resolve/c0/wine/m.onnx")
        asking = asyncio.ensure_future(ask(repository, "wine"))
        await until(waits.is_set)
        hub(web, monkeypatch, "iris", "wine", "rose", commit="c1")
        await until(lambda: "rose" in repository.names)  # somebody has looked
        waits.clear()
        await asking
        await until(lambda: len(loads.made) == 2)
        first, second = (made.config.model.uri for made in loads.made)
        assert first != second
        repository.close()

    asyncio.run(play())


def test_downloads_that_stand_still_leave_the_loop_its_threads(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "rose", "wine"), Residency(wait_s=10))
        await repository.open()
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        waiting = [held_up(web, f"/team/all/resolve/c0/{name}/m.onnx") for name in ("iris", "rose", "wine")]
        asking = [asyncio.ensure_future(ask(repository, name)) for name in ("iris", "rose", "wine")]
        await until(lambda: all(waits.is_set() for waits in waiting))
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
        for waits in waiting:
            waits.clear()
        assert await asyncio.gather(*asking) == ["1"] * 3
        repository.close()

    asyncio.run(play())


def test_a_model_that_leaves_memory_leaves_its_files_to_the_cache(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "rose", "wine"), Residency(wait_s=5, max_models=1))
        await repository.open()
        for name in ("iris", "rose", "wine"):
            await ask(repository, name)
        cache = Cache(tmp_path / "cache", 10**6)
        assert (cache.remove_unused(), len(cache.kept())) == (2 * len(CONTENT), 1)
        assert await ask(repository, "wine") == "1"
        repository.close()
        assert cache.remove_unused() == len(CONTENT)

    asyncio.run(play())


def test_the_files_of_the_version_that_is_served_stay_where_a_new_one_is_broken(
    make: Make, loads: SlowLoads, web: WebServer, tmp_path: Path
) -> None:
    async def play() -> None:
        repository = make(web.put("/m.onnx", CONTENT))
        await repository.open()
        web.put("/m.onnx", b"broken")
        with pytest.raises(ModelLoadError, match=r"m\.onnx: is broken"):
            await repository.refresh(repository.sources[0])
        Cache(tmp_path / "cache", 10**6).remove_unused()
        kept.append(Path(loads.made[0].config.model.uri).read_bytes())  # noqa: ASYNC240
        repository.close()

    kept: list[bytes] = []
    asyncio.run(play())
    assert kept == [CONTENT]


def test_a_new_version_whose_download_fails_is_tried_again(make: Make, loads: SlowLoads, web: WebServer, caplog: Any) -> None:
    async def play() -> None:
        uri = web.put("/m.onnx", CONTENT)
        repository = make(uri, refresh_s=0.02)
        await repository.open()

        def refused(request: Any) -> None:
            if request.headers.get("range", "bytes=0-0") == "bytes=0-0":
                request.send_file("/m.onnx")
            else:
                request.send(403, b"")

        web.answers["/m.onnx"] = refused
        web.put("/m.onnx", CONTENT[:-1])
        await until(lambda: caplog.text.count("stays as it is for now") > 1)
        del web.answers["/m.onnx"]
        await until(lambda: len(loads.made) == 2)
        repository.close()

    asyncio.run(play())


def test_one_model_whose_download_fails_keeps_no_other_from_its_new_version(
    make: Make, loads: SlowLoads, web: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "wine"), Residency(wait_s=5), refresh_s=0.02)
        await repository.open()
        for name in ("iris", "wine"):
            await ask(repository, name)
        hub(web, monkeypatch, "iris", "wine", commit="c1")
        del web.files["/team/all/resolve/c1/iris/m.onnx"]
        await until(lambda: "model iris: stays as it is: " in caplog.text)
        await until(lambda: len(loads.made) == 3)
        assert loads.made[2].config.model.name == "wine"
        hub(web, monkeypatch, "iris", "wine", commit="c1")
        await until(lambda: len(loads.made) == 4)
        repository.close()

    asyncio.run(play())


def test_a_download_that_hangs_keeps_no_other_model_waiting_and_is_told(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "wine"), Residency())
        await repository.open()
        go_on = threading.Event()

        def hanging(request: Any) -> None:
            go_on.wait(5)
            request.send_file("/team/all/resolve/c0/iris/m.onnx")

        web.answers["/team/all/resolve/c0/iris/m.onnx"] = hanging
        told: list[str] = []

        def answers(name: str) -> bool:
            try:
                repository.require_ready(repository.find(name, ""))
            except Loading as error:
                told.append(str(error.details["phase"]))
                return False
            return True

        answers("iris")
        await until(lambda: answers("wine"))
        await until(lambda: not answers("iris") and told[-1] == "downloading")
        go_on.set()
        await until(lambda: answers("iris"))
        repository.close()

    asyncio.run(play())


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """CONTENT, sealed with the key that the environment has."""
    monkeypatch.setenv("MODEL_KEY", b64encode(bytes(32)).decode())
    (tmp_path / "m.onnx").write_bytes(CONTENT)
    seal(tmp_path / "m.onnx", tmp_path / "m.onnx.sealed", "secret", Credentials({"MODEL_KEY": b64encode(bytes(32)).decode()}))
    return (tmp_path / "m.onnx.sealed").read_bytes()


def test_a_sealed_model_is_opened_from_memory_which_it_leaves_at_the_end(
    make: Make, loads: SlowLoads, web: WebServer, sealed: bytes
) -> None:
    repository = make(web.put("/m.onnx.sealed", sealed), sealed=True)
    asyncio.run(repository.open())
    path = Path(loads.made[0].config.model.uri)
    assert (path.name, path.parts[:3], path.read_bytes() == CONTENT) == ("m.onnx", ("/", "dev", "shm"), True)
    repository.close()
    assert not path.exists()


def test_a_sealed_model_that_leaves_takes_its_decrypted_files_along(
    make: Make, loads: SlowLoads, web: WebServer, sealed: bytes
) -> None:
    async def play() -> None:
        uri = web.put("/m.onnx.sealed", sealed)
        others = [PodModel(name="wine", uri=uri, sealed=True)]
        repository = make(uri, Residency(wait_s=5, max_models=1), sealed=True, models=others)
        await repository.open()
        for name in ("iris", "wine", "iris", "wine"):
            await ask(repository, name)
        paths = [Path(made.config.model.uri) for made in loads.made]
        await until(lambda: [path.exists() for path in paths] == [False, False, False, True])
        repository.close()
        await until(lambda: not paths[3].exists())

    asyncio.run(play())


def test_a_model_that_cannot_be_loaded_leaves_nothing_decrypted(
    make: Make, web: WebServer, sealed: bytes, loads: SlowLoads
) -> None:
    opened: list[Path] = []

    def fail(config: PodConfig) -> Loaded:
        opened.append(Path(config.model.uri))
        raise ModelLoadError("is broken")

    repository = make(web.put("/m.onnx.sealed", sealed), sealed=True, load=fail)
    with pytest.raises(ModelLoadError, match="is broken"):
        asyncio.run(repository.open())
    repository.close()
    assert not opened[0].exists()


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


def test_code_beside_a_model_from_elsewhere_is_told_to_be_passed_over(
    make: Make, web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "m").mkdir()
    for name in ("handler.py", "iris.onnx"):
        (tmp_path / "m" / name).write_bytes(CONTENT)
    repository = make(web.put("/m.tar", tarred(tmp_path / "m")))
    asyncio.run(repository.open())
    assert "model iris: iris.onnx is served; handler.py beside it is not served" in caplog.messages
    repository.close()


def test_what_is_wrong_with_a_model_is_told_of_its_uri(make: Make, web: WebServer, tmp_path: Path) -> None:
    def refuse(config: PodConfig, *_: Any) -> Any:
        raise ModelLoadError(f"{config.model.uri}: is broken")

    repository = make(web.put("/models/m.onnx", CONTENT), load=refuse)
    with pytest.raises(ModelLoadError, match=f"^{web.url}/models/m.onnx: is broken$"):
        asyncio.run(repository.open())
    repository.close()
    repository = make(web.put("/page.tar.gz", b"<!doctype html><p>Log in"))
    with pytest.raises(ModelLoadError, match=f"^{web.url}/page.tar.gz: this is an HTML page, no model"):
        asyncio.run(repository.open())
    repository.close()
    for name in ("iris", "wine"):
        (tmp_path / "m/many" / name).mkdir(parents=True)
        (tmp_path / "m/many" / name / "m.onnx").write_bytes(CONTENT)
    repository = make(web.put("/m.tar", tarred(tmp_path / "m")))
    reason = f"^{web.url}/m.tar/many: its folders hold models \\(iris, wine\\), one level too deep: name this folder"
    with pytest.raises(ModelLoadError, match=reason):
        asyncio.run(repository.open())
    repository.close()


def tarred(folder: Path) -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, ".")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (PodModel(uri="s3://b/m.onnx"), r"s3: needs obstore, not installed here: pip install .*\[object-storage\]'"),
        (PodModel(uri="az://b/m.onnx"), r"az: needs obstore, not installed here: pip install .*\[object-storage\]'"),
        (PodModel(uri="./m.onnx.sealed", sealed=True), r"a sealed model needs cryptography, .*: pip install .*\[sealed\]'"),
    ],
)
def test_a_package_that_a_model_s_place_needs_is_told_with_its_command(
    monkeypatch: pytest.MonkeyPatch, model: PodModel, reason: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelLoadError, match=reason):
        require_libraries(model)


@pytest.mark.parametrize("uri", ["./m.onnx", "hf://owner/model", "https://h/m.onnx", "oci://h/m:1", "models:/m/1"])
def test_other_places_need_nothing_more(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    require_libraries(PodModel(uri=uri))


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about runtimes."""
    return [text for text in caplog.messages if ": runtime " in text]


def test_the_runtime_of_what_an_archive_holds_is_told_with_the_reason(
    make: Make, web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/m.onnx").write_bytes(CONTENT)
    repository = make(web.put("/models.tar", tarred(tmp_path / "m")))
    with caplog.at_level(logging.INFO, PROGRESS):
        asyncio.run(repository.open())
    assert told(caplog) == ["model iris: runtime onnx, as the folder holds m.onnx"]
    repository.close()


def test_the_runtimes_of_models_are_told_together_where_they_are_the_same(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = ("iris", *(f"m{number}" for number in range(6)))
    repository = make(hub(web, monkeypatch, *names))
    with caplog.at_level(logging.INFO, PROGRESS):
        asyncio.run(repository.open())
    assert told(caplog) == ["models iris, m0, m1, m2, m3 and 2 more: runtime onnx, as the folder holds m.onnx"]
    repository.close()


def test_the_runtime_of_a_model_of_a_prefix_is_told_when_it_is_fetched(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        repository = make(hub(web, monkeypatch, "iris", "wine"), Residency(wait_s=5))
        await repository.open()
        assert told(caplog) == []
        await ask(repository, "wine")
        assert told(caplog) == ["model wine: runtime onnx, as the folder holds m.onnx"]
        repository.close()

    with caplog.at_level(logging.INFO, PROGRESS):
        asyncio.run(play())


def test_a_runtime_that_func_yaml_names_is_not_told_again(make: Make, web: WebServer, caplog: pytest.LogCaptureFixture) -> None:
    repository = make(web.put("/m.onnx", CONTENT), runtime="onnx")
    with caplog.at_level(logging.INFO, PROGRESS):
        asyncio.run(repository.open())
    assert told(caplog) == []
    repository.close()


def test_one_digest_is_not_that_of_many_models_which_are_fetched_one_by_one(
    make: Make, web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = f"sha256:{'0' * 64}"
    repository = make(hub(web, monkeypatch, "iris", "wine"), Residency(wait_s=5), digest=digest)
    with pytest.raises(
        ModelLoadError, match=r"hf://team/all: holds 2 models \(iris, wine\), which .*: list them in inference\.models"
    ):
        asyncio.run(repository.open())
    repository.close()


def test_each_model_of_the_list_has_a_digest_of_its_own(
    make: Make, web: WebServer, configured: Callable[..., PodConfig], tmp_path: Path, loads: SlowLoads
) -> None:
    async def play() -> None:
        wrong, right = f"sha256:{'0' * 64}", f"sha256:{sha256(CONTENT).hexdigest()}"
        models = [
            PodModel(name="a", uri=web.put("/a.onnx", CONTENT), digest=right),
            PodModel(name="b", uri=web.put("/b.onnx", CONTENT), digest=wrong),
        ]
        config = configured(web.put("/m.onnx", CONTENT), "auto", models=models, residency=Residency(wait_s=5))
        repository = Repository(msgspec.structs.replace(config, model_cache=ModelCache(path=str(tmp_path / "cache"))), loads)
        await repository.open()
        assert await ask(repository, "a") == "1"
        with pytest.raises(Unavailable, match="cannot be loaded"):
            await ask(repository, "b")
        repository.close()

    asyncio.run(play())


def test_an_archive_of_several_models_is_not_one_that_is_loaded_on_demand(
    make: Make, web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        (tmp_path / "m" / name).mkdir(parents=True)
        (tmp_path / "m" / name / "m.onnx").write_bytes(CONTENT)
    uri = web.put("/models.tar", tarred(tmp_path / "m"))

    async def play() -> None:
        repository = make(uri, Residency(wait_s=5))
        await repository.open()
        with pytest.raises(Unavailable):
            await ask(repository, "iris")
        repository.close()

    asyncio.run(play())
    assert (
        "models.tar: holds the models a, b, and what is loaded on demand from an archive or sealed is one model" in caplog.text
    )
