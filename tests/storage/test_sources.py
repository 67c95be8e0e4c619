"""Hugging Face's hub, container registries and MLflow servers, each as a small server that speaks its interface."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kfunc.errors import ModelLoadError
from kfunc.storage.cache import Cache
from kfunc.storage.fetching import Fetched, Fetcher, Wish
from kfunc.storage.progress import Progress
from tests.storage.web_server import Handler, WebServer

MODEL = os.urandom(200_000)
SHA = hashlib.sha256(MODEL).hexdigest()
FetchWith = Callable[..., Fetched]


@pytest.fixture
def fetch(cache: Cache) -> FetchWith:
    def fetch(uri: str, files: tuple[str, ...] = (), **environ: str) -> Fetched:
        fetcher = Fetcher(cache, {"HOME": str(cache.folder), **environ}, 4, part_bytes=65536, pause=lambda seconds: None)
        return fetcher.fetch(Wish(uri, "", files), Progress())

    return fetch


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# ---- Hugging Face


@pytest.fixture
def hub(web: WebServer) -> WebServer:
    """The repository team/flowers: two files, one of them in large file storage, over two pages."""
    web.answers["/api/models/team/flowers/revision/main"] = as_json({"sha": "c0ffee"})
    large = {"type": "file", "path": "onnx/model.onnx", "size": len(MODEL), "oid": "1", "lfs": {"oid": SHA, "size": len(MODEL)}}
    rest = [{"type": "directory", "path": "onnx", "oid": "2"}, {"type": "file", "path": "config.json", "size": 2, "oid": "3"}]
    card = {"type": "file", "path": "README.md", "size": 9, "oid": "4"}
    tree = "/api/models/team/flowers/tree/c0ffee?recursive=true"
    web.answers[tree] = lambda handler: handler.send(
        200, as_json([large, card]), {"link": f'<{web.url}{tree}&cursor=2>; rel="next"'}
    )
    web.answers[f"{tree}&cursor=2"] = as_json(rest)
    web.put("/team/flowers/resolve/c0ffee/onnx/model.onnx", MODEL)
    web.put("/team/flowers/resolve/c0ffee/config.json", b"{}")
    return web


def test_a_repository_is_fetched_at_the_commit_of_its_revision(hub: WebServer, fetch: FetchWith) -> None:
    fetched = fetch("hf://team/flowers", HF_ENDPOINT=hub.url)
    assert contents(fetched.path) == {"onnx/model.onnx": MODEL, "config.json": b"{}"}


def test_one_file_or_folder_or_some_files_of_a_repository(hub: WebServer, fetch: FetchWith) -> None:
    assert fetch("hf://team/flowers@main/onnx/model.onnx", HF_ENDPOINT=hub.url).path.read_bytes() == MODEL
    assert contents(fetch("hf://team/flowers/onnx", HF_ENDPOINT=hub.url).path) == {"model.onnx": MODEL}
    assert contents(fetch("hf://team/flowers", ("*.json",), HF_ENDPOINT=hub.url).path) == {"config.json": b"{}"}
    with pytest.raises(ModelLoadError, match="has no weights"):
        fetch("hf://team/flowers/weights", HF_ENDPOINT=hub.url)
    with pytest.raises(ModelLoadError, match=r"no file matches model\.files: \*\.pt"):
        fetch("hf://team/flowers", ("*.pt",), HF_ENDPOINT=hub.url)


def test_a_file_that_is_not_what_the_hub_says_is_refused(hub: WebServer, fetch: FetchWith) -> None:
    hub.put("/team/flowers/resolve/c0ffee/onnx/model.onnx", MODEL[::-1])
    with pytest.raises(ModelLoadError, match=rf"onnx/model\.onnx: its digest .* expected is sha256:{SHA}"):
        fetch("hf://team/flowers", HF_ENDPOINT=hub.url)


def test_the_token_goes_to_the_hub_and_not_where_it_redirects(hub: WebServer, fetch: FetchWith) -> None:
    with WebServer() as elsewhere:
        place = elsewhere.put("/blob", MODEL)
        path = "/team/flowers/resolve/c0ffee/onnx/model.onnx"
        hub.answers[path] = lambda handler: handler.send(302, b"", {"location": place})
        assert fetch("hf://team/flowers/onnx", HF_ENDPOINT=hub.url, **{"HF_TOKEN": "secret"}).path.is_dir()
        assert all("authorization" not in fields for _, _, fields in elsewhere.asked)
    assert all(fields["authorization"] == "Bearer secret" for _, _, fields in hub.asked)


def test_a_model_that_the_hub_does_not_show_is_told_with_what_to_check(hub: WebServer, fetch: FetchWith) -> None:
    hub.statuses = [401]
    with pytest.raises(
        ModelLoadError, match=r"^hf://team/flowers: the hub shows no such model: check its name, or, .* HF_TOKEN"
    ):
        fetch("hf://team/flowers", HF_ENDPOINT=hub.url)


def test_the_hub_may_not_name_another_server_as_its_next_page(hub: WebServer, fetch: FetchWith) -> None:
    with WebServer() as elsewhere:
        tree = "/api/models/team/flowers/tree/c0ffee?recursive=true"
        link = {"link": f'<{elsewhere.url}/steal>; rel="next"'}
        hub.answers[tree] = lambda handler: handler.send(200, b"[]", link)
        with pytest.raises(ModelLoadError, match="as its next page, which is another server"):
            fetch("hf://team/flowers", HF_ENDPOINT=hub.url, **{"HF_TOKEN": "secret"})
        assert elsewhere.asked == []


# ---- redirects


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "file:///etc/passwd",
        "gopher://x/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[2002:a9fe:a9fe::]/",
        "http://[::ffff:169.254.169.254]/",
        "",
    ],
)
def test_a_redirect_to_where_it_must_not_lead_is_refused(web: WebServer, fetch: FetchWith, target: str) -> None:
    web.answers["/m.onnx"] = lambda handler: handler.send(302, b"", {"location": target})
    with pytest.raises(ModelLoadError, match="redirect"):
        fetch(f"{web.url}/m.onnx")


@pytest.mark.parametrize("target", ["http://[::1", "http://h:port/", f"http://{'a' * 64}.example/"])
def test_a_redirect_to_what_is_no_url_is_told(web: WebServer, fetch: FetchWith, target: str) -> None:
    web.answers["/m.onnx"] = lambda handler: handler.send(302, b"", {"location": target})
    with pytest.raises(ModelLoadError, match=r"is no URL|is no host's name"):
        fetch(f"{web.url}/m.onnx")


def test_redirects_without_end_are_refused(web: WebServer, fetch: FetchWith) -> None:
    web.answers["/m.onnx"] = lambda handler: handler.send(302, b"", {"location": "/m.onnx"})
    with pytest.raises(ModelLoadError, match="more than 5 redirects"):
        fetch(f"{web.url}/m.onnx")


# ---- container registries


class Registry:
    """Manifests and blobs of team/iris, for who has the token of the moment, good for the next of `lifetimes` requests."""

    ROUTE = "/token?service=test&scope=repository%3Ateam%2Firis%3Apull"

    def __init__(self, web: WebServer) -> None:
        self.web = web
        self.host = web.url.removeprefix("http://")
        self.tokens = 0
        self.left, self.lifetimes = 0, list[int]()
        self.realm = f"{web.url}/token"
        web.answers[self.ROUTE] = self.token

    def token(self, handler: Handler) -> None:
        self.tokens += 1
        self.left = self.lifetimes.pop(0) if self.lifetimes else 10**9
        handler.send(200, as_json({"token": f"t{self.tokens}"}))

    def guarded(self, handler: Handler) -> bool:
        """Whether the request may pass; else it is told where tokens are."""
        if handler.headers.get("authorization") == f"Bearer t{self.tokens}" and self.left > 0:
            self.left -= 1
            return True
        challenge = f'Bearer realm="{self.realm}",service="test",scope="repository:team/iris:pull"'
        handler.send(401, b"", {"www-authenticate": challenge})
        return False

    def blob(self, content: bytes, media_type: str, title: str = "") -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        path = f"/v2/team/iris/blobs/{digest}"
        self.web.put(path, content)
        self.web.answers[path] = lambda handler: handler.send_file(path) if self.guarded(handler) else None
        annotations = {"annotations": {"org.opencontainers.image.title": title}} if title else {}
        return {"digest": digest, "size": len(content), "mediaType": media_type, **annotations}

    def manifest(self, reference: str, document: dict[str, Any]) -> str:
        content = as_json(document)
        self.web.answers[f"/v2/team/iris/manifests/{reference}"] = lambda handler: (
            handler.send(200, content) if self.guarded(handler) else None
        )
        return f"oci://{self.host}/team/iris:{reference}"


@pytest.fixture
def registry(web: WebServer) -> Registry:
    return Registry(web)


def layer(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def test_of_a_modelcar_the_models_folder_is_served(registry: Registry, fetch: FetchWith) -> None:
    base = registry.blob(layer(("bin/true", b"x")), GZIP)
    model = registry.blob(layer(("models/1/model.onnx", MODEL)), GZIP)
    uri = registry.manifest("1", {"layers": [base, model]})
    assert contents(fetch(uri).path) == {"1/model.onnx": MODEL}


def test_the_image_of_this_machine_is_chosen_from_an_index(registry: Registry, fetch: FetchWith) -> None:
    model = registry.blob(layer(("models/model.onnx", MODEL)), GZIP)
    content = {"layers": [model]}
    digest = f"sha256:{hashlib.sha256(as_json(content)).hexdigest()}"
    registry.manifest(digest, content)
    machines = [("s390x", "sha256:" + "0" * 64), ("amd64", digest), ("arm64", digest)]
    manifests = [{"digest": each, "size": 1, "platform": {"os": "linux", "architecture": name}} for name, each in machines]
    assert contents(fetch(registry.manifest("1", {"manifests": manifests})).path) == {"model.onnx": MODEL}


def test_an_artefact_s_layers_are_its_files(registry: Registry, fetch: FetchWith) -> None:
    layers = [registry.blob(MODEL, "application/octet-stream", "model.onnx"), registry.blob(b"{}", "text/json", "labels.json")]
    assert contents(fetch(registry.manifest("2", {"layers": layers})).path) == {"model.onnx": MODEL, "labels.json": b"{}"}
    one = registry.manifest("3", {"layers": layers[:1]})
    assert fetch(one).path.name == "model.onnx"


def test_a_layer_with_another_digest_is_refused(registry: Registry, fetch: FetchWith) -> None:
    told = registry.blob(MODEL, "application/octet-stream", "model.onnx")
    registry.web.put(f"/v2/team/iris/blobs/{told['digest']}", MODEL[::-1])
    with pytest.raises(ModelLoadError, match=r"model\.onnx: its digest"):
        fetch(registry.manifest("1", {"layers": [told]}))


def test_a_token_that_expires_in_the_middle_is_renewed(registry: Registry, fetch: FetchWith) -> None:
    registry.lifetimes = [2]
    uri = registry.manifest("1", {"layers": [registry.blob(MODEL, "application/octet-stream", "model.onnx")]})
    assert fetch(uri).path.read_bytes() == MODEL
    assert registry.tokens == 2


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b"{}"])
def test_a_token_server_that_answers_something_else_is_told(registry: Registry, fetch: FetchWith, answer: bytes) -> None:
    registry.web.answers[registry.ROUTE] = answer
    with pytest.raises(ModelLoadError, match="team/iris:1: the registry's token server answered without a token"):
        fetch(registry.manifest("1", {"layers": []}))


def test_an_identity_token_of_the_secret_s_config_is_given_to_the_token_server(
    registry: Registry, fetch: FetchWith, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_bytes(as_json({"auths": {registry.host: {"identitytoken": "secret"}}}))
    registry.web.answers["/token"] = registry.token
    uri = registry.manifest("1", {"layers": [registry.blob(MODEL, "application/octet-stream", "model.onnx")]})
    assert fetch(uri, DOCKER_CONFIG=str(tmp_path)).path.read_bytes() == MODEL
    assert [(verb, path) for verb, path, _ in registry.web.asked if "token" in path] == [("POST", "/token")]


def test_a_registry_that_wants_a_password_gets_that_of_docker_s_config(
    registry: Registry, fetch: FetchWith, tmp_path: Path
) -> None:
    manifest = as_json({"layers": [registry.blob(MODEL, "application/octet-stream", "model.onnx")]})

    def guarded(handler: Handler) -> None:
        if handler.headers.get("authorization") == "Basic bWU6c2VjcmV0":
            digest = handler.path.rpartition("/")[2]
            handler.send(200, manifest) if digest == "1" else handler.send_file(handler.path)
        else:
            handler.send(401, b"", {"www-authenticate": 'Basic realm="registry"'})

    for path in (*registry.web.files, "/v2/team/iris/manifests/1"):
        registry.web.answers[path] = guarded
    uri = f"oci://{registry.host}/team/iris:1"
    with pytest.raises(ModelLoadError, match="the registry needs credentials: DOCKER_CONFIG"):
        fetch(uri)
    (tmp_path / "config.json").write_bytes(as_json({"auths": {registry.host: {"auth": "bWU6c2VjcmV0"}}}))
    assert fetch(uri, DOCKER_CONFIG=str(tmp_path)).path.read_bytes() == MODEL


def test_a_registry_may_not_name_the_cloud_s_own_addresses_as_its_token_server(registry: Registry, fetch: FetchWith) -> None:
    registry.realm = "http://169.254.169.254/latest/token"
    with pytest.raises(ModelLoadError, match=r"169\.254\.169\.254, which is more private"):
        fetch(registry.manifest("1", {"layers": []}))


def test_a_challenge_of_where_the_registry_leads_to_is_not_answered(registry: Registry, fetch: FetchWith) -> None:
    layer = registry.blob(MODEL, "application/octet-stream", "model.onnx")
    uri = registry.manifest("1", {"layers": [layer]})
    with WebServer() as elsewhere:
        challenge = {"www-authenticate": f'Bearer realm="{elsewhere.url}/token"'}
        elsewhere.answers["/blob"] = lambda handler: handler.send(401, b"", challenge)
        place = {"location": f"{elsewhere.url}/blob"}
        registry.web.answers[f"/v2/team/iris/blobs/{layer['digest']}"] = lambda handler: handler.send(307, b"", place)
        with pytest.raises(ModelLoadError, match="leads to a server that refuses to answer"):
            fetch(uri)
        assert {path for _, path, _ in elsewhere.asked} == {"/blob"}


def test_an_image_without_models_says_so(registry: Registry, fetch: FetchWith) -> None:
    with pytest.raises(ModelLoadError, match="holds no file in /models"):
        fetch(registry.manifest("1", {"layers": [registry.blob(layer(("bin/true", b"x")), GZIP)]}))


# ---- MLflow


def test_a_version_in_the_model_registry_is_fetched_from_the_server_itself(web: WebServer, fetch: FetchWith) -> None:
    api, kept = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
    web.answers[f"{api}/registered-models/alias?name=iris&alias=best"] = as_json({"model_version": {"version": "3"}})
    web.answers[f"{api}/model-versions/get-download-uri?name=iris&version=3"] = as_json(
        {"artifact_uri": "mlflow-artifacts:/0/r/model"}
    )
    web.answers[f"{kept}?path=0%2Fr%2Fmodel"] = as_json(
        {"files": [{"path": "MLmodel", "is_dir": False, "file_size": 2}, {"path": "data", "is_dir": True}]}
    )
    web.answers[f"{kept}?path=0%2Fr%2Fmodel%2Fdata"] = as_json({"files": [{"path": "m.bin", "file_size": len(MODEL)}]})
    web.ranges = False
    web.put(f"{kept}/0/r/model/MLmodel", b"{}")
    web.put(f"{kept}/0/r/model/data/m.bin", MODEL)
    for uri in ("models:/iris/3", "models:/iris@best"):
        fetched = fetch(uri, MLFLOW_TRACKING_URI=web.url, **{"MLFLOW_TRACKING_TOKEN": "t0"})
        assert contents(fetched.path) == {"MLmodel": b"{}", "data/m.bin": MODEL}
    assert all(fields["authorization"] == "Bearer t0" for _, _, fields in web.asked)


def test_a_version_that_was_trained_anew_is_another_one_though_its_files_have_the_same_sizes(
    web: WebServer, fetch: FetchWith
) -> None:
    api, kept = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
    for number, content in (("1", b"old"), ("2", b"new")):
        web.answers[f"{api}/registered-models/alias?name=iris&alias=best"] = as_json({"model_version": {"version": number}})
        web.answers[f"{api}/model-versions/get-download-uri?name=iris&version={number}"] = as_json(
            {"artifact_uri": f"mlflow-artifacts:/0/{number}"}
        )
        web.answers[f"{kept}?path=0%2F{number}"] = as_json({"files": [{"path": "m.bin", "file_size": 3}]})
        web.put(f"{kept}/0/{number}/m.bin", content)
        assert contents(fetch("models:/iris@best", MLFLOW_TRACKING_URI=web.url).path) == {"m.bin": content}


@pytest.mark.parametrize(
    "files", [[{"name": "m"}], [{"path": "m", "file_size": "many"}], ["m"], {"m": 1}, [{"path": "..", "is_dir": True}]]
)
def test_a_server_that_lists_files_in_another_way_is_told(web: WebServer, fetch: FetchWith, files: Any) -> None:
    api, kept = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
    web.answers[f"{api}/model-versions/get-download-uri?name=iris&version=3"] = as_json({"artifact_uri": "mlflow-artifacts:/0"})
    web.answers[f"{kept}?path=0"] = as_json({"files": files})
    with pytest.raises(ModelLoadError, match=r"does not answer as an MLflow server does|answers 404"):
        fetch("models:/iris/3", MLFLOW_TRACKING_URI=web.url)


def test_a_run_s_model_is_fetched_where_the_server_says_it_is(web: WebServer, fetch: FetchWith) -> None:
    answer = {"run": {"info": {"artifact_uri": f"{web.url}/bucket"}}}
    web.answers["/api/2.0/mlflow/runs/get?run_id=7"] = as_json(answer)
    web.put("/bucket/m.onnx", MODEL)
    assert fetch("runs:/7/m.onnx", MLFLOW_TRACKING_URI=web.url).path.read_bytes() == MODEL


def test_without_a_server_mlflow_s_uris_say_what_is_missing(fetch: FetchWith) -> None:
    with pytest.raises(ModelLoadError, match="set MLFLOW_TRACKING_URI to the"):
        fetch("models:/iris/3")


# ---- credentials


def test_a_netrc_file_or_a_variable_has_the_credentials_of_a_web_server(
    web: WebServer, fetch: FetchWith, tmp_path: Path
) -> None:
    url = web.put("/m.onnx", MODEL)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    fetch(url, NETRC=str(netrc))
    assert web.asked[0][2]["authorization"] == "Basic bWU6c2VjcmV0"
    web.asked.clear()
    fetch(url, MODEL_AUTHORIZATION="Bearer x")
    assert web.asked[0][2]["authorization"] == "Bearer x"


def test_a_file_of_credentials_that_is_not_there_is_named(web: WebServer, fetch: FetchWith) -> None:
    with pytest.raises(ModelLoadError, match="NETRC names /nonexistent/netrc"):
        fetch(web.put("/m.onnx", MODEL), NETRC="/nonexistent/netrc")
