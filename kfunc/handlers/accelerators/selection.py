"""What a runtime can use and what the machine has → the accelerators to try, best first, and why others are not tried. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from kfunc.errors import ModelLoadError
from kfunc.handlers.accelerators.facts import Facts, Version, show, version_of

CPU = "cpu"
# The first drivers of each major version of CUDA, which run every minor version of it (CUDA Compatibility, Minor Version
# Compatibility).
LEAST_DRIVERS: dict[int, Version] = {11: (450, 80), 12: (525, 60), 13: (580, 65)}


class Offer(Struct, frozen=True):
    """What a runtime can use as it is installed; the first of a list is the fastest.

    `cuda` is what it is built for, `capabilities` the compute capabilities that it has code for; `unavailable` is the
    runtime's own reason against it. One with `only_asked` is not taken by `auto`.
    """

    accelerator: str
    vendor: str = ""
    cuda: Version | None = None
    capabilities: tuple[Version, ...] = ()
    unavailable: str = ""
    only_asked: bool = False


class Selection(Struct, frozen=True):
    """The accelerators to try, best first; those passed over, with the reason; whether a GPU of the machine is left idle."""

    candidates: tuple[str, ...]
    passed: tuple[tuple[str, str], ...] = ()
    idle_gpu: bool = False


def select(wanted: str, offers: Sequence[Offer], facts: Facts, runtime: str) -> Selection:
    """What to try for `accelerator: wanted`. Raises ModelLoadError where the demanded one cannot be used."""
    if wanted == "auto":
        candidates, passed = [], []
        for offer in offers:
            if offer.only_asked:
                continue
            reason = objection(offer, facts)
            if reason:
                passed.append((offer.accelerator, reason))
            else:
                candidates.append(offer.accelerator)
        on_gpu = any(offer.vendor for offer in offers if offer.accelerator in candidates)
        return Selection(tuple(candidates), tuple(passed), bool(facts.gpus) and not on_gpu)
    demanded = next((each for each in offers if each.accelerator == wanted), None)
    if demanded is None:
        known = ", ".join(each.accelerator for each in offers)
        raise ModelLoadError(f"accelerator {wanted} is not available: {runtime} as it is installed offers {known}")
    if reason := objection(demanded, facts):
        raise ModelLoadError(f"accelerator {wanted} is not available: {reason}; accelerator: auto would take what there is")
    return Selection((wanted,))


def objection(offer: Offer, facts: Facts) -> str:
    """Why an offer cannot work on this machine; empty where it may."""
    if offer.vendor and not facts.of(offer.vendor):
        return facts.absent.get(offer.vendor, f"no GPU of {offer.vendor} here")  # type: ignore[call-overload, no-any-return]
    if offer.unavailable or not offer.vendor:
        return offer.unavailable
    old = _old_driver(offer.cuda, facts) if offer.cuda is not None and not facts.compat else ""
    return old or (_unknown_gpu(offer.capabilities, facts) if offer.capabilities else "")


def _old_driver(built_for: Version, facts: Facts) -> str:
    driver = version_of(facts.driver)
    least = LEAST_DRIVERS.get(built_for[0])
    if driver is not None and least is not None and driver < least:
        return f"it is built for CUDA {show(built_for)}, which needs driver {show(least)} or newer, and {facts.driver} is here"
    if least is None and facts.cuda is not None and facts.cuda[0] < built_for[0]:
        return f"it is built for CUDA {show(built_for)}, and driver {facts.driver} runs at most CUDA {show(facts.cuda)}"
    return ""


def _unknown_gpu(built_for: tuple[Version, ...], facts: Facts) -> str:
    """Code for a capability runs on GPUs of the same major version and a minor one that is not smaller."""
    gpu = facts.of("nvidia")[0]
    if gpu.capability is None or any(gpu.capability[0] == each[0] and gpu.capability >= each for each in built_for):
        return ""
    if gpu.capability > max(built_for):
        return ""  # newer than all: the driver may compile the intermediate code, and the self-test tells
    has = f"{show(min(built_for))} to {show(max(built_for))}"
    return f"{gpu.name} has compute capability {show(gpu.capability)}, and it is built for {has}"
