"""Pushing and fetching, against a real registry and against one that misbehaves."""

import base64
import json
import os
import stat
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path

import msgspec
import pytest

from kfunc.errors import BuildError, RegistryError
from kfunc.images import uploads
from kfunc.images.bases import open_base, read_base
from kfunc.images.building import Product, build, descriptor
from kfunc.images.platforms import PLATFORMS
from kfunc.images.pushing import Push, Pushed
from kfunc.images.recipes import Recipe
from kfunc.images.registry import Registry
from kfunc.images.store import Store
from kfunc.images.transport import Answer, Transport, Trust
from kfunc.images.uploads import upload
from kfunc.registries.references import parse_reference
from tests.images.fakes import Quiet
from tests.images.registries import DockerRegistry, Fault, Front, Seen

pytestmark = pytest.mark.integration

AMD64 = PLATFORMS["linux/amd64"]
CHUNK = 1 << 20


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with DockerRegistry(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """With TLS by an authority of its own, and Basic."""
    with DockerRegistry(tmp_path_factory.mktemp("guarded"), tls=True, basic=True) as server:
        yield server


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK", CHUNK)


@pytest.fixture
def weights(tmp_path: Path, store: Store, environ: dict[str, str], base: str) -> Product:
    """An image of weights alone, of several chunks, on a base."""
    model = tmp_path / "f" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(os.urandom(3 * CHUNK + 100))
    recipe = Recipe(name="w", base=base, platforms=(AMD64,), folder=model.parent, models=(model,))
    with Transport(Trust(), environ) as transport:
        return build(recipe, store, transport, Quiet(), environ)


Waits = list[float]


def transport(environ: dict[str, str], waits: Waits | None = None, trust: Trust = Trust()) -> Transport:  # noqa: B008
    return Transport(trust, environ, (waits if waits is not None else []).append)


def push(
    product: Product, host: str, store: Store, environ: dict[str, str], *, waits: Waits | None = None, trust: Trust = Trust(),  # noqa: B008
    name: str = "team/iris",
) -> Pushed:  # fmt: skip
    with transport(environ, waits, trust) as client:
        registry = Registry(parse_reference(f"{host}/{name}:1"), client, environ, "pull,push")
        return Push(registry, store, Quiet()).run(product, "1")


def login(environ: dict[str, str], folder: Path, **settings: object) -> dict[str, str]:
    """The environment with a Docker configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))
    return {**environ, "DOCKER_CONFIG": str(folder)}


def auth(user: str = "me:secret") -> dict[str, str]:
    return {"auth": base64.b64encode(user.encode()).decode()}


def test_an_image_is_pushed_and_can_be_read_again(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    push(weights, plain.host, store, environ)
    with transport(environ) as client:
        source = open_base(f"{plain.host}/team/iris:1", client, Store(tmp_path / "other"), environ, Quiet())
        found = read_base(source, AMD64)
        assert found.digest == weights.root.digest
        assert [found.fetch(layer).digest for layer in found.layers] == [blob.digest for blob in weights.images[0].all_layers()]


def test_a_second_push_sends_nothing(weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str]) -> None:
    assert push(weights, plain.host, store, environ).sent > 3 * CHUNK
    assert push(weights, plain.host, store, environ).sent == 0


def test_a_layer_of_another_repository_is_mounted(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str]
) -> None:
    push(weights, plain.host, store, environ, name="team/first")
    layer = weights.images[0].layers[0].blob.digest
    with transport(environ) as client:
        registry = Registry(parse_reference(f"{plain.host}/team/mounted"), client, environ, "pull,push")
        assert (registry.has_blob(layer), registry.mount(layer, "team/first")) == (False, True)
        assert registry.has_blob(layer)


def test_the_list_of_contents_is_found_by_the_images_digest(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str]
) -> None:
    for _ in range(2):  # the second time it must not stand there twice
        push(weights, plain.host, store, environ, name="team/listed")
    with transport(environ) as client:
        registry = Registry(parse_reference(f"{plain.host}/team/listed"), client, environ)
        _, content = registry.manifest(weights.root.digest.replace(":", "-"))
        listed = msgspec.json.decode(content)["manifests"]
        assert [each["artifactType"] for each in listed] == ["application/vnd.cyclonedx+json"]
        artifact = msgspec.json.decode(registry.manifest(listed[0]["digest"])[1])
    assert artifact["subject"]["digest"] == weights.root.digest


def test_basic_over_tls_of_an_own_authority(
    weights: Product, guarded: DockerRegistry, store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    known = login(environ, tmp_path / "docker", auths={guarded.host: auth()})
    push(weights, guarded.host, store, known, trust=Trust(authorities=str(guarded.authority)))


def test_an_unknown_authority_is_refused_with_what_to_do(
    weights: Product, guarded: DockerRegistry, store: Store, environ: dict[str, str]
) -> None:
    with pytest.raises(RegistryError, match=r"certificate that is not trusted.*--ca FILE"):
        push(weights, guarded.host, store, environ)


def test_insecure_takes_any_certificate(
    weights: Product, guarded: DockerRegistry, store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    known = login(environ, tmp_path / "docker", auths={f"https://{guarded.host}": auth()})
    push(weights, guarded.host, store, known, trust=Trust(frozenset({guarded.host})))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({}, "it wants to know who you are: docker login"), ({"auth": "bWU6d3Jvbmc="}, "the user me may not push to")],
)
def test_without_the_right_credentials_it_says_how_to_log_in(
    weights: Product, guarded: DockerRegistry, store: Store, environ: dict[str, str], tmp_path: Path, settings: dict[str, str],
    message: str,
) -> None:  # fmt: skip
    known = login(environ, tmp_path / "docker", auths={guarded.host: settings} if settings else {})
    with pytest.raises(RegistryError, match=message) as failure:
        push(weights, guarded.host, store, known, trust=Trust(frozenset({guarded.host})))
    assert failure.value.code == 401


def test_a_credential_helper_is_asked(
    weights: Product, guarded: DockerRegistry, store: Store, environ: dict[str, str], tmp_path: Path
) -> None:
    helper = tmp_path / "docker-credential-test"
    answer = json.dumps({"ServerURL": "x", "Username": "me", "Secret": "secret", "More": None})
    helper.write_text(f"#!/bin/sh\ncat > {tmp_path}/asked\necho '{answer}'\n")
    helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
    known = login(environ, tmp_path / "docker", credHelpers={guarded.host: "test"})
    known["PATH"] = f"{tmp_path}:{environ['PATH']}"
    push(weights, guarded.host, store, known, trust=Trust(frozenset({guarded.host})))
    assert (tmp_path / "asked").read_text() == guarded.host


@pytest.mark.parametrize("entry", [auth(), {"identitytoken": "identity"}])
def test_a_token_server_is_asked_with_the_credentials(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str], tmp_path: Path, entry: dict[str, str]
) -> None:
    with Front(plain.host, bearer=True) as front:
        push(weights, front.host, store, login(environ, tmp_path / "docker", auths={front.host: entry}), name="team/token")
        assert len([each for each in front.seen if each.path.startswith("/token")]) in (1, 2)  # the second one for a mount


def test_a_token_server_that_refuses_is_said(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str]
) -> None:
    with Front(plain.host, bearer=True) as front, pytest.raises(RegistryError, match=r"401 Unauthorized: who are you\?"):
        push(weights, front.host, store, environ)


def cut_second_chunk(seen: Seen, before: int) -> Fault | None:
    return Fault(cut=1000) if seen.method == "PATCH" and before == 1 else None


def busy_once(seen: Seen, before: int) -> Fault | None:
    return Fault(429, (("Retry-After", "7"),)) if seen.method in ("PATCH", "PUT") and before == 0 else None


def down_once(seen: Seen, before: int) -> Fault | None:
    return Fault(503) if before == 0 else None


@pytest.mark.parametrize("rule", [cut_second_chunk, busy_once, down_once])
def test_a_push_goes_on_after_a_passing_fault(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str],
    rule: Callable[[Seen, int], Fault | None],
) -> None:  # fmt: skip
    waits: Waits = []
    with Front(plain.host, rule) as front:
        push(weights, front.host, store, environ, waits=waits, name=f"team/{rule.__name__.replace('_', '-')}")
        if rule is cut_second_chunk:  # the first chunk was not sent again
            ranges = [each.headers["content-range"] for each in front.asked("PATCH")]
            assert ranges.count(f"0-{CHUNK - 1}") == 1
    assert waits
    assert rule is not busy_once or 7.0 in waits


def test_an_upload_goes_on_where_an_ended_build_left_it(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str]
) -> None:
    dead = [True]
    layer = weights.images[0].layers[0].blob

    def rule(seen: Seen, before: int) -> Fault | None:
        return Fault(cut=0) if seen.method == "PATCH" and before > 0 and dead[0] else None

    with Front(plain.host, rule) as front:
        for number in range(2):
            with transport(environ) as client:
                registry = Registry(parse_reference(f"{front.host}/team/resumed"), client, environ, "pull,push")
                if number == 0:
                    with pytest.raises(RegistryError, match="cannot reach the registry"):
                        upload(registry, layer, store, lambda _: None)
                    dead[0] = False
                else:
                    assert upload(registry, layer, store, lambda _: None)
        begun = [each.headers["content-range"].partition("-")[0] for each in front.asked("PATCH")]
    assert begun.count("0") == 1


PERMANENT = [
    (lambda seen, _: Fault(503) if seen.method == "PUT" else None, "503 Service Unavailable; try later"),
    (lambda seen, _: Fault(cut=0) if seen.method == "POST" else None, "cannot reach the registry .* check its name"),
    (lambda seen, _: Fault(404, (), b"no") if seen.method == "POST" else None, "404 Not Found; check the image's name"),
    (lambda seen, _: Fault(413) if seen.method == "PATCH" else None, "raise its limit"),
    (lambda seen, _: Fault(400) if seen.method == "PUT" else None, "arrived damaged"),
    (
        lambda seen, _: (
            Fault(403, (), b'{"errors": [{"code": "DENIED", "message": "quota"}]}') if seen.method == "POST" else None
        ),
        "403 Forbidden: quota",
    ),
    (lambda seen, _: Fault(202) if seen.method == "POST" else None, "does not say where the upload goes on"),
]


@pytest.mark.parametrize(("rule", "message"), PERMANENT)
def test_a_lasting_fault_is_an_error_in_the_registrys_words(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str],
    rule: Callable[[Seen, int], Fault | None], message: str,
) -> None:  # fmt: skip
    with Front(plain.host, rule) as front, pytest.raises(RegistryError, match=message):
        push(weights, front.host, store, environ, name="team/faulty")


def test_a_layer_that_was_damaged_on_this_machine_is_removed(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str]
) -> None:
    layer = weights.images[0].layers[0].blob.path
    layer.write_bytes(b"x" * layer.stat().st_size)
    with pytest.raises(RegistryError, match="was damaged on this machine, and is removed: build again"):
        push(weights, plain.host, store, environ, name="team/damaged")
    assert not layer.exists()


def test_a_registry_that_is_not_there_is_named(weights: Product, store: Store, environ: dict[str, str]) -> None:
    with pytest.raises(RegistryError, match=r"cannot reach the registry 127\.0\.0\.1:9: Connection refused"):
        push(weights, "127.0.0.1:9", store, environ)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("status", [200, 206])
def test_a_fetch_goes_on_where_the_connection_was_lost(
    weights: Product, plain: DockerRegistry, store: Store, environ: dict[str, str], tmp_path: Path, status: int, kept: bool
) -> None:
    push(weights, plain.host, store, environ)
    layer = weights.images[0].layers[0].blob
    whole = layer.path.read_bytes()

    def rule(seen: Seen, before: int) -> Fault | None:
        if "/manifests/" in seen.path:
            return None
        if before == kept:
            return Fault(200, (), whole, cut=CHUNK)
        return None if status == 206 else Fault(200, (), whole)  # a registry that knows no ranges

    with Front(plain.host, rule) as front, transport(environ) as client:
        registry = Registry(parse_reference(f"{front.host}/team/iris"), client, environ)
        if kept:
            registry.manifest("1")
        fetched = registry.fetch(descriptor(layer), Store(tmp_path / "other"))
        assert (fetched.digest, front.seen[1 + kept].headers["range"]) == (layer.digest, f"bytes={CHUNK}-")


def test_a_layer_that_arrives_changed_is_refused(
    weights: Product, plain: DockerRegistry, environ: dict[str, str], tmp_path: Path
) -> None:
    layer = weights.images[0].layers[0].blob
    with Front(plain.host, lambda _, __: Fault(200, (), b"x" * layer.size)) as front, transport(environ) as client:
        registry = Registry(parse_reference(f"{front.host}/team/iris"), client, environ)
        with pytest.raises(BuildError, match="it is damaged; try again"):
            registry.fetch(descriptor(layer), Store(tmp_path / "other"))


def test_a_layer_that_is_longer_than_it_should_be_is_not_read_to_its_end(
    weights: Product, plain: DockerRegistry, environ: dict[str, str], tmp_path: Path
) -> None:
    layer = weights.images[0].layers[0].blob
    with Front(plain.host, lambda _, __: Fault(200, (), b"x" * (3 * layer.size))) as front, transport(environ) as client:
        registry = Registry(parse_reference(f"{front.host}/team/iris"), client, environ)
        with pytest.raises(RegistryError, match="sends more than"):
            registry.fetch(descriptor(layer), Store(tmp_path / "other"))


def test_a_registry_that_stays_busy_is_said_to_be_so(
    weights: Product, plain: DockerRegistry, environ: dict[str, str], tmp_path: Path
) -> None:
    with Front(plain.host, lambda _, __: Fault(503)) as front, transport(environ) as client:
        registry = Registry(parse_reference(f"{front.host}/team/iris"), client, environ)
        with pytest.raises(RegistryError, match="503 Service Unavailable; try later"):
            registry.fetch(descriptor(weights.images[0].layers[0].blob), Store(tmp_path / "other"))
        with pytest.raises(RegistryError, match="503 Service Unavailable; try later"):
            registry.has_manifest("1")


def test_a_store_that_a_registry_sends_us_to_gets_no_credentials(
    weights: Product, plain: DockerRegistry, environ: dict[str, str], tmp_path: Path
) -> None:
    def elsewhere(seen: Seen, before: int) -> Fault | None:
        realm = (("WWW-Authenticate", f'Bearer realm="http://{other.host}/token"'),)
        return Fault(401, realm)

    with (
        Front(plain.host, elsewhere) as other,
        Front(plain.host, lambda seen, _: Fault(307, (("Location", f"http://{other.host}{seen.path}"),)), bearer=True) as front,
        transport(environ) as client,
    ):
        known = login(environ, tmp_path / "docker", auths={front.host: auth()})
        registry = Registry(parse_reference(f"{front.host}/team/iris"), client, known)
        with pytest.raises(RegistryError, match="401 Unauthorized"):
            registry.fetch(descriptor(weights.images[0].layers[0].blob), Store(tmp_path / "other"))
    assert [(each.method, each.headers.get("authorization")) for each in other.seen] == [("GET", None)]


def test_credentials_are_not_sent_without_tls_where_the_registry_has_it(environ: dict[str, str], tmp_path: Path) -> None:
    with transport(environ) as client:
        known = login(environ, tmp_path / "docker", auths={"registry.example.com": auth()})
        registry = Registry(parse_reference("registry.example.com/team/iris"), client, known)
        headers = HTTPMessage()
        headers["WWW-Authenticate"] = 'Bearer realm="http://auth.example.com/token"'
        with pytest.raises(RegistryError, match=r"to auth\.example\.com without TLS: tell who runs it"):
            registry._authorize(Answer(401, headers, b"", f"{registry.base}/blobs/x"))


def test_a_manifest_of_another_digest_is_refused(plain: DockerRegistry, environ: dict[str, str]) -> None:
    with Front(plain.host, lambda _, __: Fault(200, (), b"{}")) as front, transport(environ) as client:
        registry = Registry(parse_reference(f"{front.host}/team/iris"), client, environ)
        with pytest.raises(RegistryError, match="with another content"):
            registry.manifest("sha256:" + "0" * 64)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"mediaType": "text/html"}'])
def test_a_base_image_that_is_none_is_refused(
    plain: DockerRegistry, store: Store, environ: dict[str, str], body: bytes
) -> None:
    with (
        Front(plain.host, lambda _, __: Fault(200, (), body)) as front,
        transport(environ) as client,
        pytest.raises(BuildError, match="image"),
    ):
        read_base(open_base(f"{front.host}/team/iris", client, store, environ, Quiet()), AMD64)
