"""A small Kubernetes API over real HTTP: objects in memory, server-side apply, logs, a pod's ports."""

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kfunc.cluster.connection import Cluster
from kfunc.cluster.kinds import KINDS, kind_of
from kfunc.cluster.kinds import path as api_path
from kfunc.cluster.login import log_in
from kfunc.manifests.plan import Manifest

TOKEN = "let-me-in"  # noqa: S105


@dataclass
class Objects:
    """What the cluster holds, and what it does. `on_change` is its controllers: called after each write."""

    found: dict[str, Manifest] = field(default_factory=dict)
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    ahead_s: float = 0.0
    missing: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    others: dict[str, str] = field(default_factory=dict)
    """By path, who has set fields that an apply wants, until it is forced."""
    writes: list[str] = field(default_factory=list)
    changes: list[tuple[str, Manifest]] = field(default_factory=list)
    on_change: Callable[["Objects", Manifest], None] = lambda objects, manifest: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, manifest: Manifest) -> Manifest:
        """Store an object as a controller would: with a new version if it differs."""
        with self.lock:
            about = manifest["metadata"]
            where = api_path(kind_of(manifest), about.get("namespace", ""), about["name"])
            old = self.found.get(where)
            new = copy.deepcopy(manifest)
            new["metadata"].setdefault("creationTimestamp", "2026-11-25T14:00:00Z")
            new["metadata"].setdefault("uid", f"uid-{len(self.changes)}")
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"] if old else "0"
            if old != new:
                new["metadata"]["resourceVersion"] = str(len(self.changes) + 1)
                self.found[where] = new
                self.changes.append(("MODIFIED" if old else "ADDED", new))
            return new

    def apply(self, manifest: Manifest) -> Manifest:
        """As server-side apply: what is applied replaces what was, what others set stays."""
        about = manifest["metadata"]
        old = self.found.get(api_path(kind_of(manifest), about.get("namespace", ""), about["name"]), {})
        return self.put({**old, **manifest, "metadata": {**old.get("metadata", {}), **about}})

    def remove(self, where: str) -> Manifest | None:
        """Delete the object of a path."""
        with self.lock:
            gone = self.found.pop(where, None)
            if gone is not None:
                self.changes.append(("DELETED", gone))
            return gone

    def of_kind(self, kind: str) -> list[Manifest]:
        """All objects of a kind, for tests to look at."""
        return [each for each in self.found.values() if kind_of(each) == kind]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets, and the second would wait 40 ms
    objects: Objects

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""

    def answer(self, code: int, value: Any, form: str = "application/json") -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The cluster's clock."""
        return super().date_time_string(time.time() + self.objects.ahead_s if timestamp is None else timestamp)

    def refuse(self, code: int, message: str) -> None:
        self.answer(code, {"kind": "Status", "status": "Failure", "message": message, "code": code})

    def do_any(self) -> None:
        parts = urlsplit(self.path)
        where, query = unquote(parts.path), dict(parse_qsl(parts.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.refuse(401, "Unauthorized")
        for (method, begin), (code, message) in self.objects.refusals.items():
            if method == self.command and where.startswith(begin):
                return self.refuse(code, message)
        if self.command == "GET":
            return self.read_one(where, query)
        return self.write_one(where, query, json.loads(body) if body else {})

    do_GET = do_POST = do_PATCH = do_DELETE = do_any

    def read_one(self, where: str, query: dict[str, str]) -> None:
        objects = self.objects
        if where == "/version":
            return self.answer(200, {"gitVersion": "v1.34.4"})
        if where.endswith("/log"):
            pod, container = where.split("/")[-2], query["container"]
            name = f"{pod}/{container}" + ("/previous" if query.get("previous") == "true" else "")
            if name not in objects.logs:
                return self.refuse(400, f"container {container} is waiting to start")
            lines = objects.logs[name].splitlines(keepends=True)[-int(query.get("tailLines") or 10_000) :]
            return self.answer(200, "".join(lines).encode(), "text/plain")
        if "/proxy/" in where:
            target, _, asked = where.partition("/proxy")
            code, body = objects.answers.get(target.rpartition("/")[2] + asked, (503, b"no such port"))
            return self.answer(code, body)
        if where in objects.found:
            return self.answer(200, objects.found[where])
        for name, kind in KINDS.items():
            if name in objects.missing and f"/{kind.group}/{kind.version}/" in where:
                return self.refuse(404, "the server could not find the requested resource")
            if where.endswith(f"/{kind.plural}") and where.startswith(api_path(name).rpartition("/")[0]):
                return self.collection(where, name, query)
        return self.refuse(404, f"{where} not found")

    def matching(self, where: str, name: str, query: dict[str, str]) -> Iterator[Manifest]:
        wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        for path, manifest in self.objects.found.items():
            labels = manifest["metadata"].get("labels", {})
            inside = path.startswith(where) or "/namespaces/" not in where
            if kind_of(manifest) == name and inside and wanted.items() <= labels.items():
                yield manifest

    def collection(self, where: str, name: str, query: dict[str, str]) -> None:
        kind = KINDS[name]
        items = [
            {k: v for k, v in each.items() if k not in ("kind", "apiVersion")} for each in self.matching(where, name, query)
        ]
        listed = {"KnativeService": "Service"}.get(name, name)
        version = {"resourceVersion": str(len(self.objects.changes))}
        return self.answer(200, {"kind": f"{listed}List", "apiVersion": kind.api_version, "metadata": version, "items": items})

    def write_one(self, where: str, query: dict[str, str], body: Any) -> None:
        objects = self.objects
        if where.endswith("/selfsubjectaccessreviews"):
            return self.answer(
                201, {**body, "status": {"allowed": body["spec"]["resourceAttributes"]["verb"] not in objects.forbidden}}
            )
        dry = query.get("dryRun") == "All"
        if not dry:
            objects.writes.append(f"{self.command} {where}")
        if self.command == "DELETE":
            gone = objects.remove(where)
            return self.answer(200, gone) if gone else self.refuse(404, f"{where} not found")
        old = objects.found.get(where)
        if self.command == "POST":
            where = f"{where}/{body['metadata']['name']}"
            if where in objects.found:
                return self.refuse(409, f"{where} already exists")
        elif "apply-patch" not in self.headers["Content-Type"]:
            if old is None:
                return self.refuse(404, f"{where} not found")
            expected = body.get("metadata", {}).get("resourceVersion")
            if expected and expected != old["metadata"]["resourceVersion"]:
                return self.refuse(409, "the object has been modified")
            body = merged(old, body)
        elif where in objects.others and query.get("force") != "true":
            return self.refuse(409, f'Apply failed with 1 conflict: conflict with "{objects.others[where]}"')
        if dry:
            return self.answer(200, {**(old or {}), **body})
        made = objects.apply(body)
        objects.on_change(objects, made)
        return self.answer(200, objects.found[where])


def merged(old: Any, patch: Any) -> Any:
    """JSON Merge Patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class ApiServer:
    """A server that runs, and its kubeconfig."""

    def __init__(self, objects: Objects, url: str) -> None:
        self.objects = objects
        self.url = url

    def kubeconfig(self, folder: Path, token: str = TOKEN, namespace: str = "") -> Path:
        """A kubeconfig for it, below `folder`."""
        context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "here", "context": context}],
        }
        file = folder / "kubeconfig"
        file.write_text(json.dumps(config))
        return file


@contextmanager
def served(objects: Objects) -> Iterator[ApiServer]:
    """The API on a free port."""
    handler = type("Handler", (_Handler,), {"objects": objects})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield ApiServer(objects, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def connect() -> Cluster:
    """The cluster of KUBECONFIG."""
    return Cluster(log_in())
