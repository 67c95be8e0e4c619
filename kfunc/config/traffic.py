"""`inference.traffic`: which revision answers which request, and how requests reach it."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from kfunc.config.analysis import Analysis, Pods, Promotion
from kfunc.config.block import Block
from kfunc.config.inference import Seconds

Via = Literal["istio", "knative"]
Strategy = Literal["canary", "blue-green", "ab"]
TlsVersion = Literal["1.2", "1.3"]
Percent = Annotated[int, Meta(ge=0, le=100)]
Step = Annotated[int, Meta(ge=1, le=100)]
DnsLabel = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        extra_json_schema={"patternErrorMessage": 'expected at most 63 lower-case letters, digits and "-" (not first or last)'},
    ),
]
Host = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)+$",
        extra_json_schema={"patternErrorMessage": 'expected a host name such as "iris.example.com"'},
    ),
]
Gateway = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        extra_json_schema={"patternErrorMessage": 'expected NAMESPACE/NAME such as "knative-serving/knative-ingress-gateway"'},
    ),
]
Whole = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class TextMatch(Block, frozen=True):
    """One of: the whole text, its beginning, a regular expression (RE2, of the whole text)."""

    exact: Annotated[str, Meta(description="The whole text.")] | UnsetType = UNSET
    prefix: Annotated[str, Meta(description="Its beginning.")] | UnsetType = UNSET
    regex: Annotated[str, Meta(description="A regular expression of the whole text.")] | UnsetType = UNSET


class CookieMatch(Block, frozen=True):
    """A cookie with this value."""

    name: Annotated[str, Meta(description="Name of the cookie.")]
    value: Annotated[str, Meta(description="Its whole value.")]


class SourceMatch(Block, frozen=True):
    """Callers within the mesh: their pods' namespace and labels, as their own sidecar knows them."""

    namespace: Annotated[DnsLabel, Meta(description="Namespace of the caller's pod.")] | UnsetType = UNSET
    labels: Annotated[dict[str, str], Meta(description="Labels of the caller's pod.")] = {}


class Match(Block, frozen=True):
    """Requests that fulfil all conditions here; of several matches one is enough."""

    headers: Annotated[dict[str, TextMatch], Meta(description="By a header's name in lower case.")] = {}
    cookie: Annotated[CookieMatch, Meta(description="One cookie.")] | UnsetType = UNSET
    query: Annotated[dict[str, TextMatch], Meta(description="By a query parameter's name.")] = {}
    source: Annotated[SourceMatch, Meta(description="The caller's pod; needs its sidecar.")] | UnsetType = UNSET


class Variant(Block, frozen=True, kw_only=True):
    """One of the revisions that are compared."""

    name: Annotated[DnsLabel, Meta(description="Tag of the revision, and the first part of its host.")]
    revision: Annotated[str, Meta(description="A revision that exists; none: the one that is rendered from this file.")] = ""
    weight: Annotated[Percent, Meta(description="Percent of the requests that no match decides.")] = 0
    match: Annotated[list[Match], Meta(description="Requests that always go here; the first variant that matches wins.")] = []


class Tls(Block, frozen=True, kw_only=True):
    """TLS of a Gateway of the function's own."""

    secret: Annotated[str, Meta(min_length=1, description="Secret with the certificate, in the ingress gateway's namespace.")]
    mutual: Annotated[bool, Meta(description="Ask for the client's certificate; the Secret holds its CA, too.")] = False
    redirect: Annotated[bool, Meta(description="Answer http:// with a redirection to https://; false: only https://.")] = True
    min_version: Annotated[TlsVersion, Meta(description="Oldest version of TLS.")] = "1.2"


class Connections(Block, frozen=True):
    """Bounds of what the gateway, or a caller's sidecar, opens to the function; past them it answers 503."""

    max_connections: Annotated[Whole, Meta(description="Connections of HTTP/1.1.")] | UnsetType = UNSET
    max_pending: Annotated[Whole, Meta(description="Requests that wait for a connection.")] | UnsetType = UNSET
    max_requests: Annotated[Whole, Meta(description="Requests in flight over HTTP/2.")] | UnsetType = UNSET
    max_requests_per_connection: Annotated[Whole, Meta(description="Then the connection is closed.")] | UnsetType = UNSET
    connect_timeout_s: Annotated[Seconds, Meta(description="Longest time to connect.")] | UnsetType = UNSET
    idle_timeout_s: Annotated[Seconds, Meta(description="An idle connection is closed after this.")] | UnsetType = UNSET


class Outliers(Block, frozen=True):
    """A pod that keeps failing gets no requests for a while; only with `mode: raw`."""

    consecutive_errors: Annotated[Whole, Meta(description="5xx in a row after which a pod is left out.")] = 5
    interval_s: Annotated[Seconds, Meta(description="Time between two looks.")] = 10.0
    ejection_s: Annotated[Seconds, Meta(description="How long a pod is left out, times how often it was.")] = 30.0
    max_percent: Annotated[Step, Meta(description="Most pods that are left out at once.")] = 50


class Traffic(Block, frozen=True):
    """How a new revision gets its requests; absent: a new revision gets all of them."""

    via: Annotated[
        Via, Meta(description="A VirtualService with a host of its own, or the traffic block of the Knative Service.")
    ] = "istio"
    strategy: Annotated[Strategy, Meta(description="By steps; all or nothing with a preview; or variants side by side.")] = (
        "canary"
    )
    steps: Annotated[
        list[Step],
        Meta(
            min_length=1,
            description="Percents that a canary goes through; the last is 100.",
            extra_json_schema={"default": [5, 25, 50, 100]},
        ),
    ] = field(default_factory=lambda: [5, 25, 50, 100])
    interval_s: Annotated[Seconds, Meta(description="Least time of a step, or of a comparison.")] = 60.0
    warm: Annotated[Pods, Meta(description="Pods that each revision keeps while it is rolled out.")] = 1
    promotion: (
        Annotated[Promotion, Meta(description="Whether the last word is a person's; manual by default for blue-green.")]
        | UnsetType
    ) = UNSET
    keep_s: Annotated[Seconds, Meta(description="How long blue/green keeps the old revision after the switch.")] = 300.0
    propagation_s: Annotated[
        float, Meta(ge=0, le=600, description="Until all gateways know a change, before what they knew is removed.")
    ] = 5.0
    analysis: Annotated[Analysis, Meta(description="What a new revision must keep to.")] = Analysis()
    variants: Annotated[list[Variant], Meta(description="The revisions of an A/B or A/B/N test.")] = []
    hosts: Annotated[list[Host], Meta(description="Public names; `live-NAME.NAMESPACE.DOMAIN` by default.")] = []
    preview_host: Annotated[Host, Meta(description="Name at which blue/green shows the new revision.")] | UnsetType = UNSET
    gateways: Annotated[list[Gateway], Meta(description="Istio Gateways, NAMESPACE/NAME; Knative's own by default.")] = []
    gateway_selector: Annotated[
        dict[str, str],
        Meta(description="Labels of the ingress gateway's pods.", extra_json_schema={"default": {"istio": "ingressgateway"}}),
    ] = {}
    gateway_namespace: Annotated[DnsLabel, Meta(description="Namespace of the ingress gateway's pods.")] = "istio-system"
    tls: Annotated[Tls, Meta(description="TLS for the hosts, by a Gateway of the function's own.")] | UnsetType = UNSET
    timeout_s: (
        Annotated[Seconds, Meta(description="Longest time from request to answer's end, cold start included; none: no bound.")]
        | UnsetType
    ) = UNSET
    connections: Annotated[Connections, Meta(description="Bounds of connections and requests.")] | UnsetType = UNSET
    outliers: Annotated[Outliers, Meta(description="Leaving out pods that fail.")] | UnsetType = UNSET
