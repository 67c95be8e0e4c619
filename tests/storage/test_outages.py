"""A storage that does not answer: each retry is said at once, with the cause and what to check."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kfunc.config.model_addresses import parse_address
from kfunc.errors import ModelLoadError
from kfunc.storage.cache import Cache
from kfunc.storage.contract import Interrupted, Listing, RemoteFile
from kfunc.storage.credentials import Credentials
from kfunc.storage.fetching import Fetcher, Wish
from kfunc.storage.object_store import ObjectSource
from kfunc.storage.planning import TRIES
from kfunc.storage.progress import Progress
from tests.storage.web_server import WebServer


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_a_server_that_refuses_the_connection_is_told_at_each_try(fetcher: Fetcher, closed_port: int) -> None:
    warned: list[str] = []
    with pytest.raises(ModelLoadError) as told:
        fetcher.fetch(Wish(f"http://127.0.0.1:{closed_port}/m.onnx"), Progress(warn=warned.append))
    cause = f"cannot reach 127.0.0.1:{closed_port}: connection refused"
    check = "check that a server listens there, and the address"
    assert warned[0] == f"asking the storage: {cause}; trying again in 0.2 s (2 of {TRIES}); {check}"
    assert warned[-1] == f"asking the storage: {cause}; trying again in 5 s ({TRIES} of {TRIES}); {check}"
    assert len(warned) == TRIES - 1
    assert told.value.message.endswith(f"the storage does not answer: {cause}; {check}")


def test_a_name_without_an_address_is_told(fetcher: Fetcher) -> None:
    with pytest.raises(ModelLoadError, match=r"cannot find nowhere\.invalid: .*; check the name in the address, and the DNS"):
        fetcher.fetch(Wish("http://nowhere.invalid/m.onnx"), Progress())


def test_a_download_that_gets_no_byte_is_told_once_by_all_its_connections(web: WebServer, fetcher: Fetcher) -> None:
    warned: list[str] = []
    url = web.put("/m.onnx", bytes(1_000_000))
    fetcher._list(Wish(url), print)
    web.cut_after = [0] * 4
    progress = Progress(warn=warned.append)
    fetcher.fetch(Wish(url), progress)
    assert warned
    assert all(line.startswith("downloading: ") and "; trying again in" in line for line in warned)
    assert len(set(warned)) == len(warned)
    assert progress.hindrance == ""


def test_what_hinders_a_model_is_told_until_it_goes_on() -> None:
    progress = Progress()
    progress.enter("downloading", 100)
    progress.hinder("cannot reach h:1: connection refused; trying again in 2 s (4 of 9)")
    assert progress.told()["hindrance"] == "cannot reach h:1: connection refused; trying again in 2 s (4 of 9)"
    progress.add(1)
    assert "hindrance" not in progress.told()


REFUSED = """Generic S3 error: Error performing HEAD http://127.0.0.1:1/b/m in 344.711µs - HTTP error: error sending request

Debug source:
Generic {
    store: "S3",
    source: RetryError(
        RetryErrorImpl {
            method: HEAD,
            uri: Some(
                http://127.0.0.1:1/b/m,
            ),
            inner: Http(
                HttpError {
                    kind: Connect,
                            ConnectError(
                                "tcp connect error",
                                127.0.0.1:1,
                                Os {
                                    code: 111,
                                    kind: ConnectionRefused,
                                    message: "Connection refused",
                                },
                            ),
"""
NO_NAME = """Generic S3 error: Error performing HEAD http://minio.invalid:9000/b/m in 1ms - HTTP error: error sending request

Debug source:
            uri: Some(
                http://minio.invalid:9000/b/m,
            ),
                            ConnectError(
                                "dns error",
"""
SLOW = (
    "Generic S3 error: Error performing HEAD http://127.0.0.1:1/b/m in 120s - HTTP error: operation timed out\n\nDebug source:"
)


@pytest.mark.parametrize(
    ("said", "message", "check"),
    [
        (REFUSED, "cannot reach 127.0.0.1:1: connection refused", "check that a server listens there, and AWS_ENDPOINT_URL"),
        (NO_NAME, "cannot find minio.invalid:9000: no such name",
         "check the name in AWS_ENDPOINT_URL, and the DNS of this machine"),
        (SLOW, SLOW.partition("\n")[0], ""),
    ],
)  # fmt: skip
def test_what_obstore_says_in_its_debugging_lines_is_told_in_words(said: str, message: str, check: str) -> None:
    source = ObjectSource.__new__(ObjectSource)
    source._endpoint = "AWS_ENDPOINT_URL"
    found = source._interrupted(OSError(said))
    assert (str(found), found.check) == (message, check)


METADATA = """Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1ms - %s

Debug source:
            uri: Some(
                http://169.254.169.254/latest/api/token,
            ),
"""


@pytest.mark.parametrize(
    ("uri", "way"),
    [
        ("s3://b/m", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for what is public"),
        ("gs://b/m", "GOOGLE_APPLICATION_CREDENTIALS, or GOOGLE_SKIP_SIGNATURE=true for what is public"),
        ("az://b/m", "AZURE_STORAGE_ACCOUNT_KEY, or AZURE_SKIP_SIGNATURE=true for what is public"),
    ],
)
def test_where_no_credentials_are_set_it_is_said_which_could_be(uri: str, way: str) -> None:
    source = ObjectSource.__new__(ObjectSource)
    source._address, source._uri, source._endpoint = parse_address(uri), uri, ""
    refused = source._failed(OSError(METADATA % "Server returned non-2xx status code: 404 Not Found"))
    assert isinstance(refused, ModelLoadError)
    assert refused.message == f"{uri}: no credentials are set, and 169.254.169.254 has none: set {way} (docs/storage.md)"
    late = source._failed(OSError(METADATA % "HTTP error: error sending request"))
    assert isinstance(late, Interrupted)
    assert (str(late), late.check) == ("no credentials are set, and 169.254.169.254 gives none", f"check {way}")


@pytest.mark.parametrize(
    ("uri", "environ", "variable"),
    [
        ("s3://b/m", {"AWS_ACCESS_KEY_ID": "a"}, "AWS_SECRET_ACCESS_KEY"),
        ("az://b/m", {}, "AZURE_STORAGE_ACCOUNT_NAME"),
    ],
)
def test_a_setting_that_a_store_needs_is_named(
    monkeypatch: pytest.MonkeyPatch, uri: str, environ: dict[str, str], variable: str
) -> None:
    pytest.importorskip("obstore")
    for name in ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ModelLoadError, match=rf"^{uri[:6]}: set {variable} \(docs/storage\.md\)$"):
        ObjectSource(parse_address(uri), Credentials(environ))


def test_a_store_that_is_not_there_is_told_at_once(closed_port: int, cache: Cache) -> None:
    pytest.importorskip("obstore")
    environ = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{closed_port}", "AWS_REGION": "r", "HOME": "/nonexistent"}
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environ | keys).items():
            patch.setenv(name, value)
        source = ObjectSource(parse_address("s3://b/m"), Credentials(environ | keys))
        with pytest.raises(Interrupted, match=f"cannot reach 127.0.0.1:{closed_port}: connection refused"):
            source.list_files()


class Waits:
    """A source that never lists."""

    def list_files(self, known: Listing | None = None) -> Listing:
        raise Interrupted("https://h/m: answers 503", 7.0)

    def read(self, file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
        yield b""

    def close(self) -> None: ...


def test_what_a_server_asks_to_wait_is_told(cache: Cache) -> None:
    warned: list[str] = []

    def open_source(uri: str, credentials: Credentials) -> Any:
        return Waits()

    fetcher = Fetcher(cache, {}, 2, open_source=open_source, pause=lambda seconds: None)
    with pytest.raises(ModelLoadError):
        fetcher.fetch(Wish("https://h/m"), Progress(warn=warned.append))
    assert warned[0] == f"asking the storage: https://h/m: answers 503; trying again in 7 s (2 of {TRIES})"
