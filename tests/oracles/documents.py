"""func.yaml files with traffic, access, egress, raw mode and monitoring, as hypothesis makes them.

Most values are good; some are of people who err, and some of attackers. Nothing here knows the rules.
"""

from typing import Any

from hypothesis import strategies as st

HOSTILE = [
    "", " ", "a b", "a\nb: c", "'", '"', "$(PORT)", "{{ a }}", "!!int 1", "*", "a*b", "é", "日本", "\u2028",
    "x" * 64, "x" * 300, "-a", "a-", "A", "1", "1.2.3.4", "~", "null", "a..b", "%", "a/b", "../a", "#", "\\",
    "(", "[a-", "(?=a)", "a{1001}", "\t",
]  # fmt: skip
ODD = 30
"""One value in so many is none of the good ones."""
JWKS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'


def mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Good ones, but for one in thirty."""
    return st.integers(1, ODD).flatmap(lambda number: odd if number == ODD else good)


def text(*good: str) -> st.SearchStrategy[Any]:
    """One of these, mostly."""
    return mostly(st.sampled_from(good), st.sampled_from(HOSTILE) | st.text(max_size=8))


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of these keys."""
    return st.fixed_dictionaries({}, optional=fields)


def few(of: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, max_size=most)


def whole(*odd: int, low: int = 1, high: int = 100) -> st.SearchStrategy[Any]:
    """An integer, mostly between the bounds."""
    return mostly(st.integers(low, high), st.sampled_from((0, -1, 2**31, *odd)))


seconds = mostly(st.sampled_from([0.001, 0.25, 1, 86_400]) | st.floats(0.001, 3600), st.sampled_from([0.0001, 0, 90_000]))
labels = st.dictionaries(text("app", "example.com/team", "istio"), text("ml", "ingressgateway", ""), max_size=2)
compared = st.one_of(
    *(st.fixed_dictionaries({kind: text("beta", "v1")}) for kind in ("exact", "prefix")),
    st.fixed_dictionaries({"regex": text("[0-9]+", "a|b", "(?i)x.*", r"\d{1,3}\.", "^a$", "[]a]", "a**", r"\1", "(?P<n>a)")}),
    st.just({}),
)
match = some(
    headers=st.dictionaries(text("x-team", "user-agent", "cookie", "X-Team"), compared, max_size=2),
    cookie=st.fixed_dictionaries({"name": text("group", "a.b"), "value": text("b", "a.b+c", "")}),
    query=st.dictionaries(text("v", "a b"), compared, max_size=2),
    source=some(namespace=text("web"), labels=labels),
)
hosts = text(
    "iris.example.org", "a.b", "live-iris.default.example.com", "a.svc.cluster.local", "a.1", "iris.default.example.com"
)
tls = st.fixed_dictionaries(
    {"secret": text("iris-tls", "a.b")},
    optional={"mutual": st.booleans(), "redirect": st.booleans(), "min_version": st.sampled_from(["1.2", "1.3"])},
)
bounds = some(
    max_connections=whole(),
    max_pending=whole(),
    max_requests=whole(),
    max_requests_per_connection=whole(),
    connect_timeout_s=seconds,
    idle_timeout_s=seconds,
)
outliers = some(consecutive_errors=whole(), interval_s=seconds, ejection_s=seconds, max_percent=whole(101))
surroundings = {
    "hosts": st.lists(hosts, max_size=2, unique=True),
    "gateway_selector": labels,
    "gateway_namespace": text("istio-system", "gateways"),
    "timeout_s": mostly(st.floats(60, 600), seconds),
    "connections": bounds,
    "outliers": outliers,
}
entries = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"tls": tls}),
    st.fixed_dictionaries({"gateways": few(text("knative-serving/knative-ingress-gateway", "a/b"))}),
)


@st.composite
def variants(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Mostly weights that add up, and one variant without a revision."""
    count = draw(st.integers(1, 4))
    made = []
    for number in range(count):
        weight = draw(st.sampled_from([100 // count if number else 100 - 100 // count * (count - 1)] * 20 + [0, 101]))
        variant = {"name": draw(text("abcd"[number], "abcd"[number], "a")), "weight": weight}
        if number or draw(st.integers(0, 9)) == 0:
            variant["revision"] = draw(text(f"iris-{number}"))
        if draw(st.booleans()):
            variant["match"] = draw(few(match))
        made.append(variant)
    return made


steps = mostly(st.sampled_from([[5, 50, 100], [100]]), st.sampled_from([[50], [], [5, 5, 100]]))
own: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "canary": some(steps=steps),
    "blue-green": some(preview_host=hosts),
    "ab": st.fixed_dictionaries({"variants": variants()}),
}
by_istio = st.sampled_from(list(own)).flatmap(
    lambda strategy: st.builds(
        lambda *parts: {"strategy": strategy, **{key: value for part in parts for key, value in part.items()}},
        some(**surroundings),
        entries,
        own[strategy],
    )
)
by_knative = some(via=st.just("knative"), strategy=st.sampled_from(["canary", "blue-green"]))
traffic = mostly(by_istio, by_knative)
jwks_uris = mostly(
    st.sampled_from(["https://auth.example.com/keys", "http://a:80/b?c=d", "http://[::1]/a"]),
    st.sampled_from(["ftp://a", "https://", "https://a:b", "https://u:p@a", "https://a b", "https://a/%zz", "https://[a]/"]),
)
key_sets = mostly(st.just(JWKS), st.sampled_from(["{}", "[]", "a", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AA"}]}']))
keys = st.one_of(
    *(st.fixed_dictionaries({name: how}) for name, how in (("jwks_uri", jwks_uris), ("jwks", key_sets))), st.just({})
)
issuers = text("https://auth.example.com", "https://b.example.com")
jwt = st.builds(
    lambda issuer, told, rest: {"issuer": issuer, **told, **rest},
    issuers,
    keys,
    some(audiences=few(text("iris", "https://a.b/c")), header=text("x-token"), query=text("token")),
)
paths = few(text("/v2/*", "*/infer", "/metrics", "*", "/v2/models/iris"))
gateway_access = st.fixed_dictionaries(
    {"jwt": st.lists(jwt, min_size=1, max_size=2, unique_by=lambda one: str(one["issuer"]))},
    optional={
        "subjects": few(text("team-*", "*@example.com", "me")),
        "claims": st.dictionaries(
            text("groups", "a.b", "https://a.b/c"), st.lists(text("ml", "a*"), min_size=1, max_size=2), max_size=2
        ),
        "paths": paths,
        "public_paths": paths,
    },
)
pod_access = st.builds(
    lambda token, peer: token | peer | {"at": "pod"},
    mostly(gateway_access, st.just({})),
    some(
        principals=few(text("cluster.local/ns/web/sa/shop", "*/sa/shop", "*")),
        namespaces=few(text("web", "a")),
        strict_mtls=st.booleans(),
    ),
)
access = gateway_access | pod_access
egress_hosts = ("s3.example.com", "*.example.com", "otel.observability.svc.cluster.local", "a.default.svc.cluster.local")
protocols = st.sampled_from(["https", "http", "http2", "grpc", "tls", "tcp"])
egress_host = st.fixed_dictionaries(
    {"host": text(*egress_hosts)}, optional={"port": whole(65_536, low=443, high=9000), "protocol": protocols}
)
egress = few(egress_host, 3)
targets = mostly(st.sampled_from([1, 10, 0.5, 1e12]), st.sampled_from([0.0001, 0]))
login = some(authentication=text("kafka-login"))
trigger = st.one_of(
    *(
        st.builds(lambda told, rest, kind=kind: {"kind": kind, **told, **rest}, st.fixed_dictionaries(told), login)
        for kind, told in {
            "prometheus": {"target": targets, "address": text("http://prometheus:9090"), "query": text("sum(up)")},
            "kafka": {
                "target": targets,
                "address": text("kafka:9092", "kafka-0.a:9092,b:9092"),
                "topic": text("flowers"),
                "group": text("iris"),
            },
            "nats": {
                "target": targets,
                "address": text("nats:8222"),
                "topic": text("a"),
                "group": text("b"),
                "account": text("A"),
            },
            "rabbitmq": {"target": targets, "address": text("amqp://rabbitmq:5672/vhost"), "topic": text("flowers")},
        }.items()
    )
)
metric = st.fixed_dictionaries(
    {"name": text("kfunc_p99_seconds", "a:b", "c"), "target": targets},
    optional={"kind": st.sampled_from(["pods", "external"])},
)
scalers = st.one_of(
    st.fixed_dictionaries({"triggers": few(trigger)}),
    st.fixed_dictionaries({"metrics": few(metric)}),
    some(autoscaler=st.sampled_from(["auto", "hpa", "keda", "none"])),
)
raw = st.builds(
    dict.__or__,
    scalers,
    some(
        cpu=whole(1001),
        cooldown_s=whole(86_401),
        drain_s=whole(301),
        max_unavailable=whole(101),
        zones=st.booleans(),
    ),
)
monitoring = some(
    interval_s=whole(),
    labels=labels,
    dashboard_labels=labels,
    alerts=some(p99_ms=st.floats(0.1, 1e6), error_ratio=st.floats(0.0001, 1), cold_start_s=seconds, queue_ratio=st.just(0.5)),
)


@st.composite
def functions(draw: st.DrawFn, mode: str) -> dict[str, Any]:
    """A whole file."""
    inference: dict[str, Any] = {"model": {"uri": "model.onnx"}, "mode": mode}
    blocks = {"traffic": traffic, "access": access, "egress": egress, "monitoring": monitoring, "raw": raw}
    blocks |= {"batcher": st.just({}), "logger": st.just({}), "protocols": st.sampled_from([["v2"], ["v1", "v2"]])}
    for name, block in blocks.items():
        if draw(st.booleans()):
            inference[name] = draw(block)
    if draw(st.integers(0, 9)) == 0:
        inference["visibility"] = "cluster-local"
    name = draw(st.sampled_from(["iris"] * 20 + ["a", "x" * 52, "x" * 53, "x" * 54, "x" * 63]))
    scale = draw(some(min=whole(low=0, high=5), max=whole(low=5, high=20)))
    document: dict[str, Any] = {"name": name, "image": "example.com/iris", "inference": inference}
    document["deploy"] = {"options": {"scale": scale}}
    if draw(st.booleans()):
        document["domain"] = draw(text("example.org", "a"))
    return document
