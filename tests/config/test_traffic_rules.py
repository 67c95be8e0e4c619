"""The rules for traffic, access, egress, raw mode and monitoring: what each says, and where."""

import pytest

from kfunc.config.load import read_function
from kfunc.config.re2 import escape, is_re2
from kfunc.config.source import parse_source
from kfunc.errors import ConfigError, Problem

HEAD = "name: iris\ndomain: example.org\ninference:\n  model: {uri: m}\n"
KEY = '{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}'
TWO = "strategy: ab, variants: [{name: a, revision: r, weight: 50}, {name: b, weight: 50%s}]"

# The fifth line; then its column, the path below inference, the message and the suggestion of the one problem.
CASES: list[tuple[str, int, str, str, str]] = [
    # What a strategy needs.
    ("traffic: {steps: [5, 5, 100]}", 20, "traffic.steps",
     "expected percents that grow to 100, found [5, 5, 100]", "such as [5, 25"),
    ("traffic: {steps: [5, 50]}", 20, "traffic.steps", "expected percents that grow to 100, found [5, 50]", "such as [5, 25"),
    ("traffic: {strategy: blue-green, steps: [100]}", 35, "traffic.steps",
     "steps belongs to strategy: canary, and the strategy is blue-green", "remove it, or write strategy: canary"),
    ("traffic: {preview_host: a.b}", 13, "traffic.preview_host",
     "preview_host belongs to strategy: blue-green, and the strategy is canary", "remove it, or write strategy: blue-green"),
    ("traffic: {variants: [{name: a, weight: 100}]}", 13, "traffic.variants",
     "variants belongs to strategy: ab, and the strategy is canary", "remove it, or write strategy: ab"),
    ("traffic: {strategy: ab}", 12, "traffic", "strategy: ab compares at least two variants", "add variants: "),
    ("traffic: {strategy: ab, variants: [{name: a, revision: r, weight: 50}, {name: b, weight: 40}]}", 37, "traffic.variants",
     "the weights add up to 90, not to 100", "change a weight"),
    ("traffic: {strategy: ab, variants: [{name: a, revision: r, weight: 50}, {name: a, weight: 50}]}", 74,
     "traffic.variants[1]", 'the name "a" is already in entry [0]', "change its name"),
    ("traffic: {strategy: ab, variants: [{name: a, weight: 50}, {name: b, weight: 50}]}", 61, "traffic.variants[1]",
     "the revision of this file (no revision) is already in entry [0]", "change its revision"),
    ("traffic: {strategy: ab, variants: [{name: a, revision: r, weight: 50}, {name: b, revision: s, weight: 50}]}", 37,
     "traffic.variants", "none of the variants is the revision of this file", "leave out the revision of one"),
    ("traffic: {strategy: ab, variants: [{name: live, revision: r, weight: 50}, {name: b, weight: 50}]}", 45,
     "traffic.variants[0].name", "live is the name of a host of kfunc's own", "use another name"),
    ("traffic: {strategy: ab, variants: [{name: 1a, revision: r, weight: 50}, {name: b, weight: 50}]}", 45,
     "traffic.variants[0].name", 'expected a letter first, found "1a"', ""),
    # What needs Istio.
    ("traffic: {via: knative, hosts: [a.b]}", 27, "traffic.hosts", "hosts needs Istio, and via is knative",
     "remove it, or write via: istio"),
    ("traffic: {via: knative, " + TWO % ", match: [{cookie: {name: a, value: b}}]" + "}", 110,
     "traffic.variants[1].match", "a Knative Service has weights only: a match needs Istio", "remove it, or write via: istio"),
    ("traffic: {via: knative}\n  mode: raw", 18, "traffic.via",
     "with mode: raw there is no Knative Service", "write via: istio"),
    # Hosts and gateways.
    ("traffic: {hosts: [iris.default.example.org]}", 21, "traffic.hosts[0]",
     '"iris.default.example.org" is a name that Knative gives the function', "use another name"),
    ("traffic: {hosts: [a.b, a.b]}", 26, "traffic.hosts[1]", '"a.b" is already a host', "remove it"),
    ("traffic: {hosts: [a.b.svc.cluster.local]}", 21, "traffic.hosts[0]",
     "this is a name within the cluster", "remove it: live-"),
    ("traffic: {hosts: [10.0.0.1]}", 21, "traffic.hosts[0]",
     'expected a host name such as "iris.example.com", found "10.0.0.1"', ""),
    ("traffic: {gateways: [a/b, a/b]}", 29, "traffic.gateways[1]", '"a/b" is already in the list', "remove it"),
    ("traffic: {gateways: [a/b], tls: {secret: c}}", 30, "traffic.tls",
     "tls makes a Gateway of the function's own, and gateways names others", "keep one"),
    ("traffic: {tls: {secret: A}}", 27, "traffic.tls.secret", 'expected a Secret\'s name, found "A"', ""),
    ("traffic: {gateway_selector: {a b: c}}", 32, 'traffic.gateway_selector["a b"]', "expected a label key such as", ""),
    ("visibility: cluster-local\n  traffic: {hosts: [a.b]}", 0, "traffic.hosts",
     "hosts is for callers from outside, and visibility is cluster-local", "remove it, or write visibility: public"),
    # Times and bounds.
    ("traffic: {timeout_s: 5}", 24, "traffic.timeout_s",
     "expected at least inference.timeout_s, 60, found 5", "a cold start takes"),
    ("traffic: {timeout_s: 0.0001}", 24, "traffic.timeout_s", "expected at least 0.001, found 0.0001", ""),
    ("traffic: {connections: {}}", 26, "traffic.connections", "there is no bound in it", "add max_connections: …"),
    # How it is rolled out.
    ("traffic: {interval_s: 3600}", 0, "traffic.analysis.max_step_s",
     "expected at least inference.traffic.interval_s, 3600, found 1800", "a step takes that long"),
    ("traffic: {keep_s: 60}", 13, "traffic.keep_s", "keep_s belongs to strategy: blue-green", "remove it, or write"),
    ("traffic: {promotion: auto, " + TWO % "" + "}", 13, "traffic.promotion", "a comparison is never promoted by itself",
     "remove it"),
    ("traffic: {analysis: {prometheus: 'ftp://a'}}", 36, "traffic.analysis.prometheus",
     'expected http://HOST:PORT or service:NAMESPACE/NAME:PORT, found "ftp://a"', "such as service:"),
    ("traffic: {analysis: {queries: [{name: a, query: 'a{r=\"$revision\"}', max: 1}]}}", 24, "traffic.analysis.queries",
     "there is nobody to ask", "add prometheus: …"),
    ("traffic: {analysis: {prometheus: 'http://a', queries: [{name: a, query: '$revision'}]}}", 58,
     "traffic.analysis.queries[0]", '"a" has no bound', "add max: …"),
    ("traffic: {analysis: {prometheus: 'http://a', queries: [{name: a, query: 'up', max: 1}]}}", 75,
     "traffic.analysis.queries[0].query", "without $revision every revision gets the same value", "such as sum("),
    ("traffic: {analysis: {prometheus: 'http://a', queries: [{name: a, query: '$revision', max: 1, min: 2}]}}", 101,
     "traffic.analysis.queries[0].min", "expected at most max, 1, found 2", ""),
    ("traffic: {analysis: {p99_ms: 3000000}}", 32, "traffic.analysis.p99_ms", "300000", ""),
    ("traffic: {steps: [100], analysis: {p99_over_stable: 2}}", 38, "traffic.analysis.p99_over_stable",
     "p99_over_stable compares two revisions, and with steps: [100] the stable one has no requests", "remove it, or"),
    ("traffic: {warm: 3}\ndeploy: {options: {scale: {max: 2}}}", 19, "traffic.warm",
     "expected at most deploy.options.scale.max, 2, found 3", "raise max or lower warm"),
    # Matches.
    ("traffic: {" + TWO % ", match: [{}]" + "}", 104, "traffic.variants[1].match[0]",
     "a match without a condition matches nothing", "add headers, cookie, query or source"),
    ("traffic: {" + TWO % ", match: [{headers: {X-A: {exact: b}}}]" + "}", 115, 'traffic.variants[1].match[0].headers.X-A',
     'expected a header\'s name in lower case, found "X-A"', 'did you mean "x-a"?'),
    ("traffic: {" + TWO % ", match: [{headers: {a: {}}}]" + "}", 118, "traffic.variants[1].match[0].headers.a",
     "expected one of exact, prefix, regex, found none", "such as"),
    ("traffic: {" + TWO % ", match: [{headers: {a: {regex: '(?=b)'}}}]" + "}", 126,
     "traffic.variants[1].match[0].headers.a.regex", "expected a regular expression of RE2", "it has no lookaround"),
    ("traffic: {" + TWO % ", match: [{cookie: {name: a, value: 'b;c'}}]" + "}", 130,
     "traffic.variants[1].match[0].cookie.value", "expected a cookie's value", ""),
    ("traffic: {" + TWO % ", match: [{source: {}}]" + "}", 113, "traffic.variants[1].match[0].source",
     "a source without namespace and labels is everybody", "add namespace: …"),
    # Access.
    ("access: {}", 3, "access", "nothing here keeps anybody out", "add jwt: "),
    ("access: {paths: [/a], subjects: [me]}", 25, "access.subjects", "subjects are those of a token", "add jwt: "),
    ("access: {principals: [a]}", 12, "access.principals", "a gateway does not know", "add at: pod"),
    ("access: {paths: [/a*b]}", 20, "access.paths[0]", '"*" stands for anything at the beginning or the end', ""),
    ("access: {paths: [a]}", 20, "access.paths[0]", 'expected a path such as "/v2/models/*", found "a"', ""),
    ("access: {jwt: [{issuer: own}]}", 27, "access.jwt[0].issuer", 'the keys of "own" cannot be discovered', "add jwks_uri: …"),
    ("access: {jwt: [{issuer: 'https://a', jwks_uri: 'ftp://a'}]}", 50, "access.jwt[0].jwks_uri", "expected a URL such as", ""),
    ("access: {jwt: [{issuer: own, jwks: '{}'}]}", 38, "access.jwt[0].jwks", "expected JSON such as", ""),
    ("access: {jwt: [{issuer: own, jwks: '{\"keys\": [{\"kty\": \"oct\", \"k\": \"AA\"}]}'}]}", 38, "access.jwt[0].jwks",
     "keys[0]: this is a private or a shared key", ""),
    (f"access: {{jwt: [{{issuer: own, jwks_uri: 'https://a', jwks: '{{\"keys\": [{KEY}]}}'}}]}}", 55, "access.jwt[0].jwks",
     "jwks_uri and jwks say the same", "keep one of them"),
    ("access: {jwt: [{issuer: 'https://a', header_prefix: b}]}", 40, "access.jwt[0].header_prefix",
     "a prefix needs the header that it stands in", "add header: …"),
    ("access: {jwt: [{issuer: 'https://a'}], claims: {b: []}}", 54, "access.claims.b",
     "expected at least one value", "add a value"),
    # Egress.
    ("egress: [{host: 1.2.3.4}]", 19, "egress[0].host", "expected a host name such as", ""),
    ("egress: [{host: '*.a.b', protocol: tcp}]", 38, "egress[0].protocol", "with tcp no name is said", "one of https, tls"),
    ("egress: [{host: a.b}, {host: a.b}]", 25, "egress[1]", 'port 443 of "a.b" is already in the list', "remove it"),
    ("egress: [{host: a.cluster.local}]", 19, "egress[0].host", "expected NAME.NAMESPACE.svc.cluster.local", ""),
    ("egress: []\n  logger: {sink: 'http://events.example.com/a'}", 0, "logger.sink",
     'inference.egress does not let the function call "events.example.com"', "add {host: events.example.com, port: "),
    ("egress: []\n  telemetry: {otlp_endpoint: 'http://otel.observability.svc:4318'}", 0, "telemetry.otlp_endpoint",
     'inference.egress does not let the function call "otel.observability.svc"', "add {host: otel.observability.svc"),
    # Raw mode and monitoring.
    ("monitoring: {}\n  server: {image: a/b, port: 9000}", 3, "monitoring", "nothing of kfunc's is in this pod",
     "add a logger or a batcher"),
    ("raw: {autoscaler: keda}", 21, "raw.autoscaler", "KEDA scales by triggers, and there is none", "add triggers: "),
    ("raw: {autoscaler: hpa, triggers: [{kind: prometheus, target: 1, address: 'http://a'}]}", 26, "raw.triggers",
     "triggers are KEDA's, and the autoscaler is hpa", "write autoscaler: keda"),
    ("raw: {autoscaler: none, metrics: [{name: a, target: 1}]}", 27, "raw.metrics",
     "metrics are the HorizontalPodAutoscaler's", "make them triggers"),
    ("raw: {autoscaler: none, cpu: 50}", 27, "raw.cpu",
     "cpu is the HorizontalPodAutoscaler's", "remove it"),
    ("raw: {triggers: [{kind: kafka, target: 1, address: 'a:1', topic: t}]}", 20, "raw.triggers[0]",
     "a trigger of kind kafka needs group", "add group: …"),
    ("raw: {triggers: [{kind: rabbitmq, target: 1, address: 'amqp://u:p@a', topic: t}]}", 57, "raw.triggers[0].address",
     "expected a URL without credentials", ""),
    ("raw: {metrics: [{name: a/b, target: 1}]}", 26, "raw.metrics[0].name", "expected a metric's name such as", ""),
    ("monitoring: {labels: {a: b c}}", 28, "monitoring.labels.a", "expected at most 63 letters", ""),
]  # fmt: skip


def problems(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as found:
        read_function(parse_source(text.encode()))
    return found.value.problems


@pytest.mark.parametrize(("line", "column", "path", "message", "suggestion"), CASES)
def test_a_rule_names_what_is_wrong_and_what_to_do(line: str, column: int, path: str, message: str, suggestion: str) -> None:
    (problem,) = problems(f"{HEAD}  {line}\n")
    assert problem.path == f"inference.{path}"
    assert (problem.line, problem.column) == (5, column) or not column
    assert message in problem.message
    assert suggestion in problem.suggestion


@pytest.mark.parametrize(
    "sink", ["broker:default", "http://a.b.example.com/", "http://events", "http://a.knative-eventing.svc.cluster.local/x"]
)
def test_what_egress_lets_out_can_be_a_sink(sink: str) -> None:
    read_function(parse_source(f"{HEAD}  egress: [{{host: '*.example.com'}}]\n  logger: {{sink: '{sink}'}}\n".encode()))


@pytest.mark.parametrize(("text", "readable"), [
    ("a|b", True), ("(?i)x.*", True), (r"\d{1,3}\.", True), ("[]a]", True), ("(?P<n>a)", True),
    ("", False), ("a" * 1025, False), ("(", False), ("a**", False), (r"\1", False), ("(?=a)", False), ("(x{100}){100}", False),
])  # fmt: skip
def test_expressions_that_envoy_reads(text: str, readable: bool) -> None:
    assert is_re2(text) == readable


def test_a_text_is_escaped_for_an_expression() -> None:
    assert escape("a.b+c=é") == r"a\.b\+c\=é"
    assert is_re2(escape("".join(map(chr, range(33, 127)))))
