"""What all tests share: on CI a skipped test is a failed one, unless it needs an accelerator."""

import os
from collections.abc import Generator
from typing import TypeVar

import pytest

ON_CI = os.environ.get("CI") == "true"

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def fail_if_skipped(report: Report) -> Report:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    expected_failure = hasattr(report, "wasxfail")
    if ON_CI and report.skipped and not expected_failure and "accelerator" not in reason:
        report.outcome = "failed"
        report.longrepr = f"nothing but a missing accelerator may skip a test on CI, and this was: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return fail_if_skipped((yield))
