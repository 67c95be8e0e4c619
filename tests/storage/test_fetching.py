"""Fetching from a source that the test makes: crashes, full disks, an outage, what may be told, what waits for whom."""

import errno
import fcntl
import hashlib
import io
import logging
import os
import resource
import shutil
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kfunc.errors import ModelLoadError
from kfunc.storage import archives, cache, fetching
from kfunc.storage.cache import ABOUT, Cache
from kfunc.storage.contract import Interrupted, Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.download import Download
from kfunc.storage.fetching import Fetcher, Wish
from kfunc.storage.planning import TRIES
from kfunc.storage.progress import Progress

MODEL = b"W" * 1000


class Memory:
    """Files in memory; `down`: nothing is listed."""

    def __init__(self, files: dict[str, bytes], *, is_file: bool = False, version: str = "1") -> None:
        self.files = files
        self.is_file = is_file
        self.version = version
        self.down = False
        self.reads: list[str] = []

    def list_files(self, known: Listing | None = None) -> Listing:
        if self.down:
            raise Interrupted("down")
        return Listing([RemoteFile(name, len(content), self.version) for name, content in self.files.items()], self.is_file)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        self.reads.append(file.name)
        yield self.files[file.name][start:stop]

    def close(self) -> None: ...


class Layers(Memory):
    """An image, a layer for each file."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__({f"layer-{number}.tar": tar(name, content) for number, (name, content) in enumerate(files.items())})

    def list_files(self, known: Listing | None = None) -> Listing:
        files = [
            RemoteFile(name, len(content), "1", sha256=hashlib.sha256(content).hexdigest(), unpack=True)
            for name, content in self.files.items()
        ]
        return Listing(files, root="models")


def tar(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def fetcher(cache: Cache, source: Any) -> Fetcher:
    return Fetcher(cache, {}, 2, open_source=lambda uri, credentials: source, pause=lambda seconds: None)


def fetch(cache: Cache, source: Any, *files: str, uri: str = "s3://b/m", digest: str = "") -> Path:
    fetched = fetcher(cache, source).fetch(Wish(uri, digest, files), Progress())
    cache.release(fetched.key)
    return fetched.path


# ---- crashes and full disks


class Crash(BaseException):
    """Stands for SIGKILL: nothing after it is done."""


@pytest.mark.parametrize("place", ["content", "models"])
def test_a_crash_while_a_model_is_completed_never_leaves_one_without_its_content(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    source, rename = Memory({"m.onnx": MODEL}, is_file=True), Path.rename

    def killed(path: Path, target: Path) -> Path:
        result = rename(path, target)
        if place in (target.name, target.parent.name):
            raise Crash
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Crash):
            fetch(cache, source)
    assert fetch(Cache(cache.folder, cache.max_bytes), source).read_bytes() == MODEL


def test_a_crash_before_a_file_that_is_gone_is_read_again_does_not_make_the_journal_right(cache: Cache) -> None:
    class Killed(Memory):
        def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
            raise Crash

    source, broken = Memory({"a": MODEL, "b": MODEL}), Killed({"a": MODEL, "b": MODEL})
    with pytest.raises(ModelLoadError, match="its digest"):
        fetch(cache, source, digest="sha256:" + "0" * 64)
    key = fetching._key("s3://b/m", fetching.version_of(source.list_files()))
    work = cache.partial(key)
    Download(source, source.list_files().files, work, Progress(), 1, 10**9).run()
    (work / "files/a").unlink()
    with pytest.raises(Crash):
        fetch(cache, broken)
    source.reads.clear()
    folder = fetch(cache, source)
    assert [(each.name, each.read_bytes() == MODEL) for each in sorted(folder.iterdir())] == [("a", True), ("b", True)]
    assert source.reads == ["a"]


def test_what_is_left_of_another_listing_does_not_come_into_the_model(cache: Cache) -> None:
    class Broken(Memory):
        def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
            if file.name == "b":
                raise Interrupted("gone")
            return super().read(file, start, stop)

    lines = f"{hashlib.sha256(MODEL).hexdigest()}  b\n"
    digest = f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"
    with pytest.raises(ModelLoadError, match="does not go on"):
        fetch(cache, Broken({"a": MODEL, "b": MODEL}), digest=digest)
    assert [each.name for each in fetch(cache, Memory({"b": MODEL}), digest=digest).iterdir()] == ["b"]


def test_a_child_that_was_forked_meanwhile_does_not_keep_the_lock(cache: Cache) -> None:
    inherited: list[int] = []

    class Forks(Memory):
        def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
            inherited.extend(map(os.dup, cache._fetching.values()))
            return super().read(file, start, stop)

    fetch(cache, Forks({"m": MODEL}))
    assert len(inherited) == 1
    wait_until(lambda: not held(cache))
    os.close(inherited[0])


def held(cache: Cache) -> bool:
    """Whether somebody holds the lock of a download."""
    for path in (cache.folder / "locks").iterdir():
        if path.suffix != ".use":
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
    return False


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_disk_that_is_full_at_the_second_layer_is_made_room_on_and_the_first_is_read_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(cache, Memory({"x": b"1"}), uri="s3://old")
    source, write, full = Layers({"models/a": b"A" * 1000, "models/b": b"B" * 1000}), archives._write, [1]

    def fails_once(stream: Any, path: Path, bound: Any, *, over: bool) -> None:
        if path.name == "b" and full.pop():
            full.append(0)
            raise OSError(errno.ENOSPC, "No space left on device")
        write(stream, path, bound, over=over)

    monkeypatch.setattr(archives, "_write", fails_once)
    folder = fetch(cache, source, uri="oci://r/x:1")
    assert {each.name: each.read_bytes()[:1] for each in folder.iterdir()} == {"a": b"A", "b": b"B"}


def test_a_model_of_more_files_than_a_process_may_open_is_fetched(cache: Cache) -> None:
    source = Memory({f"f{number}": b"x" for number in range(300)})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, hard))
    try:
        assert len(list(fetch(cache, source).iterdir())) == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", ["locks", "models", "partial", "removed"])
def test_a_cache_that_cannot_be_used_is_told_with_the_setting(cache: Cache, name: str) -> None:
    shutil.rmtree(cache.folder / name)
    (cache.folder / name).write_bytes(b"")
    with pytest.raises(ModelLoadError, match=r"written: Not a directory; name another at inference\.model_cache\.path"):
        fetch(cache, Memory({"m": b"1"}))


# ---- the bound


def test_what_an_archive_becomes_is_made_room_for(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 3_000_000)
    for name in "ab":
        fetch(cache, Memory({"m": bytes(1_000_000)}), uri=f"s3://{name}")
    source = Memory({"m.tar": tar("m", bytes(1_500_000))}, is_file=True)
    fetch(cache, source, uri="s3://b/m.tar")
    assert sum(each.size for each in cache.kept()) <= 3_000_000


def test_an_archive_that_becomes_more_than_the_cache_holds_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        info = tarfile.TarInfo("m")
        info.size = 2_000_000
        archive.addfile(info, io.BytesIO(bytes(2_000_000)))
    with pytest.raises(ModelLoadError, match=r"no more than the cache may hold \(inference\.model_cache\.max_bytes\)"):
        fetch(Cache(tmp_path, 1_000_000), Memory({"m.tar.gz": buffer.getvalue()}, is_file=True))


def test_what_a_failed_download_left_goes_when_room_is_needed_and_its_own_is_gone_on_with(tmp_path: Path) -> None:
    class Broken(Memory):
        def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
            raise Interrupted("gone")

    cache = Cache(tmp_path, 2500)
    with pytest.raises(ModelLoadError, match="does not go on: gone"):
        fetch(cache, Broken({"m": MODEL}))
    fetch(cache, Memory({"m": MODEL}, version="2"))
    assert len(list((tmp_path / "partial").iterdir())) == 1
    fetch(cache, Memory({"m": MODEL}, version="3"))
    assert (list((tmp_path / "partial").iterdir()), len(cache.kept())) == ([], 2)


# ---- an outage


def test_while_the_storage_is_down_only_a_copy_of_the_same_wish_is_served(cache: Cache) -> None:
    source = Memory({"handler.py": b"old", "m": b"1"})
    whole, some = fetch(cache, source), fetch(cache, source, "m")
    source.down = True
    assert (fetch(cache, source), fetch(cache, source, "m")) == (whole, some)
    for files, digest in ((("handler.py",), ""), ((), "sha256:" + "0" * 64)):
        with pytest.raises(ModelLoadError, match="the storage does not answer: down"):
            fetch(cache, source, *files, digest=digest)


def test_with_a_copy_a_storage_that_does_not_answer_is_waited_for_a_short_time(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers, closed = threading.Event(), threading.Event()

    class Slow(Memory):
        def list_files(self, known: Listing | None = None) -> Listing:
            answers.wait(10)
            return super().list_files()

        def close(self) -> None:
            closed.set()

    path = fetch(cache, Memory({"m": b"1"}))
    monkeypatch.setattr(fetching, "SOON_S", 0.05)
    assert fetch(cache, Slow({"m": b"2"}, version="2")) == path
    assert "s3://b/m: the storage does not answer within 0 s; the copy in the cache is served" in caplog.text
    answers.set()
    assert closed.wait(10)


def test_a_storage_that_was_given_up_hinders_nothing_any_more(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, failed = threading.Event(), threading.Event()

    def fails_late(uri: str, credentials: Credentials) -> Memory:
        answers.wait(10)
        raise Interrupted("refused")

    fetch(cache, Memory({"m": b"1"}))
    monkeypatch.setattr(fetching, "SOON_S", 0.05)
    progress = Progress()
    Fetcher(cache, {}, 2, open_source=fails_late, pause=lambda seconds: failed.set()).fetch(Wish("s3://b/m"), progress)
    answers.set()
    assert failed.wait(10)
    assert progress.hindrance == ""


def test_with_a_copy_a_storage_that_fails_is_asked_twice(cache: Cache) -> None:
    asked: list[str] = []
    fetch(cache, Memory({"m": b"1"}))

    def refuses(uri: str, credentials: Credentials) -> Memory:
        asked.append(uri)
        raise Interrupted("refused")

    for uri, times in (("s3://b/m", 2), ("s3://b/other", TRIES)):
        asked.clear()
        try:
            Fetcher(cache, {}, 2, open_source=refuses, pause=lambda seconds: None).fetch(Wish(uri), Progress())
        except ModelLoadError:
            assert uri == "s3://b/other"
        assert len(asked) == times


def test_a_listing_that_fails_leaves_nothing_held(cache: Cache) -> None:
    source = Memory({"m": b"1"})
    source.down = True
    for _ in range(2):
        with pytest.raises(ModelLoadError):
            fetch(cache, source, digest="sha256:" + "0" * 64)
    assert cache._uses == {}


# ---- what may be told


def test_the_signature_of_a_url_is_neither_told_nor_kept(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    uri, source = "https://h/m.onnx?X-Amz-Signature=SECRET", Memory({"m.onnx": MODEL}, is_file=True)
    with pytest.raises(ModelLoadError) as told:
        fetch(cache, source, uri=uri, digest="sha256:" + "0" * 64)
    fetch(cache, source, uri=uri)
    source.down = True
    with caplog.at_level(logging.WARNING):
        fetch(cache, source, uri=uri)
    kept = "".join(each.read_text() for each in cache.folder.rglob(ABOUT))
    assert "https://h/m.onnx" in kept
    assert "SECRET" not in f"{told.value} {caplog.text} {kept}"


# ---- two machines, one claim


def test_another_machine_waits_until_the_model_is_on_the_disk_and_does_not_fetch_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, syncs, sync = Memory({"m": MODEL}), [], cache._sync
    here = Cache(tmp_path, 10**9)

    def later(*arguments: Any) -> None:
        syncs.append(arguments)

    monkeypatch.setattr(cache, "_sync", later)
    fetched = fetcher(here, source).fetch(Wish("s3://b/m"), Progress())
    inode = (fetched.path / "m").stat().st_ino
    reads = len(source.reads)
    for module in (cache, fetching):
        monkeypatch.setattr(module, "boot_id", lambda: "another machine")
    waited: list[int] = []

    def waits(seconds: float) -> None:
        waited.append(1)
        while syncs:
            sync(*syncs.pop())

    monkeypatch.setattr(cache, "sleep", waits)
    there = fetcher(Cache(tmp_path, 10**9), source).fetch(Wish("s3://b/m"), Progress())
    assert ((there.path / "m").stat().st_ino, len(source.reads), bool(waited)) == (inode, reads, True)


def test_what_another_machine_has_in_use_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, here = Memory({"m": MODEL}), Cache(tmp_path, 10**9)
    monkeypatch.setattr(cache, "_sync", lambda folder, about, lock: os.close(lock))
    fetched = fetcher(here, source).fetch(Wish("s3://b/m"), Progress())
    inode = (fetched.path / "m").stat().st_ino
    for module in (cache, fetching):
        monkeypatch.setattr(module, "boot_id", lambda: "another machine")
    there = fetcher(Cache(tmp_path, 10**9), source).fetch(Wish("s3://b/m"), Progress())
    assert (there.path / "m").stat().st_ino == inode
    here.release(fetched.key)
    assert fetch(Cache(tmp_path, 10**9), source) == there.path
