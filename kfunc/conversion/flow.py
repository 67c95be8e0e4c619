"""The steps of a conversion: load, convert, lower, check, write. What each takes is told as it happens."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from kfunc.config.pod import PodConfig, PodModel
from kfunc.conversion.comparison import Difference, compare
from kfunc.conversion.converters import CONVERTERS, PACKAGES, WAYS
from kfunc.conversion.libraries import Libraries
from kfunc.conversion.precision import lowered
from kfunc.conversion.samples import DTYPES, random_sample, read_sample
from kfunc.errors import ModelLoadError, StartupError
from kfunc.handlers.contract import Handler
from kfunc.handlers.opening import load_here
from kfunc.handlers.registry import how_to_install

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

CHOSEN = ["predict", "predict_proba"]
OUTPUTS = {"sklearn": CHOSEN, "xgboost": CHOSEN, "lightgbm": CHOSEN}
EXTRAS = {"torch": "convert-torch", "tensorflow": "convert-tensorflow"}


class Wish(Struct, frozen=True):
    """What is to be converted, and how."""

    model: Path
    runtime: str
    target: Path
    sample: Path | None
    precision: str
    opset: int
    tolerance: float
    trust: bool


class Converted(Struct, frozen=True):
    """What came of it; the file is written where `good`."""

    target: Path
    good: bool
    differences: list[Difference]
    bytes_before: int
    bytes_after: int


class Steps:
    """Says each step when it begins, and how long it took; `libraries` keeps what others print meanwhile."""

    def __init__(self, say: Callable[[str], None], count: int, libraries: Libraries) -> None:
        self._say, self._count, self._number = say, count, 0
        self._libraries = libraries

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """One step."""
        self._number += 1
        began_at = time.monotonic()
        self._say(f"[{self._number}/{self._count}] {what} …")
        with self._libraries.kept():
            yield
        for note in self._libraries.take_notes():
            self._say(f"[{self._number}/{self._count}] {note}")
        self._say(f"[{self._number}/{self._count}] {what}: {time.monotonic() - began_at:.1f} s")


def convert(wish: Wish, say: Callable[[str], None], libraries: Libraries) -> Converted:
    """Do it. Raises StartupError and KfuncError for what cannot be converted or compared."""
    runtime = wish.runtime
    require_convertible(runtime, wish.precision)
    steps = Steps(say, 5 if wish.precision != "fp32" else 4, libraries)
    with steps.step(f"loading {wish.model} with {runtime}"):
        original = load(wish.model, runtime, wish.trust)
        sample = read_sample(wish.sample, original.inputs, original.columns) if wish.sample else random_sample(original.inputs)
    with steps.step(f"converting to ONNX (opset {wish.opset})"):
        model = _onnx(wish, original, sample)
    if wish.precision != "fp32":
        with steps.step(f"lowering to {wish.precision}"):
            model = lowered(model, wish.precision)
    content = _bytes(model)
    with tempfile.TemporaryDirectory(dir=wish.target.parent, prefix=".convert-") as folder:
        written = Path(folder) / "model.onnx"
        with steps.step("checking both on the same rows"):
            written.write_bytes(content)
            differences = compare(original.predict(dict(sample)), answer(written, sample))  # type: ignore[arg-type]
        good = all(each.within(wish.tolerance) for each in differences)
        with steps.step(f"writing {wish.target}" if good else "not writing it: the answers differ"):
            if good:
                os.replace(written, wish.target)
    before = wish.model.stat().st_size if wish.model.is_file() else 0
    return Converted(wish.target, good, differences, before, len(content))


def require_convertible(runtime: str, precision: str) -> None:
    """Raises StartupError that says the other way, or what is to be installed."""
    if runtime == "onnx" and precision != "fp32":
        needed: tuple[str, ...] = ("onnx",)
    elif runtime in CONVERTERS:
        needed = PACKAGES[runtime]
    else:
        raise StartupError(WAYS.get(runtime, f"a model of the runtime {runtime} is not converted: see docs/convert.md"))
    missing = [package for package in (*needed, "onnxruntime") if find_spec(package) is None]
    if missing:
        raise StartupError(f"kfunc convert needs {', '.join(missing)}: {how_to_install(EXTRAS.get(runtime, 'convert'))}")


def _onnx(wish: Wish, original: Handler, sample: "Arrays") -> Any:
    if wish.runtime == "onnx":
        import onnx

        return onnx.load(wish.model)
    try:
        return CONVERTERS[wish.runtime](original, sample, wish.opset)
    except StartupError:
        raise
    except Exception as error:  # each converter's own, of what it does not know
        reason = " ".join(str(error).split())[:400]
        raise StartupError(f"{wish.model}: cannot be converted: {type(error).__name__}: {reason}") from None


def _bytes(model: Any) -> bytes:
    try:
        content: bytes = model.SerializeToString()
    except Exception as error:  # protobuf's own, another one in each release
        raise StartupError(
            f"the converted model cannot be written as one file, which holds at most 2 GB ({error}): try --precision fp16"
        ) from None
    return content


def load(path: Path, runtime: str, trust: bool) -> Handler:
    """The model in this process, with what it can answer of labels and probabilities. Raises ModelLoadError."""
    digest = f"sha256:{sha256(path.read_bytes()).hexdigest()}" if trust and path.is_file() else None
    model = PodModel(uri=str(path), runtime=runtime, trust=trust, digest=digest)  # type: ignore[arg-type]
    config = PodConfig(model=model, accelerator="cpu")
    try:
        handler = load_here(config)
    except ModelLoadError as error:
        raise ModelLoadError(
            error.message.replace("set model.trust: true and model.digest", "convert it with --trust")
        ) from None
    if runtime in OUTPUTS and getattr(handler, "offered", None):
        wanted = [name for name in OUTPUTS[runtime] if name in handler.offered]  # type: ignore[attr-defined]
        if wanted != [spec.name for spec in handler.outputs]:
            handler = load_here(replace(config, model=replace(model, outputs=wanted)))
    return handler


def answer(path: Path, sample: "Arrays") -> "Arrays":
    """What the converted model says of the same rows, given as it takes them."""
    config = PodConfig(model=PodModel(uri=str(path), runtime="onnx"), accelerator="cpu")
    converted = load_here(config)
    given = dict(sample)
    if len(converted.inputs) == 1 and len(given) == 1:
        given = {converted.inputs[0].name: next(iter(given.values()))}
    elif len(given) == 1:  # a matrix of columns that the converted model takes one by one
        matrix = next(iter(given.values()))
        given = {spec.name: matrix[:, number] for number, spec in enumerate(converted.inputs)}
    arrays: Arrays = {}
    for spec in converted.inputs:
        array = given[spec.name]
        array = array.reshape(-1, 1) if array.ndim == 1 and len(spec.shape) == 2 else array
        arrays[spec.name] = array.astype(DTYPES[spec.datatype]) if spec.datatype in DTYPES else array
    return converted.predict(arrays)  # type: ignore[return-value]
