"""What each installed runtime would run on here, without a model: for `kfunc doctor`."""

from collections.abc import Callable, Sequence
from importlib import import_module

from msgspec import Struct
from msgspec.structs import replace

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.demand import require_usable
from kfunc.handlers.accelerators.facts import Facts
from kfunc.handlers.accelerators.probe import facts
from kfunc.handlers.accelerators.selection import Offer, select
from kfunc.handlers.registry import RUNTIMES, missing_packages

# Runtime → the function that gives its offers; importing it imports the framework, which takes seconds.
OFFERS = {
    "onnx": "kfunc.handlers.onnx_providers:offered",
    "torch": "kfunc.handlers.torch_devices:offers",
    "huggingface": "kfunc.handlers.torch_devices:offers",
    "tensorflow": "kfunc.handlers.tensorflow:offers",
    "openvino": "kfunc.handlers.openvino:offered",
    "paddle": "kfunc.handlers.paddle:offers",
}


class Survey(Struct, frozen=True):
    """One runtime: the accelerators that `auto` would try, best first, and why not the others. `fault`: it cannot be asked."""

    runtime: str
    candidates: tuple[str, ...] = ()
    passed: tuple[tuple[str, str], ...] = ()
    fault: str = ""


def offers_of(runtime: str) -> Sequence[Offer]:
    """What a runtime can use as it is installed; imports it."""
    module, _, name = OFFERS[runtime].partition(":")
    get: Callable[[], Sequence[Offer]] = getattr(import_module(module), name)
    return get()


def installed() -> list[str]:
    """The runtimes with accelerators whose packages are here."""
    return [runtime for runtime in OFFERS if runtime in RUNTIMES and not missing_packages(runtime)]


def refusal(
    runtime: str,
    wanted: str,
    found: Facts | None = None,
    offers: Callable[[str], Sequence[Offer]] = offers_of,
) -> str:
    """Why a runtime cannot have `accelerator: wanted` here, as it would say itself; empty where it may. Imports it."""
    here = facts() if found is None else found
    try:
        require_usable(wanted, runtime, here)
        if runtime not in OFFERS or runtime == wanted == "openvino":
            return ""
        select(wanted, [_where_asked(each, wanted) for each in offers(runtime)], here, runtime)
    except ModelLoadError as error:
        return error.message
    except Exception as error:  # as in `survey`
        return f"it cannot be imported: {(str(error).strip().splitlines() or [type(error).__name__])[0]}"
    return ""


def _where_asked(offer: Offer, wanted: str) -> Offer:
    """OpenVINO computes on Intel's processors as well, where it is asked for."""
    return replace(offer, vendor="") if offer.accelerator == wanted == "openvino" else offer


def survey(
    runtimes: Sequence[str] | None = None,
    found: Facts | None = None,
    offers: Callable[[str], Sequence[Offer]] = offers_of,
) -> list[Survey]:
    """Each of the `runtimes`, by default of those that are installed, on this machine or one with the facts `found`."""
    here = facts() if found is None else found
    surveys = []
    for runtime in installed() if runtimes is None else runtimes:
        try:
            selection = select("auto", offers(runtime), here, runtime)
        except Exception as error:  # a framework that does not import has its own reasons
            lines = str(error).strip().splitlines() or [type(error).__name__]
            surveys.append(Survey(runtime, fault=f"it cannot be imported: {lines[0]}"))
        else:
            surveys.append(Survey(runtime, selection.candidates, selection.passed))
    return surveys
