"""An accelerator that is asked for of a runtime that has none."""

import logging

import pytest

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.demand import OWN_CODE, PROCESSOR_ONLY, require_usable
from kfunc.handlers.accelerators.facts import Facts, Gpu

NONE = Facts(absent={"nvidia": "no NVIDIA GPU here"})
ONE = Facts((Gpu("nvidia", "H100"),))


@pytest.mark.parametrize("runtime", PROCESSOR_ONLY)
@pytest.mark.parametrize(("facts", "reason"), [(NONE, "no NVIDIA GPU here; the runtime"), (ONE, "the runtime")])
def test_a_runtime_of_the_processor_is_refused_it(runtime: str, facts: Facts, reason: str) -> None:
    with pytest.raises(
        ModelLoadError, match=f"^accelerator cuda is not available: {reason} {runtime} computes on the processor"
    ):
        require_usable("cuda", runtime, facts)


@pytest.mark.parametrize("runtime", OWN_CODE)
def test_the_log_says_that_own_code_decides(runtime: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        require_usable("cuda", runtime, NONE)
    assert "accelerator cuda: what the model runs on is left to its own code" in caplog.text


def test_a_runtime_that_chooses_is_not_judged_here(caplog: pytest.LogCaptureFixture) -> None:
    require_usable("cuda", "onnx", NONE)
    assert not caplog.text
