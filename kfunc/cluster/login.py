"""Who asks which cluster: the kubeconfig by the kubernetes client, and requests with its authentication and TLS."""

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any

from kfunc.cluster.clock import ServerClock
from kfunc.cluster.faults import refusal
from kfunc.errors import ClusterError, NoCluster, StartupError

CONNECT_S = 5.0
NO_CONFIG = (
    "no cluster: there is no kubeconfig at {}; set KUBECONFIG to one, or get one from whoever runs the cluster "
    "(kubectl config view shows what kubectl uses)"
)


class Login:
    """Requests to one cluster's API as one user. Threads may share it."""

    def __init__(self, configuration: Any, namespace: str = "") -> None:
        from kubernetes.client.rest import RESTClientObject

        self.server: str = configuration.host
        self.namespace = namespace
        self.clock = ServerClock()
        self._configuration = configuration
        self._pool = RESTClientObject(configuration).pool_manager

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        form: str = "application/json",
        timeout_s: float = 30.0,
        fields: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of an answer, whatever it is; `fields` are further header fields. Raises ClusterError without one."""
        answer = self._send(method, path, timeout_s, body, form, preload_content=True, fields=fields)
        return answer.status, answer.data

    def lines(self, path: str, about: str, timeout_s: float | None) -> Iterator[str]:
        """The lines of an answer as they come; no time: as long as it takes. Raises ClusterError."""
        import urllib3

        answer = self._send("GET", path, timeout_s, None, "application/json", preload_content=False)
        try:
            if answer.status >= 400:
                raise refusal(answer.status, _status(answer.read()), about)
            rest = b""
            for part in answer.stream(None, decode_content=True):
                *whole, rest = (rest + part).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
            if rest:
                yield rest.decode(errors="replace")
        except urllib3.exceptions.HTTPError:
            return  # the connection ended: what there was has been read
        finally:
            answer.close()

    def headers(self) -> dict[str, str]:
        """The header fields that say who asks."""
        settings = self._configuration.auth_settings().values()
        return {setting["key"]: setting["value"] for setting in settings if setting["in"] == "header"}

    def tls(self) -> ssl.SSLContext | None:
        """What verifies the API, and shows the user's certificate to it; None where the API has no TLS."""
        given = self._configuration
        if not self.server.startswith("https"):
            return None
        made = ssl.create_default_context(cafile=given.ssl_ca_cert or None)
        if not given.verify_ssl:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if given.cert_file:
            made.load_cert_chain(given.cert_file, given.key_file)
        return made

    def _send(
        self,
        method: str,
        path: str,
        timeout_s: float | None,
        body: bytes | None,
        form: str,
        *,
        preload_content: bool,
        fields: Mapping[str, str] | None = None,
    ) -> Any:
        import urllib3

        headers = (
            {"Accept": "application/json", "Content-Type": form, "User-Agent": "kfunc"} | dict(fields or {}) | self.headers()
        )
        sent = time.time()
        try:
            answer = self._pool.request(
                method,
                self.server + path,
                body=body,
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_S, read=timeout_s),
                retries=False,
                preload_content=preload_content,
            )
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(self.server, error) from None
        self.clock.heard(answer.headers.get("Date", ""), sent, time.time())
        return answer


def log_in(context: str = "") -> Login:
    """The cluster of `KUBECONFIG`, of ~/.kube/config, or of this pod. Raises StartupError, NoCluster without any."""
    from kubernetes.client import Configuration
    from kubernetes.config import (
        KUBE_CONFIG_DEFAULT_LOCATION,
        ConfigException,
        list_kube_config_contexts,
        load_incluster_config,
        load_kube_config,
    )
    from yaml import YAMLError  # the client's own reader

    configuration = Configuration()
    place = os.environ.get("KUBECONFIG") or KUBE_CONFIG_DEFAULT_LOCATION
    try:
        if not any(os.path.exists(os.path.expanduser(part)) for part in place.split(os.pathsep) if part):
            if "KUBERNETES_SERVICE_HOST" not in os.environ:
                raise NoCluster(NO_CONFIG.format(place))
            load_incluster_config(client_configuration=configuration)
            return Login(configuration, _pod_namespace())
        load_kube_config(place, context or None, configuration)
        contexts, active = list_kube_config_contexts(place)
        chosen = next((one for one in contexts if one["name"] == context), active)
        return Login(configuration, chosen["context"].get("namespace") or "")
    except ConfigException as error:
        raise StartupError(f"the kubeconfig {place} cannot be used: {error}; kubectl config view shows it") from None
    except (OSError, ValueError, TypeError, AttributeError, KeyError, YAMLError) as error:
        raise StartupError(f"the kubeconfig {place} cannot be read: {type(error).__name__}: {error}") from None


def unreachable(server: str, error: Exception) -> ClusterError:
    """The cluster gave no answer: why, and what to look at."""
    import urllib3

    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    if isinstance(cause, urllib3.exceptions.SSLError) or "CERTIFICATE" in str(cause):
        words = "its certificate is not the one that your kubeconfig trusts: get a new kubeconfig"
    elif isinstance(cause, urllib3.exceptions.NewConnectionError):
        words = "nothing listens there: check that the cluster runs, and the context (kubectl config current-context)"
    elif isinstance(cause, urllib3.exceptions.ConnectTimeoutError):
        words = (
            f"nothing answered within {CONNECT_S:g} s: check VPN and network, and the context (kubectl config current-context)"
        )
    elif isinstance(cause, urllib3.exceptions.ReadTimeoutError):
        words = "it took the request and did not answer in time: try again"
    else:
        words = f"{type(cause).__name__}: {cause}"
    return ClusterError(f"the cluster {server} cannot be reached: {words}")


def _status(body: bytes) -> dict[str, Any]:
    import msgspec

    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {"message": body[:200].decode(errors="replace")}
    return value if isinstance(value, dict) else {}


def _pod_namespace() -> str:
    try:
        with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
