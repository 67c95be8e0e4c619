"""Rules for the `inference` block: where the model may be, what is safe to open, times and sizes that fit together."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from posixpath import normpath

from msgspec import UNSET

from kfunc.config.explain import NEED_ROWS
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.inference import PINNED, ModelSource
from kfunc.config.inference_block import Inference
from kfunc.config.locations import claim, file_path
from kfunc.config.logger import MEMORY, SHARED_MEMORY_BYTES, intake_bytes
from kfunc.config.model_addresses import KINDS, AddressFault, is_remote, parse_address
from kfunc.config.names import is_subdomain
from kfunc.config.residency import PICTURES, shape_fits
from kfunc.config.suggest import for_choice

URI = ("inference", "model", "uri")
PICKLES = (".pkl", ".pickle", ".joblib")
ENGINES = (".engine", ".plan")
LEAST_HANG_S = 1.0
CALLS_IN_SPOOL = 4


def model_is_in_reach(function: Function) -> Iterator[Finding]:
    """A file or folder: relative ones travel with the function, so they are within its folder."""
    inference = function.inference
    if inference.server is not UNSET and is_remote(inference.model.uri):
        return  # the server finds its model by itself
    yield from _in_reach(inference.model.uri, URI)
    for number, model in enumerate(inference.models):
        yield from _in_reach(model.uri, ("inference", "models", number, "uri"))


def _in_reach(uri: str, where: FieldPath) -> Iterator[Finding]:
    if not uri.isprintable() or uri != uri.strip():
        yield Finding(where, f"expected a path without control characters and outer spaces, found {show_text(uri)}")
    elif on_claim := claim(uri):
        yield from _claim_is_named(where, *on_claim)
    elif is_remote(uri):
        try:
            parse_address(uri)
        except AddressFault as fault:
            yield Finding(where, fault.message, fault.suggestion)
    elif (scheme := uri.partition(":")[0]) in KINDS and uri != scheme:
        yield Finding(where, f'an address of {scheme}: has "//" after it', f"write it as {KINDS[scheme].example}")
    elif (path := file_path(uri)) is None:
        yield Finding(where, "a file: URI names no other machine", 'write "file:///PATH"')
    elif not path.isprintable():
        yield Finding(where, f"expected a path without control characters, found {show_text(path)}")
    elif path.startswith("~") or "$" in path:
        yield Finding(where, '"~" and "$" are not replaced in a path', "write the path out")
    elif "\\" in path:
        yield Finding(where, 'a path has "/" between its parts', f"did you mean {show_text(path.replace(chr(92), '/'))}?")
    elif not path.startswith("/") and normpath(path).split("/")[0] == "..":
        message = "the path leaves the function's folder, and only that is in the image"
        yield Finding(where, message, "move the model into the folder")


def spool_is_in_reach(function: Function) -> Iterator[Finding]:
    """A folder, or a claim and a folder of it."""
    logger = function.inference.logger
    if logger is not UNSET and logger.spool is not UNSET and (on_claim := claim(logger.spool)):
        yield from _claim_is_named(("inference", "logger", "spool"), *on_claim)


def _claim_is_named(where: FieldPath, name: str, path: str) -> Iterator[Finding]:
    if not is_subdomain(name):
        yield Finding(where, f'expected "pvc://CLAIM/PATH" with the name of a claim, found {show_text(name)}')
    if ".." in path.split("/") or "//" in path or path.startswith("/") or not path.isprintable():
        yield Finding(where, f"expected a path within the claim, found {show_text(path)}", 'write it without ".." and "//"')


def code_is_trusted(function: Function) -> Iterator[Finding]:
    """Opening a pickle or an engine runs whatever is in it, so that it needs both consent and identity."""
    for model, where in _sources(function):
        yield from _trusted(model, where)


def _sources(function: Function) -> Iterator[tuple[ModelSource, FieldPath]]:
    """All models, each with its place in func.yaml."""
    yield function.inference.model, ("inference", "model")
    for number, model in enumerate(function.inference.models):
        yield model, ("inference", "models", number)


def _trusted(model: ModelSource, where: FieldPath) -> Iterator[Finding]:
    if model.trust and model.digest is UNSET:
        message, suggestion = (
            "trust needs the digest of the file or folder",
            "add digest: sha256:… (`sha256sum FILE` prints it; of a folder: docs/runtimes.md)",
        )
        yield Finding((*where, "trust"), message, suggestion, at_key=True)
    if model.uri.lower().endswith(PICKLES) and not model.trust:
        suggestion = "save it as skops or ONNX, or add trust: true and digest: sha256:…"
        yield Finding((*where, "uri"), "a pickle can run any code when it is opened", suggestion)
    if model.uri.lower().endswith(ENGINES) and not model.trust:
        suggestion = "serve the ONNX model that it was built from, or add trust: true and digest: sha256:…"
        yield Finding((*where, "uri"), "an engine of TensorRT is native code, which is run when it is opened", suggestion)


def models_have_names(function: Function) -> Iterator[Finding]:
    """Each model that is listed has a name of its own."""
    inference = function.inference
    taken = {function.name if inference.model.name is UNSET else inference.model.name}
    for number, model in enumerate(inference.models):
        where: FieldPath = ("inference", "models", number)
        if model.name is UNSET:
            yield Finding(where, "a model of the list needs a name", "add name: …, which stands in its URLs")
        elif model.name in taken:
            yield Finding((*where, "name"), f"another model is called {show_text(model.name)}", "give each a name of its own")
        else:
            taken.add(model.name)


def versions_can_change(function: Function) -> Iterator[Finding]:
    """A digest names one version: nothing new can be found under the URI."""
    for model, where in _sources(function):
        if model.refresh_s and model.digest is not UNSET:
            yield Finding((*where, "refresh_s"), "with a digest there is no other version", "remove one of them", at_key=True)


def _travels(file: str, where: FieldPath) -> Iterator[Finding]:
    if file.startswith(("/", "~")) or normpath(file).split("/")[0] == "..":
        message = "the file leaves the function's folder, and only that is in the image"
        yield Finding(where, message, "move the file into the folder")


def explanations_have_their_rows(function: Function) -> Iterator[Finding]:
    """The file of usual rows is named where the method needs one, and travels with the function."""
    explain, where = function.inference.explain, ("inference", "explain")
    if explain is UNSET:
        return
    if explain.method in NEED_ROWS and not explain.background:
        yield Finding((*where, "method"), f"{explain.method} needs usual rows", "add background: FILE.npy, or .csv")
    yield from _travels(explain.background, (*where, "background"))


def warm_ups_travel(function: Function) -> Iterator[Finding]:
    """A request that is asked before the model is ready travels with the function."""
    for model, where in _sources(function):
        yield from _travels(model.warmup.file, (*where, "warmup", "file"))


def warm_ups_meet_the_signature(function: Function) -> Iterator[Finding]:
    """Shapes of a warm-up are those of the inputs that func.yaml declares, or so many pictures.

    Of other inputs the handler sees it when it loads the model.
    """
    for model, source in _sources(function):
        pictures = [PICTURES] if takes_pictures(function.inference, model) else []
        declared = {each.name: each.shape for each in model.signature.inputs}
        for name, shape in model.warmup.shapes.items():
            where, wanted = (*source, "warmup", "shapes", name), declared.get(name)
            if declared and wanted is None:
                suggestion = for_choice(name, tuple(declared)) or f"the inputs are {', '.join(declared)}"
                yield Finding(where, "model.signature has no such input", suggestion, at_key=True)
            elif wanted is not None and not any(shape_fits(shape, each) for each in (wanted, *pictures)):
                yield Finding(where, f"expected the shape of model.signature, {wanted} (-1: any size), found {shape}")


def takes_pictures(inference: Inference, model: ModelSource) -> bool:
    """Whether the model gets pictures as numbers: the default one does, and those that are chosen by size."""
    images = inference.images
    return images is not UNSET and (model is inference.model or any(each.model == model.name for each in images.choose))


def pictures_are_whole(function: Function) -> Iterator[Finding]:
    """Models that are chosen are there, the smaller pictures' first; a file of labels travels with the function."""
    images, where = function.inference.images, ("inference", "images")
    if images is UNSET:
        return
    yield from _travels(images.labels, (*where, "labels"))
    for number, (before, choice) in enumerate(pairwise(images.choose)):
        if choice.max_side <= before.max_side:
            yield Finding(
                (*where, "choose", number + 1, "max_side"),
                f"expected more than {before.max_side}, the bound before it, found {choice.max_side}",
                "list the smallest first",
            )
    for name in ("mean", "std"):
        values = getattr(images, name)
        if len(values) not in (0, 1, 1 if images.color == "gray" else 3) or (name == "std" and 0 in values):
            yield Finding((*where, name), "expected one number for all channels, or one for each; of std none is 0")


def memory_is_for_several(function: Function) -> Iterator[Finding]:
    """What is loaded on demand is loaded once, in one process."""
    inference = function.inference
    if inference.residency is not UNSET and inference.workers > 1:
        message = "with residency each worker process would hold models of its own"
        yield Finding(("inference", "residency"), message, "remove workers, and let the cluster scale pods", at_key=True)


def pinned_models_fit(function: Function) -> Iterator[Finding]:
    """What never leaves memory has its place there, and where there are other models so has one of them."""
    inference, where = function.inference, ("inference", "residency")
    if inference.residency is UNSET:
        return
    pinned, most = inference.residency.pinned, inference.residency.max_models
    for number, name in enumerate(pinned):
        if name in pinned[:number]:
            yield Finding((*where, "pinned", number), f"{show_text(name)} is already in the list", "remove it")
    staying = len(set(pinned))
    least = staying + (1 + len(inference.models) > staying)  # each entry brings one model at least
    if pinned and most and least > most:
        others = "" if least == staying else ", and the others need a place"
        yield Finding((*where, "max_models"), f"{staying} models are pinned{others}: expected at least {least}, found {most}")


UNSERVED_WAYS = {
    "mxnet": (
        "MXNet is not maintained any more, and kfunc does not serve its models",
        "write the model as ONNX where MXNet is (mxnet.onnx.export_model), and name that file",
    ),
    "spark": (
        "a model of Spark needs Spark, which no container starts for a request",
        "write it as PMML or ONNX where it was trained (docs/convert.md), and name that file",
    ),
}


def runtimes_are_served(function: Function) -> Iterator[Finding]:
    """What kfunc knows and does not serve, with the way to what it serves; a version is said once."""
    for model, source in _sources(function):
        where = (*source, "runtime")
        name, _, version = model.runtime.partition(PINNED)
        if name in UNSERVED_WAYS:
            yield Finding(where, *UNSERVED_WAYS[name])
        elif model.runtime_version and name == "auto":
            yield Finding(where, "a version needs a runtime: auto may choose any", "name the runtime, as onnx")
        elif version and model.runtime_version:
            yield Finding(where, "runtime_version says a version too", "remove one of them")


def protocols_are_single(function: Function) -> Iterator[Finding]:
    """Each protocol once."""
    for number, protocol in enumerate(function.inference.protocols):
        if protocol in function.inference.protocols[:number]:
            yield Finding(("inference", "protocols", number), f"{show_text(protocol)} is already in the list", "remove it")


def grpc_needs_v2(function: Function) -> Iterator[Finding]:
    """A call of gRPC travels through the pod as a V2 request."""
    protocols = function.inference.protocols
    if "grpc" in protocols and "v2" not in protocols:
        yield Finding(("inference", "protocols", protocols.index("grpc")), "grpc needs v2", "add v2")


def times_fit_together(function: Function) -> Iterator[Finding]:
    """Waiting for a batch is part of the time for an answer; a hang is longer than a slow call."""
    inference = function.inference
    if inference.hang_timeout_s < LEAST_HANG_S:
        message = f"expected at least {LEAST_HANG_S:g}, found {inference.hang_timeout_s:g}"
        yield Finding(("inference", "hang_timeout_s"), message, "a slow call or a busy machine is no hang")
    if inference.batcher is not UNSET and inference.batcher.max_latency_ms >= inference.timeout_s * 1000:
        message = f"expected less than timeout_s ({inference.timeout_s:g} s), found {inference.batcher.max_latency_ms:g} ms"
        yield Finding(("inference", "batcher", "max_latency_ms"), message)


def calls_fit_into_the_spool(function: Function) -> Iterator[Finding]:
    """Some calls with the longest bodies that are kept must fit, or they are dropped whenever they come."""
    logger = function.inference.logger
    if logger is not UNSET and logger.spool_max_bytes < (least := CALLS_IN_SPOOL * 2 * logger.max_body_bytes):
        message = f"expected at least {CALLS_IN_SPOOL * 2} times max_body_bytes, {least}, found {logger.spool_max_bytes}"
        yield Finding(("inference", "logger", "spool_max_bytes"), message)


def memory_holds_the_spool(function: Function) -> Iterator[Finding]:
    """A spool in memory is small, and on no disk."""
    logger, where = function.inference.logger, ("inference", "logger")
    if logger is UNSET or logger.spool != MEMORY:
        return
    if logger.spool_sync:
        yield Finding(
            (*where, "spool_sync"), "memory is no disk that events could be brought to", "use a claim: pvc://CLAIM/PATH"
        )
    if intake_bytes(logger) > SHARED_MEMORY_BYTES // 4:
        message = f"bodies of {logger.max_body_bytes} bytes are too long for a spool in memory"
        yield Finding((*where, "max_body_bytes"), message, "keep 2.5 MiB at most, or remove spool: memory")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    runtimes_are_served,
    model_is_in_reach,
    spool_is_in_reach,
    code_is_trusted,
    models_have_names,
    versions_can_change,
    memory_is_for_several,
    pinned_models_fit,
    warm_ups_travel,
    warm_ups_meet_the_signature,
    pictures_are_whole,
    explanations_have_their_rows,
    protocols_are_single,
    grpc_needs_v2,
    times_fit_together,
    calls_fit_into_the_spool,
    memory_holds_the_spool,
)
