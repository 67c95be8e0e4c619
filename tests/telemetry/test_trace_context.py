"""W3C Trace Context: what is read, what is ignored, and which traces are kept."""

import pytest

from kfunc.telemetry.sampling import new_span_id, new_trace_id, ratio_sampler
from kfunc.telemetry.trace_context import Parent, read_parent, traceparent

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (b"00-%b-%b-01" % (TRACE, SPAN), True),
        (b"00-%b-%b-00" % (TRACE, SPAN), False),
        (b"00-%b-%b-03" % (TRACE, SPAN), True),
        (b"cc-%b-%b-01" % (TRACE, SPAN), True),
        (b"cc-%b-%b-01-what-comes-later" % (TRACE, SPAN), True),
    ],
)
def test_a_traceparent_is_read(value: bytes, sampled: bool) -> None:
    assert read_parent(value) == Parent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00-%b-%b" % (TRACE, SPAN),
        b"00-%b-%b-01-more" % (TRACE, SPAN),
        b"ff-%b-%b-01" % (TRACE, SPAN),
        b"00-%b-%b-01" % (TRACE.upper(), SPAN),
        b"00-%b-%b-01" % (b"0" * 32, SPAN),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-0g" % (TRACE, SPAN),
        b"00-%b-%b-01, 00-%b-%b-01" % (TRACE, SPAN, TRACE, SPAN),
        b"0-%b-%b-01" % (TRACE, SPAN),
    ],
)
def test_a_wrong_one_is_ignored(value: bytes) -> None:
    assert read_parent(value) is None


def test_what_is_written_is_read() -> None:
    trace, span = new_trace_id(), new_span_id()
    assert read_parent(traceparent(trace, span)) == Parent(trace, span, sampled=True)
    assert read_parent(traceparent(trace, span, sampled=False)) == Parent(trace, span, sampled=False)


def test_a_child_is_kept_where_its_parent_is() -> None:
    sample = ratio_sampler(0.0, by_parent=True)
    assert sample(Parent(TRACE, SPAN, sampled=True)) == Parent(TRACE, SPAN, sampled=True)
    assert sample(Parent(TRACE, SPAN, sampled=False)) is None
    assert sample(None) is None


def test_about_the_ratio_of_new_traces_is_kept() -> None:
    sample = ratio_sampler(0.25, by_parent=True)
    kept = sum(sample(None) is not None for _ in range(4000))
    assert 800 < kept < 1200
    assert all(ratio_sampler(1.0, by_parent=True)(None) for _ in range(100))


def test_without_the_parent_the_traces_id_decides_as_everywhere() -> None:
    sample = ratio_sampler(0.5, by_parent=False)
    low, high = Parent(b"f" * 16 + b"0" * 16, SPAN, False), Parent(b"0" * 16 + b"f" * 16, SPAN, True)
    assert (sample(low), sample(high)) == (low, None)
