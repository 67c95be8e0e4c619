"""`inference.access` and `inference.egress`: who may call the function, and whom it may call."""

from typing import Annotated, Literal

from msgspec import Meta

from kfunc.config.block import Block
from kfunc.config.traffic import DnsLabel

At = Literal["gateway", "pod"]
Protocol = Literal["https", "http", "http2", "grpc", "tls", "tcp"]
Port = Annotated[int, Meta(ge=1, le=65_535)]
EgressName = Annotated[
    str,
    Meta(
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$",
        extra_json_schema={"patternErrorMessage": 'expected a host name such as "s3.example.com" or "*.example.com"'},
    ),
]


class Jwt(Block, frozen=True, kw_only=True):
    """Tokens of one issuer. They are read from `Authorization: Bearer …` unless `header` or `query` name another place."""

    issuer: Annotated[str, Meta(min_length=1, description="The tokens' `iss`.")]
    jwks_uri: Annotated[str, Meta(description="Where the issuer's keys are; without it they are discovered.")] = ""
    jwks: Annotated[str, Meta(description="The issuer's public keys themselves, as JSON.")] = ""
    audiences: Annotated[list[str], Meta(description="Any of these must be among the token's `aud`.")] = []
    header: Annotated[str, Meta(description="Header that holds the token.")] = ""
    header_prefix: Annotated[str, Meta(description="What stands before the token in that header.")] = ""
    query: Annotated[str, Meta(description="Query parameter that holds the token.")] = ""


class Access(Block, frozen=True):
    """Who may call the function. A caller must fulfil every condition that is given."""

    at: Annotated[
        At,
        Meta(
            description="Checked by the ingress gateway, for the function's host names; or by a sidecar in the pod, "
            "whatever way a request comes."
        ),
    ] = "gateway"
    jwt: Annotated[list[Jwt], Meta(description="Issuers of tokens; a token of one of them is needed.")] = []
    subjects: Annotated[list[str], Meta(description="The tokens' `sub`: whole, or with `*` at one end; any by default.")] = []
    claims: Annotated[
        dict[str, list[str]], Meta(description="Claims of the token, each with the values of which one is needed.")
    ] = {}
    principals: Annotated[
        list[str],
        Meta(description="Callers' identities in the mesh, such as cluster.local/ns/web/sa/shop; only with `at: pod`."),
    ] = []
    namespaces: Annotated[list[DnsLabel], Meta(description="Callers' namespaces in the mesh; only with `at: pod`.")] = []
    paths: Annotated[list[str], Meta(description="Paths that may be asked for, `*` at one end; any by default.")] = []
    public_paths: Annotated[list[str], Meta(description="Paths that anybody may ask for, without a token.")] = []
    strict_mtls: Annotated[
        bool, Meta(description="The pod takes mutual TLS only; needs `at: pod` and Knative's own pods in the mesh.")
    ] = False


class EgressHost(Block, frozen=True, kw_only=True):
    """A host that the function may call."""

    host: Annotated[EgressName, Meta(description="Its name; `*.` first stands for all below.")]
    port: Annotated[Port, Meta(description="Its port.")] = 443
    protocol: Annotated[Protocol, Meta(description="What is spoken there.")] = "https"


Egress = list[EgressHost]
