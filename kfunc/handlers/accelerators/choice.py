"""Tries the accelerators of a selection until one passes its self-test, and says in one line why others did not."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from kfunc.errors import KfuncError, ModelLoadError
from kfunc.handlers.accelerators.facts import Facts
from kfunc.handlers.accelerators.memory import release_memory
from kfunc.handlers.accelerators.selection import CPU, Offer, select
from kfunc.handlers.contract import Choice

log = logging.getLogger("kfunc.model")
T = TypeVar("T")


def choose(
    wanted: str,
    offers: Sequence[Offer],
    facts: Facts,
    open_on: Callable[[str], T],
    test: Callable[[T], None] = lambda opened: None,
    runtime: str = "the runtime",
) -> tuple[T, Choice]:
    """What the last call of `open_on(accelerator)` has given: on the best one where the model opens and `test` passes.

    What it gave before is not used any more: it may have moved the one model that there is. Raises ModelLoadError: what was
    demanded cannot be used, or the model opens nowhere.
    """
    selection = select(wanted, offers, facts, runtime)
    passed, idle = list(selection.passed), selection.idle_gpu
    for accelerator in selection.candidates:
        try:
            opened = _opened(accelerator, offers, open_on, test)
        except Exception as error:  # each framework's own
            if accelerator == selection.candidates[-1]:
                raise _refused(accelerator, error) from None
            passed.append((accelerator, _reason(error)))
            idle = True
        else:
            why = "; ".join(f"{name}: {reason}" for name, reason in passed)
            if why and idle:
                log.warning("the model runs on %s: %s", accelerator, why)
            return opened, Choice(accelerator, _device(accelerator, offers, facts), why, bool(why) and idle)
        release_memory()  # the error is gone by now, and with it what it held
    raise ModelLoadError(f"{runtime} offers nothing to run the model on")


def _opened(accelerator: str, offers: Sequence[Offer], open_on: Callable[[str], T], test: Callable[[T], None]) -> T:
    """The model there, unless a first inference fails there alone. Raises what fails."""
    opened = open_on(accelerator)
    if accelerator != CPU and (reason := _failure(opened, test)):
        del opened  # and its memory, before the model is opened a second time
        if not _fails_on_cpu(offers, open_on, test):
            raise _Unfit(f"a first inference failed: {reason}")
        opened = open_on(accelerator)
    return opened


def _device(accelerator: str, offers: Sequence[Offer], facts: Facts) -> str:
    vendors = [offer.vendor for offer in offers if offer.accelerator == accelerator]
    return next((gpu.name for gpu in facts.gpus if gpu.vendor in vendors), "")


def _failure(opened: T, test: Callable[[T], None]) -> str:
    try:
        test(opened)
    except Exception as error:
        return _reason(error)
    return ""


def _fails_on_cpu(offers: Sequence[Offer], open_on: Callable[[str], T], test: Callable[[T], None]) -> bool:
    """Whether the same inference fails there too: then its input was not to the model's liking, and no device is at fault."""
    if all(offer.accelerator != CPU for offer in offers):
        return False
    try:
        return bool(_failure(open_on(CPU), test))
    except Exception:
        return True


class _Unfit(Exception):
    """The accelerator does not answer."""


def _refused(accelerator: str, error: Exception) -> Exception:
    if accelerator == CPU or isinstance(error, ModelLoadError):
        return error
    return ModelLoadError(f"accelerator {accelerator} cannot be used: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, KfuncError):
        return error.message
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
