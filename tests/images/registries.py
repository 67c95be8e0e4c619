"""A real registry with Basic and TLS, and one in front of it that misbehaves as it is told and asks for Bearer tokens."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from kfunc.images.documents import INDEX
from tests.parts import program
from tests.parts.servers import Server

# bcrypt of "secret", for htpasswd.
USER = "me:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"
CONFIG = """version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}/data}}
  delete: {{enabled: true}}
http:
  addr: 127.0.0.1:{port}
{tls}{auth}"""
TOKEN = "the-token"  # noqa: S105


class DockerRegistry(Server):
    """Debian's docker-registry, distribution 2.8, which knows no referrers."""

    def __init__(self, folder: Path, *, tls: bool = False, basic: bool = False) -> None:
        super().__init__(folder)
        self._tls, self._basic = tls, basic

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        tls = auth = ""
        if self._tls:
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            command += ["-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
            command += ["-keyout", str(self.folder / "key"), "-out", str(self.authority)]
            subprocess.run(command, check=True, capture_output=True)
            tls = f"  tls: {{certificate: {self.authority}, key: {self.folder / 'key'}}}\n"
        if self._basic:
            (self.folder / "users").write_text(USER)
            auth = f"auth: {{htpasswd: {{realm: test, path: {self.folder / 'users'}}}}}\n"
        (self.folder / "config.yml").write_text(CONFIG.format(folder=self.folder, port=self.port, tls=tls, auth=auth))
        super().start()

    def command(self) -> list[str]:
        return [str(program("docker-registry")), "serve", str(self.folder / "config.yml")]

    def take(self, layout: Path, name: str) -> str:
        """Put an image that lies in an OCI layout into the registry: its name there, with the tag `1`. For one without TLS."""
        connection = HTTPConnection(self.host, timeout=60)
        listed = json.loads((layout / "index.json").read_bytes())

        def put(path: str, content: bytes, media_type: str) -> None:
            connection.request("PUT", path, content, {"Content-Type": media_type})
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (201, b""), path

        def read(digest: str) -> bytes:
            return (layout / "blobs" / digest.replace(":", "/")).read_bytes()

        def send(image: dict[str, str]) -> None:
            document = json.loads(read(image["digest"]))
            for each in document.get("manifests", []):
                send(each)
            for blob in (document["config"], *document["layers"]) if "config" in document else ():
                connection.request("POST", f"/v2/{name}/blobs/uploads/")
                answer = connection.getresponse()
                answer.read()
                place = urlsplit(answer.headers["Location"])
                digest = blob["digest"]
                put(f"{place.path}?{place.query}&digest={digest}", read(digest), "application/octet-stream")
            put(f"/v2/{name}/manifests/{image['digest']}", read(image["digest"]), image["mediaType"])

        for image in listed["manifests"]:
            send(image)
        root = listed["manifests"][0]
        if root["mediaType"] == INDEX:
            put(f"/v2/{name}/manifests/1", read(root["digest"]), INDEX)
        else:
            put(f"/v2/{name}/manifests/1", json.dumps(listed | {"mediaType": INDEX}).encode(), INDEX)
        connection.close()
        return f"{self.host}/{name}:1"


class Fault(NamedTuple):
    """What the front does instead of asking the registry: it answers, or is cut off after `cut` bytes.

    With a status these are bytes of the answer, without one of the request's body.
    """

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    cut: int = -1


class Seen(NamedTuple):
    """A request that came to the front."""

    method: str
    path: str
    headers: dict[str, str]


Rule = Callable[[Seen, int], Fault | None]


class Front:
    """A registry of its own to clients. `rule` is asked for each request, with how many of its method came before."""

    def __init__(self, upstream: str, rule: Rule | None = None, *, bearer: bool = False) -> None:
        self.seen: list[Seen] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def handle_any(self) -> None:
                front._handle(self, upstream, rule, bearer)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "Front":
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, method: str, part: str = "") -> list[Seen]:
        """The requests of a method whose path has `part` in it."""
        return [each for each in self.seen if each.method == method and part in each.path]

    def _handle(self, request: BaseHTTPRequestHandler, upstream: str, rule: Rule | None, bearer: bool) -> None:
        seen = Seen(request.command, request.path, {key.lower(): value for key, value in request.headers.items()})
        before = len([each for each in self.seen if each.method == seen.method])
        self.seen.append(seen)
        length = int(seen.headers.get("content-length", "0"))
        if urlsplit(seen.path).path == "/token":
            self._token(request, seen, length)
            return
        if bearer and seen.headers.get("authorization") != f"Bearer {TOKEN}":
            request.rfile.read(length)
            challenge = f'Bearer realm="http://{self.host}/token",service="registry",scope="ignored"'
            _answer(request, 401, [("WWW-Authenticate", challenge)], b"{}")
            return
        fault = rule(seen, before) if rule else None
        if fault and fault.cut >= 0:
            _cut_off(request, fault, length)
            return
        body = request.rfile.read(length)
        if fault:
            _answer(request, fault.status, list(fault.headers), fault.body)
            return
        self._pass_on(request, upstream, body)

    def _token(self, request: BaseHTTPRequestHandler, seen: Seen, length: int) -> None:
        form = parse_qs(request.rfile.read(length).decode())
        known = seen.headers.get("authorization") == "Basic bWU6c2VjcmV0" or form.get("refresh_token") == ["identity"]
        status, body = (200, json.dumps({"token": TOKEN})) if known else (401, '{"errors": [{"message": "who are you?"}]}')
        _answer(request, status, [], body.encode())

    def _pass_on(self, request: BaseHTTPRequestHandler, upstream: str, body: bytes) -> None:
        connection = HTTPConnection(upstream, timeout=30)
        headers = {key: value for key, value in request.headers.items() if key.lower() not in ("host", "connection")}
        connection.request(request.command, request.path, body, {**headers, "Host": self.host})
        answer = connection.getresponse()
        content = answer.read()
        kept = [(key, value) for key, value in answer.getheaders() if key.lower() not in ("connection", "transfer-encoding")]
        connection.close()
        _answer(request, answer.status, kept, content)


def _cut_off(request: BaseHTTPRequestHandler, fault: Fault, length: int) -> None:
    if fault.status:
        request.send_response_only(fault.status)
        request.send_header("Content-Length", str(len(fault.body)))
        request.end_headers()
        request.wfile.write(fault.body[: fault.cut])
        request.wfile.flush()
    else:
        request.rfile.read(min(fault.cut, length))
    request.close_connection = True
    request.connection.shutdown(socket.SHUT_RDWR)


def _answer(request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    request.send_response_only(status)
    for name, value in headers:
        if name.lower() != "content-length" or request.command == "HEAD":
            request.send_header(name, value)
    if request.command != "HEAD":
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
