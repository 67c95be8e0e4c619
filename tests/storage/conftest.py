from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kfunc.storage.cache import Cache
from kfunc.storage.fetching import Fetched, Fetcher, Wish
from kfunc.storage.progress import Progress
from tests.storage.web_server import WebServer

MEBIBYTE = 1024 * 1024


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 64 * MEBIBYTE)


@pytest.fixture
def fetcher(cache: Cache) -> Fetcher:
    """In parts of 64 KiB, so that small files have several."""
    return Fetcher(cache, {"HOME": str(cache.folder)}, 4, part_bytes=64 * 1024, pause=lambda seconds: None)


@pytest.fixture
def fetch(fetcher: Fetcher) -> Callable[..., Fetched]:
    def fetch(uri: str, digest: str = "", files: tuple[str, ...] = ()) -> Fetched:
        return fetcher.fetch(Wish(uri, digest, files), Progress())

    return fetch
