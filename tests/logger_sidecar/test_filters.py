"""What is logged: the same share of traces everywhere, patterns of paths and models, fields that are allowed."""

import pytest

from kfunc.config.logger import Logger
from kfunc.logger_sidecar.filters import Filter, is_sampled, kept_headers, trace_of

TRACE = b"0af7651916cd43dd8448eb211c80319c"


def test_all_calls_of_a_trace_are_in_the_sample_or_none() -> None:
    parents = [b"00-%b-%016x-0%d" % (TRACE, span, span % 2) for span in range(50)]
    assert {trace_of({b"traceparent": parent}, b"own") for parent in parents} == {TRACE}


@pytest.mark.parametrize("parent", [b"", b"nonsense", b"00-" + TRACE, b"00-" + TRACE.upper() + b"-b7ad6b7169203331-01"])
def test_without_a_trace_the_requests_id_decides(parent: bytes) -> None:
    assert trace_of({b"traceparent": parent}, b"own") == b"own"


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("form", [b"%032x", b"abcdef-%x", b"%d"])
def test_the_share_is_kept_also_of_ids_that_are_counted(share: float, form: bytes) -> None:
    taken = sum(is_sampled(form % number, share) for number in range(20_000))
    assert abs(taken / 20_000 - share) <= 0.01


def test_a_smaller_sample_is_a_part_of_a_larger_one() -> None:
    ids = [b"%d" % number for number in range(1000)]
    small = {each for each in ids if is_sampled(each, 0.1)}
    assert small < {each for each in ids if is_sampled(each, 0.3)}


@pytest.mark.parametrize(
    ("settings", "target", "logged"),
    [
        ({}, b"/v2/models/a/infer", True),
        ({}, b"/v2/models/a/ready", False),
        ({"models": ["a"]}, b"/v1/models/a:predict", True),
        ({"models": ["b", "c*"]}, b"/v2/models/cat/versions/1/infer", True),
        ({"models": ["b"]}, b"/v2/models/a/infer", False),
        ({"paths": ["/v2/models/a/*"]}, b"/v2/models/%61/infer", True),
        ({"paths": ["/v2/models/[ab]/infer"]}, b"/v2/models/c/infer", False),
        ({"models": ["own"]}, b"/openai/v1/chat/completions", True),
    ],
)
def test_patterns_say_which_paths_and_models(settings: dict[str, list[str]], target: bytes, logged: bool) -> None:
    one = Filter(Logger(**settings), "own")  # type: ignore[arg-type]
    assert [one.is_logged(target, {}), one.is_logged(target, {})] == [logged, logged]


def test_an_event_for_the_function_is_of_its_own_model() -> None:
    fields = {b"ce-specversion": b"1.0"}
    assert Filter(Logger(models=["own"]), "own").is_logged(b"/", fields)
    assert not Filter(Logger(models=["other"]), "own").is_logged(b"/", fields)
    assert not Filter(Logger(), "own").is_logged(b"/", {})


def test_only_fields_that_are_allowed_are_kept() -> None:
    fields = {b"x-user": b"ann \xe4", b"authorization": b"secret"}
    assert kept_headers(fields, [b"x-user", b"x-other"]) == '{"x-user":"ann ä"}'.encode()
    assert kept_headers(fields, [b"x-other"]) == b""
