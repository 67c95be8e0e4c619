"""Downloads of files over HTTP: in ranges, resumed, checked, again where they break off, refused where they cannot go on."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kfunc.errors import ModelLoadError
from kfunc.storage.cache import Cache
from kfunc.storage.contract import Listing, RemoteFile
from kfunc.storage.fetching import Fetched, Fetcher, Wish
from kfunc.storage.progress import Progress
from tests.storage.web_server import WebServer

Fetch = Callable[..., Fetched]
CONTENT = os.urandom(1_000_003)
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
ROOT = Path(__file__).parents[2]


def test_a_file_comes_in_ranges_over_several_connections(web: WebServer, fetch: Fetch) -> None:
    fetched = fetch(web.put("/m.onnx", CONTENT))
    assert (fetched.path.name, fetched.path.read_bytes() == CONTENT) == ("m.onnx", True)
    assert len(web.ranges_asked()) == 16


def test_the_second_time_nothing_is_downloaded(web: WebServer, fetch: Fetch) -> None:
    url = web.put("/m.onnx", CONTENT)
    first = fetch(url)
    web.asked.clear()
    assert (fetch(url), web.ranges_asked()) == (first, [])


def test_with_a_digest_the_cache_answers_without_asking_the_server(web: WebServer, fetch: Fetch) -> None:
    url = web.put("/m.onnx", CONTENT)
    first = fetch(url, DIGEST)
    web.asked.clear()
    assert (fetch(url, DIGEST).path, web.asked) == (first.path, [])


def test_an_answer_that_is_cut_off_is_asked_for_again_from_there(web: WebServer, fetch: Fetch) -> None:
    web.cut_after = [1000, 0, 60_000, 5]
    assert fetch(web.put("/m.onnx", CONTENT)).path.read_bytes() == CONTENT
    assert any(
        not asked.startswith(("bytes=0-", "bytes=65536-")) and int(asked[6:].split("-")[0]) % 65536
        for asked in web.ranges_asked()
    )


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_that_may_pass_is_tried_again(web: WebServer, fetch: Fetch, status: int) -> None:
    web.statuses = [status] * 3
    assert fetch(web.put("/m.onnx", CONTENT)).path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "why"), [(404, "no such file"), (401, "needs credentials: set MODEL_AUTHORIZATION"), (403, "refuses these")]
)
def test_a_status_that_stays_is_told_with_its_meaning(web: WebServer, fetch: Fetch, status: int, why: str) -> None:
    web.statuses = [status]
    with pytest.raises(ModelLoadError, match=why):
        fetch(web.put("/m.onnx", CONTENT))


def test_a_download_that_does_not_go_on_is_given_up(web: WebServer, fetch: Fetch) -> None:
    web.cut_after = [0] * 1000
    with pytest.raises(ModelLoadError, match=r"m\.onnx: the download does not go on"):
        fetch(web.put("/m.onnx", CONTENT))


def test_what_is_there_of_a_failed_download_is_not_asked_for_again(web: WebServer, fetch: Fetch) -> None:
    url = web.put("/m.onnx", CONTENT)
    web.cut_after = [10**9] * 8 + [0] * 100
    with pytest.raises(ModelLoadError):
        fetch(url)
    web.cut_after, web.asked[:] = [], []
    assert fetch(url).path.read_bytes() == CONTENT
    assert 1 <= len(web.ranges_asked()) <= 9


def test_a_server_without_ranges_gives_the_whole_file(web: WebServer, fetch: Fetch) -> None:
    web.ranges = False
    web.cut_after = [5000]
    assert fetch(web.put("/m.onnx", CONTENT)).path.read_bytes() == CONTENT


def test_a_server_that_lies_about_the_length_is_found_out(web: WebServer, fetch: Fetch) -> None:
    web.lie = 100_000
    with pytest.raises(ModelLoadError, match="does not go on: the answer is of another range"):
        fetch(web.put("/m.onnx", CONTENT))


def test_a_file_that_changes_while_it_is_downloaded_is_fetched_as_it_is_then(web: WebServer, fetch: Fetch) -> None:
    url = web.put("/m.onnx", CONTENT)
    other = CONTENT[::-1]
    changed: list[str] = []

    asked = web.asked

    class Watch(list[tuple[str, str, dict[str, str]]]):
        def append(self, item: tuple[str, str, dict[str, str]]) -> None:
            if item[2].get("range", "bytes=0-0") != "bytes=0-0" and not changed:
                changed.append(web.put("/m.onnx", other))
            asked.append(item)

    web.asked = Watch()
    assert fetch(url).path.read_bytes() == other


def test_a_wrong_digest_is_refused_and_not_kept(web: WebServer, fetch: Fetch, cache: Cache) -> None:
    with pytest.raises(ModelLoadError, match=f"its digest is {DIGEST}, expected is sha256:0000"):
        fetch(web.put("/m.onnx", CONTENT), "sha256:" + "0" * 64)
    assert [*(cache.folder / "models").iterdir(), *(cache.folder / "partial").iterdir()] == []


def test_a_model_larger_than_the_cache_is_refused(web: WebServer, tmp_path: Path) -> None:
    fetcher = Fetcher(Cache(tmp_path, 1000), {}, 4)
    with pytest.raises(ModelLoadError, match=r"the model has 1\.0 MB, the cache holds at most 1\.0 kB"):
        fetcher.fetch(Wish(web.put("/m.onnx", CONTENT)), Progress())


def test_while_the_server_is_down_the_last_copy_is_served(web: WebServer, fetch: Fetch) -> None:
    url = web.put("/m.onnx", CONTENT)
    first = fetch(url)
    web.statuses = [503] * 100
    assert fetch(url).path == first.path


def test_a_server_that_is_down_is_told(web: WebServer, fetch: Fetch) -> None:
    web.statuses = [503] * 100
    with pytest.raises(ModelLoadError, match=r"the storage does not answer: .*answers 503"):
        fetch(web.put("/m.onnx", CONTENT))


class FullDisk:
    """A source whose bytes have no room, the first `times` times."""

    def __init__(self, times: int) -> None:
        self.times = times

    def list_files(self, known: Listing | None = None) -> Listing:
        return Listing([RemoteFile("m.onnx", len(CONTENT), "1")], is_file=True)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        if self.times:
            self.times -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        yield CONTENT[start:stop]

    def close(self) -> None: ...


def test_a_full_disk_makes_room_of_what_nobody_uses_and_is_told_where_that_does_not_help(
    web: WebServer, fetch: Fetch, cache: Cache
) -> None:
    cache.release(fetch(web.put("/old.onnx", CONTENT)).key)
    full = Fetcher(cache, {}, 1, open_source=lambda uri, credentials: FullDisk(1000))
    source = FullDisk(1)
    once = Fetcher(cache, {}, 1, open_source=lambda uri, credentials: source)
    assert once.fetch(Wish("s3://b/m"), Progress()).path.read_bytes() == CONTENT
    with pytest.raises(ModelLoadError, match=r"cannot be written: No space left on device; make it larger, or name another"):
        full.fetch(Wish("s3://b/full"), Progress())
    assert list((cache.folder / "partial").iterdir()) == []


def test_progress_counts_what_is_there(web: WebServer, fetcher: Fetcher) -> None:
    said: list[str] = []
    progress = Progress(said.append)
    fetcher.fetch(Wish(web.put("/m.onnx", CONTENT)), progress)
    assert progress.told() == {"phase": "downloading", "done": len(CONTENT), "total": len(CONTENT)}
    assert said[-1] == "downloading 100 % (1.0 of 1.0 MB)"
    assert len(said) <= 12


def test_of_a_server_without_ranges_it_is_told_how_far_the_download_is(web: WebServer, fetcher: Fetcher) -> None:
    said: list[str] = []
    web.ranges = False
    web.cut_after = [5000]
    progress = Progress(said.append)
    fetcher.fetch(Wish(web.put("/m.onnx", CONTENT)), progress)
    assert progress.told() == {"phase": "downloading", "done": len(CONTENT), "total": len(CONTENT)}
    assert said[-1] == "downloading 100 % (1.0 of 1.0 MB)"


def test_of_a_server_that_tells_no_length_the_bytes_so_far_are_told(web: WebServer, fetcher: Fetcher) -> None:
    said: list[str] = []
    web.ranges = web.lengths = False
    progress = Progress(said.append)
    assert fetcher.fetch(Wish(web.put("/m.onnx", CONTENT)), progress).path.read_bytes() == CONTENT
    assert progress.told() == {"phase": "downloading", "done": len(CONTENT), "total": 0}
    assert said[-1] == "downloading 1.0 MB so far"


def test_who_waits_for_another_s_download_in_one_piece_tells_how_far_that_is(web: WebServer, fetcher: Fetcher) -> None:
    web.ranges = False
    wish, progress = Wish(web.put("/m.onnx", CONTENT)), Progress()
    listing = fetcher._look(wish)
    files = fetcher.cache.partial("key") / "files"
    files.mkdir(parents=True)
    (files.parent / "journal").write_bytes(b"")
    (files / "m.onnx").write_bytes(CONTENT[:500_000])
    fetcher._wait("key", listing, progress)
    assert f"{progress.phase} {progress.described()}" == "waiting for another download 49 % (0.5 of 1.0 MB)"


# ---- processes

FETCH = """
import sys
from pathlib import Path
from kfunc.storage.cache import Cache
from kfunc.storage.contract import Listing, RemoteFile
from kfunc.storage.fetching import Fetcher, Wish
from kfunc.storage.progress import Progress
fetcher = Fetcher(Cache(Path(sys.argv[2]), 10**9), {}, 2, part_bytes=64 * 1024)
print(fetcher.fetch(Wish(sys.argv[1]), Progress()).path)
"""


def start(url: str, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", FETCH, url, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_a_download_that_was_killed_goes_on_where_it_was(web: WebServer, tmp_path: Path) -> None:
    url = web.put("/m.onnx", CONTENT)
    web.delay_s = 0.05
    with start(url, tmp_path) as process:
        while len(web.ranges_asked()) < 8:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    before = len(web.ranges_asked())
    with start(url, tmp_path) as process:
        out, _ = process.communicate()
    assert Path(out.strip()).read_bytes() == CONTENT
    assert len(web.ranges_asked()) - before < 14


def test_of_two_processes_one_downloads_and_the_other_waits(web: WebServer, tmp_path: Path) -> None:
    url = web.put("/m.onnx", CONTENT)
    web.delay_s = 0.02
    with start(url, tmp_path) as first, start(url, tmp_path) as second:
        paths = {process.communicate()[0] for process in (first, second)}
    assert len(paths) == 1
    assert len(web.ranges_asked()) == 16
