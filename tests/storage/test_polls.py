"""What a storage is asked to learn whether there is something new: as little as it offers, and never the model."""

import hashlib
import json
import os
from collections.abc import Callable

import pytest

from kfunc.storage.cache import Cache
from kfunc.storage.fetching import Fetcher, Wish
from kfunc.storage.progress import Progress
from tests.storage.web_server import Handler, WebServer

CONTENT = os.urandom(100_000)
Poll = Callable[[str], bool]


@pytest.fixture
def changed(web: WebServer, cache: Cache) -> Poll:
    """Whether the version of what was fetched is another now; `web.asked` is what that took."""
    fetcher = Fetcher(cache, {"HOME": str(cache.folder), "HF_ENDPOINT": web.url}, 2, pause=lambda seconds: None)
    versions: dict[str, str] = {}

    def poll(uri: str) -> bool:
        if uri not in versions:
            versions[uri] = fetcher.fetch(Wish(uri), Progress()).version
        web.asked.clear()
        before, versions[uri] = versions[uri], fetcher.version_of(Wish(uri))
        return versions[uri] != before

    return poll


def asked(web: WebServer) -> list[tuple[str, str]]:
    return [(verb, fields.get("range", "")) for verb, _, fields in web.asked]


def test_a_web_server_is_asked_once_and_only_for_what_is_new(web: WebServer, changed: Poll) -> None:
    url = web.put("/m.onnx", CONTENT)
    for _ in range(2):
        assert not changed(url)
        assert [(verb, fields["if-none-match"]) for verb, _, fields in web.asked] == [("GET", web.etags["/m.onnx"])]
    web.put("/m.onnx", CONTENT[::-1])
    assert changed(url)
    assert asked(web) == [("GET", "bytes=0-0")]
    assert not changed(url)


def test_a_date_is_asked_about_where_there_is_no_etag(web: WebServer, changed: Poll) -> None:
    dates = ["Wed, 25 Nov 2026 10:00:00 GMT"] * 3

    def dated(handler: Handler) -> None:
        if handler.headers.get("if-modified-since") == dates[0]:
            handler.send(304, b"")
        else:
            handler.send(200, CONTENT, {"last-modified": dates[0]})

    web.answers["/m.onnx"] = dated
    url = f"{web.url}/m.onnx"
    assert not changed(url)
    assert [(verb, fields["if-modified-since"]) for verb, _, fields in web.asked] == [("HEAD", dates[0])]
    dates[0] = "Wed, 25 Nov 2026 11:00:00 GMT"
    assert changed(url)


@pytest.mark.parametrize("etag", [None, ""])
def test_a_server_without_ranges_and_conditions_is_asked_for_the_head(web: WebServer, changed: Poll, etag: str | None) -> None:
    web.ranges = web.conditions = False
    url = web.put("/m.onnx", CONTENT, etag)
    assert not changed(url)
    assert asked(web) == [("HEAD", "")]
    web.put("/m.onnx", CONTENT[:50_000], etag)
    assert changed(url)


def test_a_server_that_tells_nothing_is_asked_for_no_model_and_that_is_said_once(
    web: WebServer, changed: Poll, caplog: pytest.LogCaptureFixture
) -> None:
    web.ranges = web.lengths = False
    url = web.put("/m.onnx", CONTENT, "")
    for _ in range(2):
        assert not changed(url)
        assert asked(web) == [("HEAD", "")]
    why = f"{url}: the server tells neither ETag, Last-Modified nor a length: a new version is not seen there"
    assert [record.getMessage() for record in caplog.records] == [why]


def test_where_a_head_is_refused_the_file_is_asked_for_on_condition(web: WebServer, changed: Poll) -> None:
    web.ranges, web.no_head = False, True
    assert not changed(web.put("/m.onnx", CONTENT))
    assert [verb for verb, _, _ in web.asked] == ["HEAD", "GET"]
    assert web.asked[-1][2]["if-none-match"] == web.etags["/m.onnx"]


@pytest.mark.parametrize("told", [{"etag": '"v1"'}, {}])
@pytest.mark.parametrize("of_head", [{"etag": '"v1"', "content-length": "0"}, {"etag": '"v1"'}, {"content-length": "0"}, {}])
def test_what_a_head_leaves_out_makes_no_new_version(
    web: WebServer, changed: Poll, told: dict[str, str], of_head: dict[str, str]
) -> None:
    """Whatever it says of the length: the file is the same."""

    def answer(handler: Handler) -> None:
        head = handler.command == "HEAD"
        fields = of_head if head else told | {"content-length": str(len(content))}
        handler.send_response(200)
        for name, value in fields.items():
            if name == "content-length" or told:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(b"" if head else content)

    content = CONTENT
    web.answers["/m.onnx"] = answer
    assert not changed(f"{web.url}/m.onnx")
    assert not changed(f"{web.url}/m.onnx")
    content = CONTENT[:5000]
    told = told and {"etag": '"v2"'}
    of_head = of_head | told
    assert changed(f"{web.url}/m.onnx")


def test_of_the_hub_only_the_commit_is_asked_for(web: WebServer, changed: Poll) -> None:
    def at(commit: str) -> None:
        web.answers["/api/models/team/flowers/revision/main"] = json.dumps({"sha": commit}).encode()
        node = {"type": "file", "path": "m.onnx", "size": len(CONTENT), "oid": commit}
        web.answers[f"/api/models/team/flowers/tree/{commit}?recursive=true"] = json.dumps([node]).encode()
        web.put(f"/team/flowers/resolve/{commit}/m.onnx", CONTENT)

    at("c0")
    assert not changed("hf://team/flowers")
    assert [path for _, path, _ in web.asked] == ["/api/models/team/flowers/revision/main"]
    at("c1")
    assert changed("hf://team/flowers")


@pytest.mark.parametrize("tells", [True, False])
def test_a_registry_is_asked_for_no_manifest_where_it_tells_the_digest(web: WebServer, changed: Poll, tells: bool) -> None:
    manifest: list[bytes] = []

    def push(content: bytes) -> None:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        title = {"org.opencontainers.image.title": "m.onnx"}
        manifest[:] = [json.dumps({"layers": [{"digest": digest, "size": len(content), "annotations": title}]}).encode()]
        web.put(f"/v2/team/iris/blobs/{digest}", content)

    def answer(handler: Handler) -> None:
        digest = f"sha256:{hashlib.sha256(manifest[0]).hexdigest()}"
        handler.send(200, manifest[0], {"docker-content-digest": digest} if tells else {})

    web.answers["/v2/team/iris/manifests/1"] = answer
    uri = f"oci://{web.url.removeprefix('http://')}/team/iris:1"
    push(CONTENT)
    assert not changed(uri)
    assert [verb for verb, _, _ in web.asked] == (["HEAD"] if tells else ["HEAD", "GET"])
    push(CONTENT[::-1])
    assert changed(uri)
