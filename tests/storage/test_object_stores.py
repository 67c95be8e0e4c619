"""Models in real stores: S3, Google Cloud Storage and Azure; fetched, refused, and fetched through an outage."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kfunc.config.model_addresses import parse_address
from kfunc.errors import ModelLoadError
from kfunc.storage.cache import Cache
from kfunc.storage.credentials import Credentials
from kfunc.storage.fetching import Fetched, Fetcher, Wish
from kfunc.storage.object_store import open_store
from kfunc.storage.planning import TRIES
from kfunc.storage.progress import Progress
from tests.parts.faults import Faulty, faulty
from tests.parts.object_stores import S3, Azure, Gcs

__all__ = ["faulty"]

pytestmark = [pytest.mark.integration, pytest.mark.heavy]

STORES: dict[str, Any] = {"s3": S3, "gs": Gcs, "az": Azure}
MODEL = os.urandom(3_000_000)
FILES = {"iris/1/model.onnx": MODEL, "iris/2/model.onnx": MODEL[::-1], "iris/2/labels.txt": b"a\nb\n", "other/x": b"x"}


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """The scheme of a bucket `models` with FILES, and its server."""
    scheme = request.param
    server = STORES[scheme](tmp_path / "store")
    if scheme != "az":
        server.make_bucket("models")
    with server:
        if scheme == "az":
            server.make_bucket("models")
        for name, value in server.client_environment().items():
            monkeypatch.setenv(name, value)
        store = open_store(parse_address(f"{scheme}://models/x"), Credentials(os.environ))
        for name, content in FILES.items():
            store.put(name, content, use_multipart=False)
        yield scheme, server


def fetch(uri: str, folder: Path, **changes: str) -> Fetched:
    fetcher = Fetcher(Cache(folder / "cache", 10**9), {**os.environ, **changes}, 4, part_bytes=256 * 1024)
    return fetcher.fetch(Wish(uri), Progress())


def test_a_folder_and_an_object_are_fetched(place: tuple[str, Any], tmp_path: Path) -> None:
    folder = fetch(f"{place[0]}://models/iris", tmp_path).path
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == {"1/model.onnx": MODEL, "2/model.onnx": MODEL[::-1], "2/labels.txt": b"a\nb\n"}
    one = fetch(f"{place[0]}://models/iris/1/model.onnx", tmp_path).path
    assert (one.name, one.read_bytes() == MODEL) == ("model.onnx", True)


def test_a_new_object_below_the_prefix_is_another_version(place: tuple[str, Any], tmp_path: Path) -> None:
    uri = f"{place[0]}://models/iris"
    before = fetch(uri, tmp_path).version
    assert fetch(uri, tmp_path).version == before
    store = open_store(parse_address(uri), Credentials(os.environ))
    store.put("iris/3/model.onnx", MODEL[:1000], use_multipart=False)
    after = fetch(uri, tmp_path)
    assert after.version != before
    assert (after.path / "3/model.onnx").read_bytes() == MODEL[:1000]


def test_what_is_not_there_is_named(place: tuple[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"models/rose: there is no such (object|bucket)"):
        fetch(f"{place[0]}://models/rose", tmp_path)


def test_wrong_credentials_are_told_and_not_shown(
    place: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if place[0] == "gs":
        pytest.skip("the server takes everybody")
    wrong = {"s3": ("AWS_SECRET_ACCESS_KEY", "hush-hush"), "az": ("AZURE_STORAGE_ACCOUNT_KEY", "aHVzaC1odXNo")}[place[0]]
    monkeypatch.setenv(*wrong)
    with pytest.raises(ModelLoadError, match="refuses the credentials of") as raised:
        fetch(f"{place[0]}://models/iris", tmp_path)
    assert wrong[1] not in raised.value.message


def test_a_download_goes_on_after_an_outage(place: tuple[str, Any], tmp_path: Path) -> None:
    scheme, server = place
    if scheme == "az":
        time.sleep(6)  # Azurite writes its index every few seconds, and not when it acknowledges
    timer = threading.Timer(1.5, server.start)
    server.kill()
    timer.start()
    folder = fetch(f"{scheme}://models/iris", tmp_path).path
    timer.join()
    assert (folder / "1/model.onnx").read_bytes() == MODEL


@pytest.mark.parametrize("fault", [0, 429, 500, 503])
def test_a_store_that_fails_for_a_while_is_asked_again_and_that_is_told(
    place: tuple[str, Any], faulty: Faulty, tmp_path: Path, fault: int
) -> None:
    warned: list[str] = []
    faulty.fail([fault] * 3)
    fetcher = Fetcher(Cache(tmp_path / "cache", 10**9), os.environ, 2, pause=lambda seconds: None)
    folder = fetcher.fetch(Wish(f"{place[0]}://models/iris"), Progress(warn=warned.append)).path
    assert (folder / "2/model.onnx").read_bytes() == MODEL[::-1]
    assert [f"({number} of {TRIES})" in line for number, line in enumerate(warned, 2)] == [True] * 3
    assert all(line.startswith("asking the storage: ") and (str(fault) in line or not fault) for line in warned), warned


def test_a_download_goes_on_through_connections_that_are_cut_off(
    place: tuple[str, Any], faulty: Faulty, tmp_path: Path
) -> None:
    fetcher = Fetcher(Cache(tmp_path / "cache", 10**9), os.environ, 1, pause=lambda seconds: None)
    faulty.fail([400_000] * (TRIES * 3))  # never as much as the half of a file, and many times that of the tries
    folder = fetcher.fetch(Wish(f"{place[0]}://models/iris"), Progress()).path
    assert [(folder / f"{each}/model.onnx").read_bytes() for each in (1, 2)] == [MODEL, MODEL[::-1]]
    assert len(faulty.faults) < TRIES * 3 - 14
