"""What does not fit together in the `batcher` block: where it is said, and what to do."""

from collections.abc import Callable

import pytest

from kfunc.config.batcher import Batcher
from kfunc.config.batcher_faults import faults
from kfunc.errors import Problem

BATCHER = "inference: {model: {uri: m}, batcher: {%s}}\n"

# The text; then line, column, path, message and suggestion of its one problem.
CASES: list[tuple[str, int, int, str, str, str]] = [
    (BATCHER % "max_batch_size: 8, preferred_batch_sizes: [4, 16]", 1, 86, "inference.batcher.preferred_batch_sizes[1]",
     "expected at most max_batch_size, 8, found 16", "raise max_batch_size or remove it"),
    (BATCHER % "preferred_batch_sizes: [4, 4]", 1, 67, "inference.batcher.preferred_batch_sizes[1]", "4 is already in the list",
     "remove it"),
    (BATCHER % "max_batch_size: auto", 1, 56, "inference.batcher.max_batch_size", "auto needs the time that answers may take",
     "add target_p99_ms: …"),
    (BATCHER % "target_p99_ms: 20", 1, 55, "inference.batcher.target_p99_ms", "this is for max_batch_size: auto",
     "write max_batch_size: auto, or remove it"),
    (BATCHER % "max_batch_size: auto, target_p99_ms: 5", 1, 77, "inference.batcher.target_p99_ms",
     "expected more than max_latency_ms, 5, found 5", "lower max_latency_ms: waiting is part of the time"),
    (BATCHER % "max_batch_size: auto, target_p99_ms: 20, preferred_batch_sizes: [4]", 1, 104,
     "inference.batcher.preferred_batch_sizes", "max_batch_size: auto finds the size itself", "remove one of the two"),
    (BATCHER % "max_in_flight: 8, max_in_flight_total: 4", 1, 55, "inference.batcher.max_in_flight",
     "expected at most max_in_flight_total, 4, found 8", "raise max_in_flight_total or lower it"),
    (BATCHER % "max_queue_bytes: 2000, max_body_bytes: 4000", 1, 79, "inference.batcher.max_body_bytes",
     "expected at most max_queue_bytes, 2000, found 4000", "raise max_queue_bytes or lower it"),
    (BATCHER % "default_priority: 4", 1, 58, "inference.batcher.default_priority",
     "expected at most priority_levels, 3, found 4", "1 is served first"),
    (BATCHER % "group_headers: [x-a, traceparent]", 1, 61, "inference.batcher.group_headers[1]",
     '"traceparent" says nothing of what is asked', "remove it"),
    (BATCHER % "group_headers: [x-a, x-a]", 1, 61, "inference.batcher.group_headers[1]", '"x-a" is already in the list',
     "remove it"),
    ("inference: {model: {uri: m}, limits: {max_body_bytes: 9000}, batcher: {max_body_bytes: 10000}}\n", 1, 88,
     "inference.batcher.max_body_bytes", "expected at most limits.max_body_bytes, 9000, found 10000",
     "raise limits.max_body_bytes or lower it"),
    ("inference: {model: {uri: m}, protocols: [v1], batcher: {pad: {}}}\n", 1, 62, "inference.batcher.pad",
     "only V2 requests are filled up, and v2 is not in protocols", "add v2, or remove it"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "path", "message", "suggestion"), CASES, ids=[f"{case[3]} {case[4]}" for case in CASES]
)
def test_what_does_not_fit_together_is_told_with_place_path_and_what_to_do(
    problems_of: Callable[[str], list[Problem]], text: str, line: int, column: int, path: str, message: str, suggestion: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.line, problem.column, problem.path, problem.message) == (line, column, path, message)
    assert problem.suggestion == suggestion


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "max_batch_size: 8, preferred_batch_sizes: [8, 4]",
        "max_batch_size: auto, target_p99_ms: 20",
        "priority_levels: 1",
        "group_headers: [x-tenant, host]",
        "pad: {}",
    ],
)
def test_what_fits_together_is_no_problem(problems_of: Callable[[str], list[Problem]], settings: str) -> None:
    assert problems_of(BATCHER % settings) == []


def test_a_sidecar_with_only_variables_is_told_the_same() -> None:
    assert [path for path, _, _ in faults(Batcher(max_batch_size="auto"))] == [("max_batch_size",)]
