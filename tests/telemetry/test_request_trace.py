"""A request's trace in one process: who is its parent, what those behind are told, when it has no spans."""

import json

import pytest

from kfunc.errors import KfuncError
from kfunc.grpc.asked import Asked
from kfunc.grpc.front import STREAMS
from kfunc.http.exchange import Exchange
from kfunc.http.proxy import forwarded_head
from kfunc.protocol.grpc.methods import METHODS
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.otlp import Span, attributes
from kfunc.telemetry.request_trace import NoDetails, Traced, event_parent
from kfunc.telemetry.requests import RequestRecorder
from kfunc.telemetry.sampling import Sampler, ratio_sampler
from kfunc.telemetry.span_names import MAX_KNOWN, SpanNames, name
from kfunc.telemetry.trace_context import Parent

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
KEPT, NOT_KEPT = b"00-%b-%b-01" % (TRACE, SPAN), b"00-%b-%b-00" % (TRACE, SPAN)
INFER = b"/v2/models/iris/infer"


class Nobody:
    """A transmitter that nothing is written to."""

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        """Nothing."""


class Answers:
    """An application that answers with a status, and remembers what it was handed."""

    stream_above = 64

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.observed: list[Exchange] = []

    def handle(self, exchange: Exchange) -> None:
        exchange.note = self
        if self.status >= 500:
            exchange.fail(KfuncError("broken"))
        else:
            exchange.respond(self.status)

    def observe(self, exchange: Exchange) -> None:
        self.observed.append(exchange)


class Spans:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.all: list[Span] = []

    def add(self, span: Span) -> None:
        self.all.append(span)


def exchange_of(headers: dict[bytes, bytes], method: bytes = b"POST", target: bytes = INFER, body: bytes = b"") -> Exchange:
    exchange = Exchange(Nobody(), method, target, list(headers.items()), headers, True)  # type: ignore[arg-type]
    exchange.body, exchange.complete = body, True
    return exchange


def passed(exchange: Exchange, sampler: Sampler, *, status: int = 200, declares: bool = False) -> list[Span]:
    """The spans of a request that has passed."""
    spans, application = Spans(), Answers(status)
    recorder = RequestRecorder(Metrics("x"), access_log=False)
    traced = Traced(application, sampler, spans, NoDetails(), recorder, declares=declares)
    traced.handle(exchange)
    traced.observe(exchange)
    traced.observe(exchange)
    assert application.observed == [exchange, exchange]
    return spans.all


ALL, NONE = ratio_sampler(1.0, by_parent=True), ratio_sampler(0.0, by_parent=True)


def test_a_callers_span_is_the_parent_and_the_own_one_that_of_those_behind() -> None:
    exchange = exchange_of({b"traceparent": KEPT, b"tracestate": b"a=b"})
    (span,) = passed(exchange, ALL)
    assert (span.trace_id, span.parent_id, span.state, span.remote) == (TRACE, SPAN, b"a=b", True)
    assert exchange.headers[b"traceparent"] == b"00-%b-%b-01" % (TRACE, span.span_id)
    assert b"traceparent: %b\r\ntracestate: a=b\r\n" % exchange.headers[b"traceparent"] in forwarded_head(exchange)
    assert forwarded_head(exchange).count(b"traceparent") == 1


def test_heads_that_requests_share_stay_as_they_are() -> None:
    shared = {b"traceparent": KEPT, b"host": b"a"}
    fields = list(shared.items())
    exchange = exchange_of(shared)
    exchange.header_list = fields
    passed(exchange, ALL)
    assert (shared[b"traceparent"], fields) == (KEPT, [(b"traceparent", KEPT), (b"host", b"a")])


@pytest.mark.parametrize("given", [b"", b"nonsense", b"00-%b-%b-01" % (b"0" * 32, SPAN)])
def test_a_trace_begins_here_where_the_callers_is_missing_or_wrong(given: bytes) -> None:
    exchange = exchange_of({b"traceparent": given, b"tracestate": b"a=b"} if given else {})
    (span,) = passed(exchange, ALL)
    assert (span.parent_id, span.state) == (b"", b"")
    assert b"tracestate" not in exchange.headers
    assert exchange.headers[b"traceparent"].startswith(b"00-%b-" % span.trace_id)


@pytest.mark.parametrize("headers", [{}, {b"traceparent": NOT_KEPT}])
def test_a_request_that_is_not_kept_passes_untouched(headers: dict[bytes, bytes]) -> None:
    exchange = exchange_of(headers)
    assert passed(exchange, NONE) == []
    assert exchange.headers is headers
    assert exchange.trace is None


def test_those_behind_are_told_what_a_sampler_decides_against_the_caller() -> None:
    exchange = exchange_of({b"traceparent": KEPT})
    assert passed(exchange, ratio_sampler(0.0, by_parent=False)) == []
    assert exchange.headers[b"traceparent"] == NOT_KEPT


def test_those_behind_are_told_what_a_sampler_decides_against_an_event() -> None:
    exchange = exchange_of({b"ce-traceparent": KEPT, b"ce-tracestate": b"a=b"})
    assert passed(exchange, ratio_sampler(0.0, by_parent=False)) == []
    assert (exchange.headers[b"traceparent"], exchange.headers[b"tracestate"]) == (NOT_KEPT, b"a=b")
    assert passed(exchange, ratio_sampler(0.0, by_parent=True)) == []


@pytest.mark.parametrize("headers", [{}, {b"traceparent": b"nonsense"}])
def test_somebody_elses_server_is_told_that_a_new_trace_is_not_kept(headers: dict[bytes, bytes]) -> None:
    exchange = exchange_of(headers)
    assert passed(exchange, NONE, declares=True) == []
    assert exchange.headers[b"traceparent"].endswith(b"-00")


@pytest.mark.parametrize(
    ("method", "target"), [(b"GET", b"/v2/health/ready"), (b"HEAD", b"/v2/health/live"), (b"GET", b"/v2/models/iris/ready")]
)
def test_a_probe_has_no_span(method: bytes, target: bytes) -> None:
    assert passed(exchange_of({b"traceparent": KEPT}, method, target), ALL) == []


@pytest.mark.parametrize(("status", "error"), [(200, None), (404, None), (500, "broken")])
def test_a_failure_of_the_function_is_one_of_its_span(status: int, error: str | None) -> None:
    (span,) = passed(exchange_of({}), ALL, status=status)
    assert span.error == error


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({b"ce-traceparent": KEPT, b"ce-tracestate": b"a=b"}, b""),
        ({b"ce-traceparent": b'"%b"' % KEPT, b"ce-tracestate": b"a=b"}, b""),
        (
            {b"content-type": b"application/cloudevents+json; charset=utf-8"},
            json.dumps({"data": [1], "traceparent": KEPT.decode(), "tracestate": "a=b"}).encode(),
        ),
    ],
)
def test_an_event_brings_its_trace(headers: dict[bytes, bytes], body: bytes) -> None:
    assert event_parent(exchange_of(headers, body=body)) == Parent(TRACE, SPAN, True, b"a=b")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"traceparent": 7}', b'{"traceparent": "x"}', b"\xff", b"[" * 5000])
def test_an_event_that_cannot_be_read_brings_none(body: bytes) -> None:
    assert event_parent(exchange_of({b"content-type": b"application/cloudevents+json"}, body=body)) is None


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        (b"POST", INFER, "POST /v2/models/{model}/infer"),
        (b"POST", b"/v2/models/a/versions/2/infer?x=1", "POST /v2/models/{model}/versions/{version}/infer"),
        (b"POST", b"/v1/models/a:predict", "POST /v1/models/{model}:predict"),
        (b"POST", b"/v1/models/a/versions/3:predict", "POST /v1/models/{model}:predict"),
        (b"GET", b"/v2/models/a", "GET /v2/models/{model}"),
        (b"POST", b"/", "POST /"),
        (b"GET", b"/wp-login.php", "GET"),
        (b"GET", b"/v2/models/a/b/c/d", "GET"),
        (b"", b"", "HTTP"),
    ],
)
def test_names_are_few_and_say_the_route(method: bytes, target: bytes, expected: str) -> None:
    assert name(method, target, "1.1").name == expected


SERVED = ["/inference.GRPCInferenceService/ModelInfer", *METHODS, *STREAMS]


@pytest.mark.parametrize("path", SERVED)
def test_each_call_of_grpc_is_named_by_its_method(path: str) -> None:
    outer = exchange_of({}, target=path.encode())
    asked = Asked(outer, Nobody(), b"GET", b"/whatever", None)  # type: ignore[arg-type]
    named = SpanNames().of(asked)
    service, method = path[1:].split("/")
    assert named.name == path[1:]
    attribute = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    assert named.common == attributes(attribute)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/inference.GRPCInferenceService/ModelInfer", "inference.GRPCInferenceService/ModelInfer"),
        (b"/grpc.health.v1.Health/Check", "grpc.health.v1.Health/Check"),
        (b"/inference.GRPCInferenceService/NoSuchMethod", "grpc"),
    ],
)
def test_a_call_that_asked_for_nothing_is_named_by_its_own_path(target: bytes, expected: str) -> None:
    assert name(b"POST", b"", "2", target).name == expected


@pytest.mark.parametrize(("parent", "expected"), [(KEPT, [TRACE]), (NOT_KEPT, [])])
def test_a_request_that_was_refused_before_it_came_here_has_a_span(parent: bytes, expected: list[bytes]) -> None:
    spans, application = Spans(), Answers()
    recorder = RequestRecorder(Metrics("x"), access_log=False)
    traced = Traced(application, ratio_sampler(0.0, by_parent=True), spans, NoDetails(), recorder, declares=False)
    exchange = exchange_of({b"traceparent": parent})
    exchange.refused, exchange.status = True, 413
    traced.observe(exchange)
    traced.observe(exchange)
    assert [span.trace_id for span in spans.all] == expected
    assert application.observed == [exchange, exchange]


def test_what_is_remembered_of_paths_is_bounded() -> None:
    names = SpanNames()
    for number in range(2 * MAX_KNOWN):
        names.of(exchange_of({}, target=b"/v2/models/%d/infer" % number))
    assert len(names._known) == MAX_KNOWN
