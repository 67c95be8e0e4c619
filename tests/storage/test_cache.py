"""The cache: what it keeps, what leaves, what a crash costs, what two processes see of each other."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from kfunc.errors import ModelLoadError
from kfunc.storage.cache import ABOUT, About, Cache
from kfunc.storage.download import boot_id
from kfunc.storage.fetching import Fetched, Fetcher, Wish
from kfunc.storage.progress import Progress
from tests.storage.web_server import WebServer


def keep(cache: Cache, key: str, size: int = 10, boot: str = "", uri: str = "s3://b/m") -> Path:
    content = cache.partial(key) / "files"
    content.mkdir(parents=True)
    (content / "m.onnx").write_bytes(bytes(size))
    path = cache.complete(key, content, About(uri, uri, f"version-{key}", size, "m.onnx", boot or boot_id()))
    while not synced(cache, key):
        time.sleep(0.005)
    return path


def synced(cache: Cache, key: str) -> bool:
    return msgspec.json.decode((cache.folder / "models" / key / ABOUT).read_bytes(), type=About).synced


def used(cache: Cache, key: str, at: float) -> None:
    os.utime(cache.folder / "models" / key / ABOUT, (at, at))


def test_what_was_completed_is_found(cache: Cache) -> None:
    path = keep(cache, "a")
    assert (cache.find("a"), path.name, cache.find("b")) == (path, "m.onnx", None)


def test_what_had_not_reached_the_disk_before_a_crash_is_not_trusted(cache: Cache) -> None:
    keep(cache, "a")
    about = cache.folder / "models/a" / ABOUT
    about.write_bytes(msgspec.json.encode(About("s3://b/m", "", "1", 10, "m.onnx", "another boot", synced=False)))
    assert cache.find("a") is None


def test_the_least_recently_used_leaves_when_room_is_needed(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    for number, key in enumerate("abc"):
        keep(cache, key)
        used(cache, key, 1000.0 + number)
    used(cache, "a", 2000.0)
    cache.make_room(15)
    assert sorted(each.key for each in cache.kept()) == ["a"]


def test_what_is_built_of_a_model_counts_as_its_own(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100)
    keep(cache, "a")
    cache.beside("a").mkdir()
    (cache.beside("a") / "m.engine").write_bytes(bytes(70))
    assert [each.size for each in cache.kept()] == [80]
    cache.make_room(30)
    assert cache.kept() == []


def test_what_a_process_uses_stays(tmp_path: Path) -> None:
    cache, other = Cache(tmp_path, 30), Cache(tmp_path, 30)
    for number, key in enumerate("abc"):
        keep(cache, key)
        used(cache, key, 1000.0 + number)
    other.hold("a")
    cache.make_room(10)
    assert sorted(each.key for each in cache.kept()) == ["a", "c"]
    other.release("a")
    cache.make_room(20)
    assert [each.key for each in cache.kept()] == ["c"]


def test_a_model_that_two_hold_stays_until_both_have_released_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    keep(cache, "a")
    cache.hold("a")
    cache.hold("a")
    cache.release("a")
    assert not cache.remove("a")
    cache.release("a")
    assert cache.remove("a")


def test_what_a_killed_process_was_about_to_remove_is_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 30)
    (tmp_path / "removed/a-1-2.0/content").mkdir(parents=True)
    cache.make_room(0)
    assert list((tmp_path / "removed").iterdir()) == []


def test_the_newest_copy_of_a_uri_is_known(cache: Cache) -> None:
    for number, key in enumerate("ab"):
        keep(cache, key)
        used(cache, key, 1000.0 + number)
    assert (cache.latest("s3://b/m"), cache.latest("s3://b/other")) == (("b", "version-b"), None)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelLoadError, match=r"the cache of models cannot be made there.*model_cache\.path"):
        Cache(tmp_path / "file", 10)


def test_models_of_many_functions_stay_within_the_bound(web: WebServer, tmp_path: Path) -> None:
    cache = Cache(tmp_path, 250_000)
    fetcher = Fetcher(cache, {}, 2)
    for number in range(6):
        fetched = fetcher.fetch(Wish(web.put(f"/{number}.onnx", bytes([number]) * 100_000)), Progress())
        assert sum(each.size for each in cache.kept()) <= 250_000
        cache.release(fetched.key)


def test_a_model_in_use_leaves_the_cache_over_its_bound_rather_than_breaking(
    web: WebServer, tmp_path: Path, fetch: Callable[..., Fetched]
) -> None:
    fetcher = Fetcher(Cache(tmp_path / "own", 150_000), {}, 2)
    paths = [fetcher.fetch(Wish(web.put(f"/{name}.onnx", bytes(100_000))), Progress()).path for name in "ab"]
    assert all(path.exists() for path in paths)
