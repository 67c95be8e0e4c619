"""Models and versions of one function: what is found, loaded, changed while requests come, and refused."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Container
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.config.images import Choice, Images
from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.residency import Residency
from kfunc.errors import InvalidRequest, ModelLoadError, NotFound, Unavailable, Unsupported
from kfunc.handlers.loading import AllServed
from kfunc.handlers.local_files import LocalFiles
from kfunc.handlers.repository import Repository
from kfunc.handlers.slots import InMemory, Slot
from kfunc.handlers.supply import Supply
from kfunc.protocol.contract import Context
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, TensorSpec

Make = Callable[..., Repository]


class Loaded(InMemory):
    """What a fake load gives: it knows its settings, and whether it was closed."""

    explains = True

    def __init__(self, config: PodConfig) -> None:
        if Path(config.model.uri).is_file() and Path(config.model.uri).read_bytes() == b"broken":
            raise ModelLoadError(f"{config.model.uri}: is broken")
        self.config = config
        self.ready = True
        self.closed = self.hangs = False
        self.files: list[LocalFiles] = []
        specs = [TensorSpec("x", "FP32", [-1])]
        self.metadata = ModelMetadata(config.model.name, [config.model.version], "test", specs, specs)

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        return InferResponse(self.metadata.name, [], request.model_version)

    explain = infer

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        raise Unsupported("no parts")

    def stuck(self) -> bool:
        return self.hangs

    def keep(self, files: LocalFiles) -> None:
        files.hold()
        self.files.append(files)

    def retire(self) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True
        while self.files:
            self.files.pop().let_go()


class Loads:
    """Fake loads, all that there were."""

    def __init__(self) -> None:
        self.made: list[Loaded] = []

    def __call__(self, config: PodConfig) -> Loaded:
        self.made.append(Loaded(config))
        return self.made[-1]

    def what(self) -> list[tuple[str, str, str]]:
        return [(each.config.model.name, each.config.model.version, each.config.model.runtime) for each in self.made]


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def make(configured: Callable[..., PodConfig], tmp_path: Path, loads: Loads) -> Make:
    def make(*files: str, **changes: Any) -> Repository:
        for file in files:
            put(tmp_path / file)
        return Repository(configured(**{"uri": str(tmp_path), "runtime": "auto", **changes}), loads)

    return make


def put(path: Path, content: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def opened(repository: Repository) -> Repository:
    asyncio.run(repository.open())
    return repository


def answering(repository: Repository, name: str = "", version: str = "") -> str:
    """`name version` of the model that answers."""
    metadata: Any = repository.find(name, version).taken().metadata
    return f"{metadata.name} {metadata.versions[0]}"


def test_every_version_is_loaded_and_the_newest_is_the_default(make: Make, loads: Loads) -> None:
    repository = opened(make("1/m.onnx", "10/handler.py", "9/m.skops"))
    assert loads.what() == [("iris", "1", "onnx"), ("iris", "9", "sklearn"), ("iris", "10", "python")]
    assert [answering(repository, "iris", version) for version in ("", "1", "9")] == ["iris 10", "iris 1", "iris 9"]
    assert repository.find("iris", "").version == "10"


def test_metadata_names_all_versions(make: Make) -> None:
    repository = opened(make("1/m.onnx", "2/m.onnx"))
    for version in ("", "1"):
        assert repository.metadata(repository.find("iris", version)).versions == ["1", "2"]


def test_an_unknown_version_is_told_those_there_are(make: Make) -> None:
    repository = opened(make("1/m.onnx", "2/m.onnx"))
    with pytest.raises(NotFound, match="model 'iris' has no version '3'; its versions are '1', '2'"):
        repository.find("iris", "3")


def test_several_models_are_served_under_their_names(make: Make) -> None:
    repository = opened(make("iris/1/m.onnx", "wine/m.skops"))
    assert repository.names == ["iris", "wine"]
    assert [answering(repository, name) for name in ("", "iris", "wine")] == ["iris 1", "iris 1", "wine 1"]
    with pytest.raises(NotFound, match="no model 'rose' here; the models are 'iris', 'wine'"):
        repository.find("rose", "")


def test_the_only_model_of_a_folder_also_answers_to_the_configured_name(make: Make) -> None:
    repository = opened(make("rose/1/m.onnx"))
    assert repository.names == ["rose"]
    assert [answering(repository, name) for name in ("", "iris", "rose")] == ["rose 1"] * 3
    assert repository.find("iris", "1") is repository.find("rose", "1")


@pytest.mark.parametrize("residency", [None, Residency(wait_s=5)], ids=["loaded", "on demand"])
def test_a_model_of_the_configured_name_that_comes_later_is_another_one(
    residency: Residency | None, make: Make, tmp_path: Path
) -> None:
    repository = opened(make("wine/m.onnx", residency=residency))
    held = repository.find("iris", "")
    put(tmp_path / "iris/m.onnx")
    asyncio.run(repository.refresh(repository.sources[0]))
    wine = repository.find("wine", "").taken()

    async def told(*slots: Slot) -> list[str]:
        return [(await slot.taken().brought()).metadata.name for slot in slots]

    assert asyncio.run(told(repository.find("wine", ""), repository.find("iris", ""))) == ["wine", "iris"]
    assert repository.find("", "").taken() is held.taken() is wine
    assert [slot.name for slot in repository.slots] == ["wine", "iris"]
    asyncio.run(repository.unload("iris"))
    assert repository.find("wine", "").taken() is wine
    with pytest.raises(NotFound, match="the model iris is not loaded: unloaded"):
        repository.find("iris", "").taken()


def test_the_only_model_of_a_folder_can_take_the_configured_name(make: Make, tmp_path: Path) -> None:
    repository = opened(make("wine/m.onnx"))
    (tmp_path / "wine").rename(tmp_path / "iris")
    asyncio.run(repository.refresh(repository.sources[0]))
    assert (repository.names, answering(repository, "iris")) == (["iris"], "iris 1")
    (tmp_path / "iris").rename(tmp_path / "wine")
    asyncio.run(repository.refresh(repository.sources[0]))
    assert [answering(repository, name) for name in ("", "iris", "wine")] == ["wine 1"] * 3


def test_the_only_model_of_the_first_folder_is_the_default_one_whatever_others_hold(make: Make, tmp_path: Path) -> None:
    put(tmp_path / "other/m.onnx")
    other = PodModel(name="other", uri=str(tmp_path / "other/m.onnx"), runtime="onnx")
    repository = opened(make("first/wine/m.onnx", uri=str(tmp_path / "first"), models=[other]))
    assert [answering(repository, name) for name in ("", "iris", "wine", "other")] == ["wine 1"] * 3 + ["other 1"]


def test_several_models_need_a_default_one(make: Make, loads: Loads) -> None:
    with pytest.raises(ModelLoadError, match=r"holds the models rose, wine; set inference\.model\.name to the default"):
        opened(make("rose/m.onnx", "wine/m.onnx"))
    assert loads.made == []


def test_one_broken_version_keeps_the_function_from_starting_and_is_named(make: Make, tmp_path: Path, loads: Loads) -> None:
    put(tmp_path / "2/m.onnx", b"broken")
    with pytest.raises(ModelLoadError, match=r"2/m\.onnx: is broken"):
        opened(make("1/m.onnx"))
    assert [each.closed for each in loads.made] == [True]


def test_a_folder_s_digest_is_of_what_sha256sum_prints_of_its_files(make: Make) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    digest = hashlib.sha256(f"{empty}  1/m.onnx\n{empty}  2/m.onnx\n".encode()).hexdigest()
    opened(make("1/m.onnx", "2/m.onnx", digest=f"sha256:{digest}"))
    with pytest.raises(ModelLoadError, match=f"its digest is sha256:{digest}, expected is sha256:000"):
        opened(make("1/m.onnx", "2/m.onnx", digest="sha256:" + "0" * 64))


def test_until_the_folder_is_read_what_is_asked_for_is_503(make: Make) -> None:
    repository = make("1/m.onnx")
    for name, version in (("wine", ""), ("iris", "1")):
        with pytest.raises(Unavailable):
            repository.find(name, version)
    with pytest.raises(Unavailable, match="the model iris is loading"):
        repository.find("iris", "").taken()
    with pytest.raises(Unavailable):
        repository.require_ready()


def test_a_slot_that_was_found_before_the_models_were_there_gets_its_model(make: Make) -> None:
    repository = make("1/m.onnx", "2/m.onnx")
    slot = repository.find("iris", "")
    opened(repository)
    assert (slot is repository.find("iris", ""), slot.version) == (True, "2")


def test_ready_is_what_all_models_are(make: Make, loads: Loads) -> None:
    repository = opened(make("1/m.onnx", "2/m.onnx"))
    repository.require_ready()
    loads.made[0].ready = False
    repository.require_ready(repository.find("iris", "2"))
    for slot in (None, repository.find("iris", "1")):
        with pytest.raises(Unavailable, match="the model iris is not ready"):
            repository.require_ready(slot)


def test_a_call_that_hangs_in_one_model_is_seen(make: Make, loads: Loads) -> None:
    repository = opened(make("1/m.onnx", "2/m.onnx"))
    assert not repository.stuck()
    loads.made[1].hangs = True
    assert repository.stuck()


def test_models_that_share_a_uri_are_all_served(make: Make, tmp_path: Path) -> None:
    others = [PodModel(name=name, uri=str(tmp_path / "m.onnx")) for name in ("rose", "wine")]
    repository = opened(make("m.onnx", uri=str(tmp_path / "m.onnx"), models=others))
    assert [answering(repository, name) for name in repository.names] == ["iris 1", "rose 1", "wine 1"]


def test_a_folder_s_new_model_cannot_take_another_source_s_name(make: Make, tmp_path: Path, loads: Loads) -> None:
    put(tmp_path / "wine.onnx")
    uri = str(tmp_path / "all")
    repository = opened(make("all/iris/m.onnx", uri=uri, models=[PodModel(name="wine", uri=str(tmp_path / "wine.onnx"))]))
    wine = repository.find("wine", "").model
    put(tmp_path / "all/wine/m.onnx")
    with pytest.raises(ModelLoadError, match=r"there is another model 'wine' already, at .*wine\.onnx; rename one"):
        asyncio.run(repository.refresh(repository.sources[0]))
    assert repository.find("wine", "").model is wine
    put(tmp_path / "all/rose/m.onnx")
    (tmp_path / "all/wine/m.onnx").unlink()
    (tmp_path / "all/wine").rmdir()
    asyncio.run(repository.refresh(repository.sources[0]))
    assert (repository.find("wine", "").model, repository.names) == (wine, ["iris", "wine", "rose"])


# ---- load and unload


def test_an_unloaded_model_is_not_found_and_its_calls_end(make: Make, loads: Loads) -> None:
    repository = opened(make("iris/1/m.onnx", "wine/1/m.onnx"))
    slot = repository.find("iris", "")
    asyncio.run(repository.unload("iris"))
    for each in (slot, repository.find("iris", "1")):
        with pytest.raises(NotFound, match="the model iris is not loaded: unloaded"):
            each.taken()
    assert [each.closed for each in loads.made] == [True, False]
    repository.require_ready()
    assert [(each.name, each.state) for each in repository.slots] == [("iris", "UNAVAILABLE"), ("wine", "READY")]


def test_a_model_that_is_loaded_again_answers_through_slots_found_before(make: Make, loads: Loads) -> None:
    repository = opened(make("1/m.onnx"))
    slots = [repository.find("iris", ""), repository.find("iris", "1")]
    asyncio.run(repository.unload("iris"))
    asyncio.run(repository.load("iris"))
    assert [slot.taken() for slot in slots] == [loads.made[1]] * 2


def test_a_load_takes_up_what_is_on_disk_now(make: Make, tmp_path: Path, loads: Loads) -> None:
    repository = opened(make("iris/1/m.onnx", "iris/2/m.onnx"))
    gone, default = repository.find("iris", "1"), repository.find("iris", "")
    (tmp_path / "iris/1/m.onnx").unlink()
    (tmp_path / "iris/1").rmdir()
    put(tmp_path / "iris/3/m.onnx")
    asyncio.run(repository.load("iris"))
    assert (default.version, repository.metadata(default).versions) == ("3", ["2", "3"])
    with pytest.raises(NotFound, match="not loaded: its files are gone"):
        gone.taken()
    assert [each.closed for each in loads.made] == [True, True, False, False]
    put(tmp_path / "iris/1/m.onnx")
    asyncio.run(repository.load("iris"))
    assert gone.taken() is repository.find("iris", "1").taken()


@pytest.mark.parametrize("residency", [None, Residency(wait_s=5)], ids=["loaded", "on demand"])
def test_models_that_come_and_go_leave_nothing_behind(residency: Residency | None, make: Make, tmp_path: Path) -> None:
    repository = opened(make("iris/m.onnx", residency=residency))
    for number in range(5):
        put(tmp_path / f"wine{number}/m.onnx")
        asyncio.run(repository.refresh(repository.sources[0]))
        assert repository.names == ["iris", f"wine{number}"]
        (tmp_path / f"wine{number}/m.onnx").unlink()
        (tmp_path / f"wine{number}").rmdir()
        asyncio.run(repository.refresh(repository.sources[0]))
    supply: Any = repository.supply
    assert (repository.names, list(repository._entries), len(repository._slots)) == (["iris"], ["iris"], 2)
    assert list(getattr(supply, "_placed", [("iris", "1")])) == [("iris", "1")]


@pytest.mark.parametrize("residency", [None, Residency(wait_s=5)], ids=["loaded", "on demand"])
def test_a_slot_that_somebody_holds_answers_again_when_its_model_comes_back(
    residency: Residency | None, make: Make, tmp_path: Path
) -> None:
    repository = opened(make("iris/m.onnx", "wine/m.onnx", residency=residency))
    slots = [repository.find("wine", ""), repository.find("wine", "1")]
    (tmp_path / "wine/m.onnx").unlink()
    (tmp_path / "wine").rmdir()
    asyncio.run(repository.refresh(repository.sources[0]))
    for slot in slots:
        with pytest.raises(NotFound, match="the model wine is not loaded: its files are gone"):
            slot.taken()
    with pytest.raises(NotFound, match="no model 'wine' here; the model is 'iris'"):
        repository.find("wine", "")
    put(tmp_path / "wine/m.onnx")
    asyncio.run(repository.refresh(repository.sources[0]))
    assert [slot.taken() for slot in slots] == [repository.find("wine", "").taken()] * 2


def test_a_new_model_can_be_loaded(make: Make, tmp_path: Path) -> None:
    repository = opened(make("iris/1/m.onnx"))
    put(tmp_path / "wine/m.skops")
    asyncio.run(repository.load("wine"))
    assert answering(repository, "wine") == "wine 1"


def test_a_load_that_fails_leaves_what_there_is(make: Make, tmp_path: Path, loads: Loads) -> None:
    repository = opened(make("1/m.onnx"))
    put(tmp_path / "2/m.onnx", b"broken")
    with pytest.raises(InvalidRequest, match=r"the model iris cannot be loaded: .*2/m\.onnx: is broken"):
        asyncio.run(repository.load("iris"))
    assert repository.find("iris", "").taken() is loads.made[0]
    assert [each.closed for each in loads.made] == [False, True]


def test_a_load_that_fails_is_told(configured: Callable[..., PodConfig], tmp_path: Path, loads: Loads) -> None:
    failures: list[None] = []
    put(tmp_path / "1/m.onnx")
    repository = opened(Repository(configured(str(tmp_path), "auto"), loads, lambda: failures.append(None)))
    put(tmp_path / "2/m.onnx", b"broken")
    with pytest.raises(InvalidRequest):
        asyncio.run(repository.load("iris"))
    assert len(failures) == 1


@pytest.mark.parametrize("residency", [None, Residency(wait_s=5)], ids=["loaded", "on demand"])
def test_a_new_version_beside_it_does_not_bring_back_what_was_unloaded(
    residency: Residency | None, make: Make, tmp_path: Path
) -> None:
    repository = opened(make("iris/m.onnx", "wine/m.onnx", residency=residency))
    asyncio.run(repository.unload("wine"))
    put(tmp_path / "iris/m.onnx", b"new")
    put(tmp_path / "wine/m.onnx", b"new")
    asyncio.run(repository.refresh(repository.sources[0]))
    with pytest.raises(NotFound, match="the model wine is not loaded: unloaded"):
        repository.find("wine", "").taken()
    asyncio.run(repository.load("wine"))
    assert answering(repository, "wine") == "wine 1"
    asyncio.run(repository.refresh(repository.sources[0]))
    assert answering(repository, "wine") == "wine 1"


def test_a_load_that_fails_brings_nothing_back_later(make: Make, tmp_path: Path) -> None:
    repository = opened(make("iris/m.onnx", "wine/m.onnx"))
    asyncio.run(repository.unload("wine"))
    put(tmp_path / "wine/m.onnx", b"broken")
    with pytest.raises(InvalidRequest):
        asyncio.run(repository.load("wine"))
    put(tmp_path / "wine/m.onnx")
    asyncio.run(repository.refresh(repository.sources[0]))
    assert repository.find("wine", "").model is None


class Pictured(Loaded):
    """A fake model that takes pictures as numbers."""

    def __init__(self, config: PodConfig) -> None:
        super().__init__(config)
        self.metadata = msgspec.structs.replace(self.metadata, inputs=[TensorSpec("x", "FP32", [-1, 3, 4, 4])])


@pytest.mark.parametrize("chosen", ["small", "iris"])
def test_pictures_can_go_only_to_a_model_that_is_there(
    configured: Callable[..., PodConfig], tmp_path: Path, chosen: str
) -> None:
    put(tmp_path / "m.onnx")
    images = Images(choose=[Choice(max_side=20, model=chosen)])
    repository = Repository(msgspec.structs.replace(configured(str(tmp_path), "auto"), images=images), Pictured)
    told = "images.choose names 'small', and the models are iris"
    with pytest.raises(ModelLoadError, match=told) if chosen == "small" else nullcontext():
        asyncio.run(repository.open())


@pytest.mark.parametrize("name", ["wine", "iris"])
def test_the_only_model_of_a_folder_gets_pictures_whatever_its_name(
    configured: Callable[..., PodConfig], tmp_path: Path, name: str
) -> None:
    put(tmp_path / name / "m.onnx")
    config = msgspec.structs.replace(configured(str(tmp_path), "auto"), images=Images())
    repository = opened(Repository(config, Pictured))
    assert repository.find("iris", "").taken().takes_images


class HeldUp:
    """A supply of which one source does not answer until `goes_on`."""

    def __init__(self, supply: Supply, name: str) -> None:
        self._supply, self._name, self.unseen = supply, name, supply.unseen
        self.goes_on = asyncio.Event()
        self.asked = asyncio.Event()

    async def models(self, sources: list[PodModel], only: str = "", without: Container[str] = ()) -> AllServed:
        models = await self._supply.models(sources, only, without)
        if sources[0].name == self._name:
            self.asked.set()
            await self.goes_on.wait()
        return models


def test_a_storage_that_does_not_answer_holds_up_its_own_models_alone(make: Make, tmp_path: Path, loads: Loads) -> None:
    async def play() -> None:
        for name in ("iris", "rose", "wine"):
            put(tmp_path / name / "m.onnx")
        others = [PodModel(name=name, uri=str(tmp_path / name)) for name in ("rose", "wine")]
        repository = make(uri=str(tmp_path / "iris"), models=others)
        await repository.open()
        repository.supply = held_up = HeldUp(repository.supply, "wine")
        refresh = asyncio.ensure_future(repository.refresh(repository.sources[2]))
        await held_up.asked.wait()
        async with asyncio.timeout(5):
            await repository.load("rose")
            await repository.refresh(repository.sources[0])
            await repository.unload("wine")
        held_up.goes_on.set()
        await refresh
        with pytest.raises(NotFound, match="the model wine is not loaded: unloaded"):  # while it was loaded
            repository.find("wine", "").taken()
        assert [made.closed for made in loads.made if made.config.model.name == "wine"] == [True, True]

    asyncio.run(play())


@pytest.mark.parametrize("change", ["load", "unload"])
def test_what_is_not_there_cannot_be_changed(make: Make, change: str) -> None:
    repository = opened(make("1/m.onnx"))
    with pytest.raises(NotFound, match="no model 'wine'"):
        asyncio.run(getattr(repository, change)("wine"))


def test_nothing_is_changed_before_the_models_are_there(make: Make) -> None:
    with pytest.raises(Unavailable):
        asyncio.run(make("1/m.onnx").load("iris"))


def test_the_end_closes_every_model(make: Make, loads: Loads) -> None:
    opened(make("1/m.onnx", "2/m.onnx")).close()
    assert all(each.closed for each in loads.made)
