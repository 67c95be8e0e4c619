"""What a registry's answers make of a push and a fetch; the answers are written here, and nothing is sent."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from http.client import HTTPMessage
from pathlib import Path

import pytest

from kfunc.errors import RegistryError
from kfunc.images import uploads
from kfunc.images.building import Product, build
from kfunc.images.documents import MANIFEST, Descriptor
from kfunc.images.platforms import PLATFORMS
from kfunc.images.pushing import Push
from kfunc.images.recipes import Recipe
from kfunc.images.registry import Registry
from kfunc.images.store import Store
from kfunc.images.transport import TRIES, Answer, Body, Sink, Transport, Trust
from kfunc.images.uploads import upload
from kfunc.registries.references import parse_reference
from tests.images.fakes import Quiet

DIGEST = "sha256:" + "0" * 64
HOST = "reg.example.com"


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    fields = HTTPMessage()
    for name, value in headers.items():
        fields[name.replace("_", "-")] = value
    return Answer(status, fields, body)


class Seen(dict[str, str]):
    """The header fields of a request, with its method and URL."""

    method = url = ""


class Told(Transport):
    """A transport whose answers a function gives."""

    def __init__(self, rule: Callable[[Seen], Answer], body: bytes = b"") -> None:
        super().__init__(Trust(), {}, lambda _: None)
        self.seen: list[Seen] = []
        self._rule = rule
        self._body = body

    def base(self, host: str) -> str:
        return f"https://{host}"

    def send(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = b"", sink: Sink | None = None
    ) -> Answer:
        seen = Seen(headers or {})
        seen.method, seen.url = method, url
        self.seen.append(seen)
        given = self._rule(seen)
        given.url = url
        if sink and given.status in (200, 206):
            sink(given.status, given.body)
        return given


def registry(transport: Transport, environ: dict[str, str] | None = None) -> Registry:
    return Registry(parse_reference(f"{HOST}/me/app"), transport, environ or {"HOME": "/nonexistent"}, "pull,push")


def test_a_mount_that_the_token_server_refuses_leaves_the_push_as_it_was() -> None:
    def rule(seen: Seen) -> Answer:
        if "/token" in seen.url:
            return answer(403) if "base" in seen.url else answer(200, b'{"token": "t"}')
        if "Authorization" not in seen:
            return answer(401, WWW_Authenticate=f'Bearer realm="https://{HOST}/token"')
        return answer(404)

    transport = Told(rule)
    client = registry(transport)
    assert not client.has_blob(DIGEST)
    assert not client.mount(DIGEST, "proj/base")
    before = len(transport.seen)
    assert not client.mount(DIGEST, "proj/base")  # it is not asked again
    assert not client.has_blob(DIGEST)
    assert len(transport.seen) == before + 1


@pytest.mark.parametrize("status", [204, 405])
def test_a_mount_that_begins_an_upload_leaves_none_open(status: int) -> None:
    rules = {"POST": answer(202, Location="/v2/me/app/blobs/uploads/1"), "DELETE": answer(status)}
    transport = Told(lambda seen: rules[seen.method])
    assert not registry(transport).mount(DIGEST, "proj/base")
    assert [(seen.method, seen.url.rpartition("/")[2]) for seen in transport.seen[1:]] == [("DELETE", "1")]


def test_a_fetch_is_tried_again_while_the_host_is_out_of_reach_and_then_says_so(store: Store) -> None:
    def rule(seen: Seen) -> Answer:
        raise OSError(113, "No route to host")

    transport = Told(rule)
    with pytest.raises(RegistryError, match=f"cannot reach the registry {HOST}: No route to host"):
        registry(transport).fetch(Descriptor("x", DIGEST, 5), store)
    assert len(transport.seen) == TRIES


def test_a_fetch_may_be_cut_off_as_often_as_it_goes_on(store: Store) -> None:
    content = bytes(range(20))
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    class Cut(Told):
        def send(
            self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = b"", sink: Sink | None = None
        ) -> Answer:
            offset = int((headers or {}).get("Range", "bytes=0-")[6:-1])
            assert sink
            sink(206, content[offset : offset + 2])
            if offset + 2 < len(content):
                raise ConnectionResetError
            return answer(206)

    assert registry(Cut(lambda _: answer(200))).fetch(Descriptor("x", digest, 20), store).digest == digest


def test_an_upload_that_is_refused_at_its_end_begins_anew_the_next_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK", 10)
    rules = {"POST": answer(202, Location="/up"), "PATCH": answer(202, Location="/up"), "PUT": answer(400)}
    rules |= {"GET": answer(204, Range="0-24"), "HEAD": answer(404)}
    transport = Told(lambda seen: rules[seen.method])
    blob = store.add(b"x" * 25, "a")
    for _ in range(2):
        with pytest.raises(RegistryError, match="arrived damaged"):
            upload(registry(transport), blob, store, lambda _: None)
    assert [seen.method for seen in transport.seen].count("POST") == 2


def test_an_upload_at_the_usual_port_is_the_registrys_own(store: Store, tmp_path: Path) -> None:
    entry = {"auth": base64.b64encode(b"me:secret").decode()}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {HOST: entry}}))

    def rule(seen: Seen) -> Answer:
        if "Authorization" not in seen:
            return answer(401, WWW_Authenticate="Basic realm=x")
        rules = {"HEAD": answer(404), "POST": answer(202, Location=f"https://{HOST}:443/up"), "PUT": answer(201)}
        return rules[seen.method]

    client = registry(Told(rule), {"HOME": "/nonexistent", "DOCKER_CONFIG": str(tmp_path)})
    assert upload(client, store.add(b"x", "a"), store, lambda _: None)


def test_what_others_have_attached_to_an_image_stays() -> None:
    kind = "application/vnd.cyclonedx+json"
    others = {"digest": "sha256:syft", "artifactType": kind}
    earlier = {"digest": "sha256:earlier", "artifactType": kind, "annotations": {"io.kfunc.tool": "kfunc"}}
    listed = json.dumps({"mediaType": MANIFEST, "manifests": [others, earlier]}).encode()
    put: list[bytes] = []

    class Keeping(Registry):
        def put_manifest(self, wanted: str, media_type: str, content: bytes) -> Answer:
            put.append(content)
            return answer(201)

    client = Keeping(parse_reference(f"{HOST}/me/app"), Told(lambda _: answer(200, listed)), {})
    own = Descriptor(MANIFEST, DIGEST, 1, None, kind)
    client.attach(Descriptor(MANIFEST, "sha256:" + "1" * 64, 1), own, b"{}")
    assert [each["digest"] for each in json.loads(put[-1])["manifests"]] == ["sha256:syft", DIGEST]


@pytest.fixture
def weights(tmp_path: Path, store: Store, environ: dict[str, str]) -> Product:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    recipe = Recipe(name="w", base="scratch", platforms=(PLATFORMS["linux/amd64"],), folder=tmp_path, models=(model,))
    with Transport(Trust(), environ) as transport:
        return build(recipe, store, transport, Quiet(), environ)


def test_a_registry_that_does_not_take_the_list_of_contents_has_the_image(weights: Product, store: Store) -> None:
    attached = weights.images[0].attached.digest
    transport = Told(lambda seen: answer(400 if seen.url.endswith(attached) else 200))
    reporter = Quiet()
    Push(registry(transport), store, reporter).run(weights, "1")
    assert reporter.lines[-1].startswith(f"note: the list of contents is not attached: {HOST} would not put the manifest")
