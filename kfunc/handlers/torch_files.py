"""Opens what PyTorch writes: TorchScript, exported programs, weights for a class in handler.py.

Weights are mapped into memory where the format allows it.
"""

import inspect
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from msgspec import Struct

from kfunc.errors import ModelLoadError
from kfunc.handlers.nested_strings import TRUST
from kfunc.handlers.python import import_file, place_of
from kfunc.handlers.torch_archive import require_harmless
from kfunc.handlers.torch_signature import of_program, of_script, parameters
from kfunc.protocol.messages import TensorSpec

HANDLER = "handler.py"
ARGUMENTS = "config.json"
# What training loops put around a state dict.
WRAPPERS = ("state_dict", "model_state_dict", "model")


class Opened(Struct):
    """A model on the CPU: what to call, the names of its tensors, what is known of them, and the user's module if there is one.

    `shapes` are sizes of inputs that it takes for sure; `move` gives what to call on a device, instead of what it gave before.
    """

    call: Callable[..., Any]
    move: Callable[[torch.device], Callable[..., Any]]
    names: list[str]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    shapes: dict[str, list[int]] = {}
    user: ModuleType | None = None


def open_script(path: Path) -> Opened:
    """A TorchScript module. Raises ModelLoadError."""
    try:
        script = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        raise _unreadable(path, error) from None
    names = parameters(script)
    traced = of_script(path, names)
    inputs = [TensorSpec(spec.name, spec.datatype, [-1] * len(spec.shape)) for spec in traced]
    return Opened(script, script.to, names, inputs, [], {spec.name: list(spec.shape) for spec in traced})


def open_program(path: Path, *, trusted: bool) -> Opened:
    """An exported program. Raises ModelLoadError, before anything in it is run unless it is trusted."""
    if not trusted:
        require_harmless(path)
    try:
        program = torch.export.load(str(path)) if trusted else _load_program(path)
        module = program.module()
        inputs, outputs = of_program(program)
    except Exception as error:  # of many kinds, AssertionError among them
        raise _unreadable(path, error) from None
    shapes = {spec.name: [2 if size < 0 else size for size in spec.shape] for spec in inputs}  # 1 may be a case of its own

    def move(device: torch.device) -> Callable[..., Any]:
        if device.type == "cpu":
            on_cpu: Callable[..., Any] = module
            return on_cpu
        from torch.export.passes import move_to_device_pass

        moved: Callable[..., Any] = move_to_device_pass(program, device).module()
        return moved

    return Opened(module, move, [spec.name for spec in inputs], inputs, outputs, shapes)


def _load_program(path: Path) -> Any:
    """What torch.export.load gives, by the reader that `require_harmless` has looked with, and no other.

    torch.export.load goes on to read the file with zipfile where that one finds no program. An archive can be made that has
    other contents for zipfile: pickles, which it would open.
    """
    try:
        from torch.export.pt2_archive._package import load_pt2
    except ImportError:
        raise RuntimeError(f"torch {torch.__version__} may run what an exported program brings: install 2.8 or newer") from None
    programs = load_pt2(str(path)).exported_programs
    if "model" not in programs:
        raise RuntimeError("it holds no program")
    return programs["model"]


def open_weights(path: Path, *, trusted: bool) -> Opened:
    """The class derived from torch.nn.Module in the handler.py beside the weights, with them. Raises ModelLoadError."""
    weights = read_weights(path, trusted=trusted)
    file = path.parent / HANDLER
    if not file.is_file():
        raise ModelLoadError(f"{path}: holds weights without their model: put a {HANDLER} with its class beside it")
    try:
        user = import_file(file)
        kind = _class_of(user, file)
        network = _with_weights(kind, _arguments(path.parent), weights).eval()
    except ModelLoadError:
        raise
    except (Exception, SystemExit) as error:  # the user's own, and what load_state_dict says of names and shapes
        raise ModelLoadError(f"{place_of(error, file)}: {type(error).__name__}: {error}") from None
    names = list(inspect.signature(network.forward).parameters)
    inputs, outputs = (list(getattr(kind, name, getattr(user, name, ()))) for name in ("inputs", "outputs"))
    return Opened(network, network.to, names, inputs, outputs, user=user)


def read_weights(path: Path, *, trusted: bool) -> dict[str, torch.Tensor]:
    """Tensors by name, mapped into memory where the format allows it. Raises ModelLoadError."""
    if path.suffix.lower() == ".safetensors":
        return _read_safetensors(path)
    try:
        found = _load(path, weights_only=True)
    except pickle.UnpicklingError as error:
        if not trusted:
            what = next((line.strip() for line in str(error).splitlines() if "GLOBAL" in line), "it holds more than tensors")
            raise ModelLoadError(
                f"{path}: only weights are read, and opening the rest could run code: {what}; {TRUST}"
            ) from None
        found = _load(path, weights_only=False)
    if isinstance(found, torch.nn.Module):
        found = found.state_dict()
    for name in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not all(isinstance(each, torch.Tensor) for each in found.values()):
        raise ModelLoadError(f"{path}: holds no state dict: torch.save(model.state_dict(), FILE) writes one")
    return found


def _load(path: Path, *, weights_only: bool) -> Any:
    """Raises ModelLoadError, and UnpicklingError where there is more than weights."""
    for mapped in (True, False):  # torch.save before 1.6 wrote what cannot be mapped
        try:
            return torch.load(path, map_location="cpu", mmap=mapped, weights_only=weights_only)
        except Exception as error:  # of any kind, where a pickle's own code runs
            if weights_only and isinstance(error, pickle.UnpicklingError):
                raise
            if not mapped or "mmap" not in str(error):
                raise _unreadable(path, error) from None
    raise AssertionError(path)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        from kfunc.handlers.registry import how_to_install

        raise ModelLoadError(f"{path}: safetensors is not installed: {how_to_install('torch')}") from None
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _class_of(user: ModuleType, file: Path) -> "type[torch.nn.Module]":
    own = [each for each in vars(user).values() if inspect.isclass(each) and each.__module__ == user.__name__]
    networks = [each for each in own if issubclass(each, torch.nn.Module)]
    outer = [each for each in networks if each.__name__ in ("Model", "Net")] if len(networks) > 1 else networks
    if len(outer) != 1:
        names = ", ".join(each.__name__ for each in networks) or "none"
        raise ModelLoadError(f"{file}: one class derived from torch.nn.Module, or one named Model, is expected; found: {names}")
    kind: type[torch.nn.Module] = outer[0]
    return kind


def _arguments(folder: Path) -> dict[str, Any]:
    """What the class is made with: the object in config.json, if there is one."""
    file = folder / ARGUMENTS
    if not file.is_file():
        return {}
    try:
        arguments = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{file}: is not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ModelLoadError(f"{file}: an object with the arguments of the model's class is expected")
    return arguments


def _with_weights(
    kind: "type[torch.nn.Module]", arguments: dict[str, Any], weights: dict[str, torch.Tensor]
) -> "torch.nn.Module":
    """The network with the weights in the place of its own, for which no memory is taken where that can be avoided."""
    with torch.device("meta"):
        network = kind(**arguments)
    network.load_state_dict(weights, assign=True)
    if not any(each.is_meta for each in (*network.parameters(), *network.buffers())):
        return network
    network = kind(**arguments)  # it has buffers that are not among the weights
    network.load_state_dict(weights, assign=True)
    return network


def _unreadable(path: Path, error: Exception) -> ModelLoadError:
    lines = str(error).strip().splitlines()
    way = ""
    if isinstance(error, (AttributeError, ImportError)):  # what was pickled whole needs the modules it was made with
        way = f": save model.state_dict() instead, with the model's class in a {HANDLER} beside it"
    return ModelLoadError(f"{path}: torch cannot open it: {lines[0] if lines else type(error).__name__}{way}")
