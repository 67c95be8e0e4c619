"""The connection to a cluster: objects in, objects out, failures as ClusterError.

The kubernetes client reads the kubeconfig and does authentication, TLS and proxies; it is imported here, in the call.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.cluster.faults import CONFLICT, MISSING, refusal
from kfunc.cluster.kinds import KINDS, kind_of, path, selector, shown
from kfunc.cluster.login import Login
from kfunc.errors import ClusterError
from kfunc.manifests.plan import Manifest

MANAGER = "kfunc"
REVIEW = "SelfSubjectAccessReview"
ANSWER_S = 30.0
APPLY, MERGE, JSON_PATCH, JSON = (
    "application/apply-patch+yaml",
    "application/merge-patch+json",
    "application/json-patch+json",
    "application/json",
)


class Reply(Struct, frozen=True):
    """What a port of a pod answered."""

    status: int
    body: bytes

    def refused(self, about: str) -> str:
        """Why the API did not pass the request on, behind what was asked; empty where the pod itself answered."""
        if self.status < 400 or b'"kind":"Status"' not in self.body:
            return ""
        try:
            return refusal(self.status, msgspec.json.decode(self.body), about).message
        except msgspec.DecodeError:
            return ""


class Cluster:
    """The API of one cluster. Threads may share it.

    Every method may raise ClusterError; `code` of it is 0 where the cluster gave no answer.
    """

    def __init__(self, login: Login) -> None:
        self.namespace = login.namespace
        """The kubeconfig's own, empty where it names none."""
        self.server = login.server
        self._login = login

    def now(self) -> float:
        """Seconds since 1970 by the cluster's clock, which is the same for all who ask it."""
        if not self._login.clock.is_set:
            self._login.request("GET", "/version")
        return time.time() + self._login.clock.correction

    # ---- objects

    def get(self, kind: str, name: str, namespace: str = "") -> Manifest | None:
        """One object, or None where there is none."""
        try:
            return self._json("GET", path(kind, namespace, name), f"cannot read {kind} {name}", kind)
        except ClusterError as error:
            if error.code == MISSING:
                return None
            raise

    def objects(
        self, kind: str, namespace: str = "", labels: Mapping[str, str] | None = None, fields: str = ""
    ) -> list[Manifest]:
        """The objects of a kind; none where the cluster does not know the kind. No namespace: those of all."""
        try:
            return self._list(kind, namespace, labels, fields)
        except ClusterError as error:
            if error.code == MISSING:
                return []
            raise

    def apply(self, manifest: Manifest, *, dry_run: bool = False, force: bool = False, manager: str = MANAGER) -> Manifest:
        """Server-side apply: what the cluster has afterwards. `dry_run`: all its checks, and nothing is kept."""
        kind, about = kind_of(manifest), manifest["metadata"]
        query = {"fieldManager": manager, "force": str(force).lower(), "dryRun": "All" if dry_run else ""}
        where = path(kind, about.get("namespace", ""), about["name"], query=query)
        return self._json("PATCH", where, f"{shown(manifest)} was not applied", kind, manifest, APPLY)

    def patch(
        self,
        kind: str,
        name: str,
        namespace: str,
        body: Manifest | list[Manifest],
        *,
        manager: str = MANAGER,
        dry_run: bool = False,
        subresource: str = "",
    ) -> Manifest:
        """Change fields: a merge patch, or a list of JSON Patch operations.

        With `metadata.resourceVersion` in it, the code of the error is CONFLICT where somebody else was faster.
        """
        query = {"fieldManager": manager, "dryRun": "All" if dry_run else ""}
        form = JSON_PATCH if isinstance(body, list) else MERGE
        where = path(kind, namespace, name, subresource, query=query)
        return self._json("PATCH", where, f"{kind} {name} was not changed", kind, body, form)

    def create(self, manifest: Manifest, *, manager: str = MANAGER) -> bool:
        """Make an object; False where there already is one of the name."""
        kind, about = kind_of(manifest), manifest["metadata"]
        where = path(kind, about.get("namespace", ""), query={"fieldManager": manager})
        try:
            self._json("POST", where, f"{shown(manifest)} was not made", kind, manifest)
        except ClusterError as error:
            if error.code == CONFLICT:
                return False
            raise
        return True

    def delete(self, kind: str, name: str, namespace: str = "", *, wait_for_parts: bool = False) -> bool:
        """Delete an object and what belongs to it; False where there is none."""
        query = {"propagationPolicy": "Foreground" if wait_for_parts else "Background"}
        try:
            self._json("DELETE", path(kind, namespace, name, query=query), f"{kind} {name} was not deleted", kind)
        except ClusterError as error:
            if error.code == MISSING:
                return False
            raise
        return True

    # ---- pods

    def logs(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail: int | None = None,
        follow: bool = False,
        timestamps: bool = False,
        since_s: int | None = None,
        since: str = "",
    ) -> Iterator[str]:
        """Lines of a container's log; with `follow` until it ends. `previous`: of the one before the last restart.

        `since`: those from this time on (RFC 3339), which the API rounds down to a second.
        """
        query = {
            "container": container,
            "previous": str(previous).lower(),
            "follow": str(follow).lower(),
            "timestamps": str(timestamps).lower(),
            "tailLines": tail,
            "sinceSeconds": since_s,
            "sinceTime": since or None,
        }
        where = path("Pod", namespace, pod, "log", query=query)
        yield from self._login.lines(where, f"no log of {pod}", None if follow else ANSWER_S)

    def ask_pod(self, namespace: str, pod: str, port: int, asked: str, timeout_s: float = 5.0) -> Reply:
        """GET of a path at a port of a pod, by way of the API: any status is a Reply."""
        where = path("Pod", namespace, f"{pod}:{port}", "proxy") + asked
        status, body = self._login.request("GET", where, timeout_s=timeout_s)
        return Reply(status, body)

    def service_proxy(self, namespace: str, service: str) -> tuple[str, dict[str, str], ssl.SSLContext | None]:
        """A URL at which the API passes requests on to a service, with the header fields and the TLS that it wants."""
        where = path("Service", namespace, f"{service}:80", "proxy")
        return self.server + where, self._login.headers(), self._login.tls()

    def ask_service(self, namespace: str, service: str, port: int, asked: str, timeout_s: float = 10.0) -> Reply:
        """The same at a port of a Service."""
        where = path("Service", namespace, f"{service}:{port}", "proxy") + asked
        status, body = self._login.request("GET", where, timeout_s=timeout_s)
        return Reply(status, body)

    def post_to_pod(
        self, namespace: str, pod: str, port: int, asked: str, body: bytes, fields: Mapping[str, str], timeout_s: float = 30.0
    ) -> Reply:
        """POST of a body to a port of a pod, by way of the API: any status is a Reply."""
        where = path("Pod", namespace, f"{pod}:{port}", "proxy") + asked
        form = fields.get("content-type", JSON)
        kept = {name: value for name, value in fields.items() if name not in ("content-type", "authorization", "user-agent")}
        return Reply(*self._login.request("POST", where, body, form, timeout_s, kept))

    def may(self, verb: str, kind: str, namespace: str) -> bool:
        """Whether the user has this right."""
        entry = KINDS[kind]
        wanted = {"verb": verb, "group": entry.group, "resource": entry.plural, "namespace": namespace}
        review = {
            "apiVersion": KINDS[REVIEW].api_version,
            "kind": REVIEW,
            "metadata": {},
            "spec": {"resourceAttributes": wanted},
        }
        answer = self._json("POST", path(REVIEW), "cannot ask for your rights", REVIEW, review)
        return bool((answer.get("status") or {}).get("allowed"))

    def version(self) -> str:
        """Kubernetes' version. Raises ClusterError where there is no cluster."""
        return str(self._json("GET", "/version", "cannot read the cluster's version")["gitVersion"])

    # ---- requests

    def _list(self, kind: str, namespace: str, labels: Mapping[str, str] | None, fields: str) -> list[Manifest]:
        query = {"labelSelector": selector(labels), "fieldSelector": fields}
        found = self._json("GET", path(kind, namespace, query=query), f"cannot list {kind}", kind)
        # The items of a list have neither kind nor apiVersion.
        common = {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List")}
        return [common | item for item in found["items"]]

    def _json(self, method: str, where: str, about: str, kind: str = "", body: Any = None, form: str = JSON) -> Manifest:
        content = None if body is None else msgspec.json.encode(body)
        status, answer = self._login.request(method, where, content, form, ANSWER_S)
        try:
            value: Manifest = msgspec.json.decode(answer)
        except msgspec.DecodeError:
            value = {"message": answer[:200].decode(errors="replace")}
        if status >= 400:
            raise refusal(status, value, about, kind)
        return value
