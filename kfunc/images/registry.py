"""One registry's API (distribution specification 1.1): manifests, blobs, referrers, with the credentials that it asks for."""

import http.client
from collections.abc import Callable, Mapping
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec.structs import replace

from kfunc.errors import RegistryError
from kfunc.images.documents import INDEX, INDEXES, MANIFEST, MANIFESTS, Descriptor, Json, digest_of, encode
from kfunc.images.store import ALGORITHM, Blob, Store
from kfunc.images.transport import BUSY, LOST, TRIES, Answer, Body, Sink, Transport, lost, may_pass, place_of
from kfunc.registries.challenges import basic, parse_challenges, token_of, token_request
from kfunc.registries.credentials import ANONYMOUS, Credentials, find_credentials
from kfunc.registries.references import Reference

MOST_WORDS = 300
DIGEST = "Docker-Content-Digest"
TOOL = "io.kfunc.tool"
"""Marks what kfunc has attached to an image, among what others have."""


class Registry:
    """A repository of a registry. `actions` is what is asked for: pull, or pull,push."""

    def __init__(self, reference: Reference, transport: Transport, environ: Mapping[str, str], actions: str = "pull") -> None:
        self.reference = reference
        self.transport = transport
        self.base = f"{transport.base(reference.host)}/v2/{reference.repository}"
        self.scope = f"repository:{reference.repository}:{actions}"
        self._actions = actions
        self._credentials: Credentials | None = None
        self._environ = environ
        self._authorization = ""
        self._mounts: dict[str, Registry | None] = {}

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = b"", sink: Sink | None = None
    ) -> Answer:
        """A request that may be sent again, with what the registry wants to know of us. Raises RegistryError."""
        return self._authorized(self.transport.retry, method, url, headers, body, sink)

    def ask_once(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: Body = b"") -> Answer:
        """A request that is not sent again but for a 401. Raises LOST, RegistryError."""
        return self._authorized(self.transport.send, method, url, headers, body, None)

    def _authorized(
        self,
        send: Callable[[str, str, Mapping[str, str], Body, Sink | None], Answer],
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: Body,
        sink: Sink | None,
    ) -> Answer:
        own = dict(headers or {})

        def fields() -> dict[str, str]:
            return own | ({"Authorization": self._authorization} if self._authorization and self._is_here(url) else {})

        answer = send(method, url, fields(), body, sink)
        if answer.status == 401 and self._is_here(answer.url):  # where it sent us to has no business with our credentials
            self._authorize(answer)
            answer = send(method, url, fields(), body, sink)
        if answer.status in (401, 403):
            raise self._refused(answer)
        return answer

    def _is_here(self, url: str) -> bool:
        """Whether a URL is the registry's own, and not of a store that it sends its clients to."""
        return place_of(url) == place_of(self.base)

    def _authorize(self, answer: Answer) -> None:
        """Answer the registry's challenge. Raises RegistryError."""
        if self._credentials is None:
            self._credentials = find_credentials(self.reference.registry, self.reference.repository, self._environ)
        challenges = parse_challenges(answer.headers.get_all("WWW-Authenticate") or [])
        bearer = next((each for each in challenges if each.scheme == "bearer"), None)
        if bearer:
            wanted = token_request(bearer, self.scope, self._credentials)
            self._check_way(wanted.url)
            told = self.transport.retry(wanted.method, wanted.url, wanted.headers, wanted.body)
            if told.status != 200:
                raise self._refused(told)
            self._authorization = f"Bearer {token_of(_json(told))}"
        elif self._credentials.user and any(each.scheme == "basic" for each in challenges):
            self._authorization = basic(self._credentials)

    def _check_way(self, url: str) -> None:
        """Raises RegistryError for a token server without TLS where the registry has it: anybody could read the credentials."""
        scheme, host = place_of(url)
        allowed = any(map(self.transport.may_be_plain, (host, self.reference.host)))
        if scheme == "http" and self._credentials != ANONYMOUS and not allowed:
            raise RegistryError(
                f"{self.reference.registry} wants the credentials to be sent to {host} without TLS: tell who runs it,"
                " or give --insecure if that is meant"
            )

    def _refused(self, answer: Answer) -> RegistryError:
        host, known = self.reference.registry, self._credentials or ANONYMOUS
        who = f"the user {known.user}" if known.user else "the identity token" if known.identity_token else ""
        what = "push to" if "push" in self._actions else "pull from"
        if who:
            advice = f"{who} may not {what} {self.reference.name}: log in as one that may (docker login {host})"
        else:
            advice = f"it wants to know who you are: docker login {host} (or podman, or write ~/.docker/config.json)"
        return RegistryError(f"{host} refused: {said(answer)}; {advice}", answer.status)

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """A manifest or index by tag or digest. Raises RegistryError."""
        accept = ", ".join([*INDEXES, *MANIFESTS])
        answer = self.ask("GET", f"{self.base}/manifests/{wanted}", {"Accept": accept})
        if answer.status == 404:
            raise RegistryError(f"there is no image {self.reference.name} with {wanted}; check its name and tag", 404)
        self.expect(answer, f"get {self.reference}")
        digest = digest_of(answer.body)
        if wanted.startswith(ALGORITHM) and digest != wanted:
            raise RegistryError(
                f"{self.reference.registry} answered {wanted} with another content ({digest}); tell who runs it"
            )
        kind = _json(answer).get("mediaType") or answer.field("Content-Type").partition(";")[0]
        return Descriptor(kind, digest, len(answer.body)), answer.body

    def has_manifest(self, wanted: str) -> bool:
        """Whether there is a manifest. Raises RegistryError."""
        answer = self.ask("HEAD", f"{self.base}/manifests/{wanted}", {"Accept": ", ".join([*INDEXES, *MANIFESTS])})
        if answer.status == 404:
            return False
        self.expect(answer, f"say whether {self.reference.name} has {wanted}")
        return True

    def put_manifest(self, wanted: str, media_type: str, content: bytes) -> Answer:
        """Write a manifest or index. Raises RegistryError."""
        answer = self.ask("PUT", f"{self.base}/manifests/{wanted}", {"Content-Type": media_type}, content)
        self.expect(answer, f"put the manifest of {self.reference.name}")
        digest = answer.field(DIGEST)
        if digest and digest != digest_of(content):
            raise RegistryError(f"{self.reference.registry} stored another manifest ({digest}) than was sent; tell who runs it")
        return answer

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has a blob."""
        return self.ask("HEAD", f"{self.base}/blobs/{digest}").status == 200

    def mount(self, digest: str, repository: str) -> bool:
        """Take a blob from another repository of the registry, if it lets us.

        A mount needs to read the other repository; who may not do that may all the same write to this one.
        """
        if repository not in self._mounts:
            wider = Registry(self.reference, self.transport, self._environ, self._actions)
            wider.scope = f"{self.scope} repository:{repository}:pull"
            self._mounts[repository] = wider
        asked = self._mounts[repository]
        if asked is None:
            return False
        try:
            url = f"{self.base}/blobs/uploads/?mount={digest}&from={repository}"
            answer = asked.ask("POST", url, {"Content-Length": "0"})
            if answer.status == 201:
                return True
            if answer.status == 202 and answer.field("Location"):  # an upload was begun instead; the push begins its own
                asked.ask_once("DELETE", urljoin(answer.url, answer.field("Location")), {"Content-Length": "0"})
        except (*LOST, RegistryError):
            pass  # the push itself says what is wrong, if it is not the mount
        self._mounts[repository] = None
        return False

    def fetch(self, descriptor: Descriptor, store: Store, told: Callable[[int], object] | None = None) -> Blob:
        """A blob into the store, unless it is there; what came before a lost connection is kept. Raises BuildError.

        `told` hears how many bytes have come.
        """
        found = store.find(descriptor.digest, descriptor.media_type, descriptor.size)
        if found:
            return found
        with store.writing(descriptor.media_type, descriptor.digest) as file:

            def take(piece: bytes) -> None:
                file.write(piece)
                if file.size > descriptor.size:
                    raise RegistryError(f"{self.reference.registry} sends more than {descriptor.digest} has; tell who runs it")
                if told:
                    told(file.size)

            failures = 0
            while not failures or file.size < descriptor.size:
                before = file.size
                answer, failure = self._rest(descriptor.digest, before, take)
                failures = 1 if file.size > before else failures + 1  # only those that brought nothing count
                if failure is not None and (failures == TRIES or not may_pass(failure)):
                    raise lost(self.base, failure) from None
                if answer is not None and (failures == TRIES or answer.status not in BUSY):
                    self.expect(answer, f"get a layer of {self.reference}")
                    break
                self.transport.wait(failures, answer)
        return file.blob

    def _rest(
        self, digest: str, offset: int, take: Callable[[bytes], object]
    ) -> tuple[Answer | None, OSError | http.client.HTTPException | None]:
        """A blob from `offset` on: the answer, or how the connection was lost.

        Of a registry that knows no ranges, which begins anew, the beginning is left out.
        """
        begun = 0

        def rest(status: int, piece: bytes) -> None:
            nonlocal begun
            known = max(offset - begun, 0) if status == 200 else 0
            begun += len(piece)
            if len(piece) > known:
                take(piece[known:])

        fields = {"Range": f"bytes={offset}-"} if offset else {}
        try:
            return self._authorized(self.transport.send, "GET", f"{self.base}/blobs/{digest}", fields, b"", rest), None
        except LOST as error:
            return None, error

    def attach(self, subject: Descriptor, own: Descriptor, content: bytes) -> None:
        """Attach an artifact to an image: as a referrer, else in the tag `sha256-…` (OCI 1.1, Referrers Tag Schema)."""
        answer = self.put_manifest(own.digest, MANIFEST, content)
        if answer.field("OCI-Subject"):
            return
        tag = subject.digest.replace(":", "-")
        listed: list[Json] = []
        if self.has_manifest(tag):
            _, current = self.manifest(tag)
            listed = msgspec.json.decode(current).get("manifests") or []
        others = [each for each in listed if each.get("digest") != own.digest and not _is_ours(each, own.artifact_type)]
        marked = replace(own, annotations={TOOL: "kfunc"})
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others, marked.document()]}
        self.put_manifest(tag, INDEX, encode(document))

    def expect(self, answer: Answer, what: str) -> None:
        """Raises RegistryError unless the answer is a success: registries differ in which one they give."""
        if answer.status in (200, 201, 202, 204, 206):
            return
        host = self.reference.registry
        advice = (
            "try later" if answer.status in BUSY else "tell who runs it" if answer.status >= 500 else "check the image's name"
        )
        if answer.status == 413:
            advice = "it, or a proxy before it, does not take blobs of this size: raise its limit"
        raise RegistryError(f"{host} would not {what}: {said(answer)}; {advice}", answer.status)


def _is_ours(entry: Json, artifact_type: str) -> bool:
    """Whether an artifact of that kind was attached by an earlier build."""
    return entry.get("artifactType") == artifact_type and TOOL in (entry.get("annotations") or {})


def said(answer: Answer) -> str:
    """A registry's words: the messages of its errors, else the status alone."""
    status = f"{answer.status} {http.client.responses.get(answer.status, '')}".strip()
    try:
        errors = msgspec.json.decode(answer.body).get("errors") or []
        words = ", ".join(str(each.get("message") or each.get("code")) for each in errors)
    except (msgspec.DecodeError, AttributeError, TypeError):
        words = ""
    words = "".join(letter if letter.isprintable() else " " for letter in words)[:MOST_WORDS]
    return f"{status}: {words}" if words else status


def _json(answer: Answer) -> Json:
    try:
        value = msgspec.json.decode(answer.body)
        if not isinstance(value, dict):
            raise TypeError
    except (msgspec.DecodeError, TypeError):
        host = urlsplit(answer.url).netloc
        raise RegistryError(f"{host} answered something else than a registry does; check the image's name") from None
    return value
