"""The layers of one image: dependencies, kfunc itself, weights, code. What has been made before comes from the store."""

import hashlib
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

import kfunc
from kfunc.errors import BuildError, StartupError
from kfunc.images.bytecode import compiled, interpreter
from kfunc.images.layers import MEDIA_TYPES, Entry, Form, Layer, content_digest, write_layer
from kfunc.images.places import FUNCTION, LIBRARIES, MODELS
from kfunc.images.platforms import Platform, full_version
from kfunc.images.recipes import Libraries, Recipe
from kfunc.images.reporter import Reporter, megabytes
from kfunc.images.requirements import Needs, download, key, metadata
from kfunc.images.sbom import Weights
from kfunc.images.sources import Sources, check_holds, check_inside, models_only, whole_folder
from kfunc.images.store import Store
from kfunc.images.wheels import Package, parse_metadata, read_package, wheel_entries

FORMAT = 2
"""Raised when the same input gives other layers than before."""
BESIDE = {"__pycache__", "constraints"}
"""What kfunc's folder has here and no pod needs; only an installed kfunc has its constraints in it."""


class Kept(Struct, frozen=True):
    """A note of the store: a layer that was made before, and what it holds."""

    digest: str
    diff_id: str
    size: int
    packages: list[Package] = []


class Contents(Struct, frozen=True):
    """An image's own layers, and what they hold."""

    layers: list[Layer]
    packages: list[Package]
    weights: list[Weights]


class Maker:
    """Makes layers; one for all platforms of a build."""

    def __init__(self, recipe: Recipe, store: Store, reporter: Reporter, environ: Mapping[str, str], refresh: bool) -> None:
        self._recipe = recipe
        self._store = store
        self._reporter = reporter
        self._environ = environ
        self._refresh = refresh
        self._made: dict[str, list[Layer]] = {}
        self._weights: list[Weights] = []

    def contents(self, platform: Platform, python: str, release: str = "") -> Contents:
        """The layers for a platform and a minor version of Python, of which the base has that release. Raises BuildError."""
        layers: list[Layer] = []
        packages: list[Package] = []
        if self._recipe.libraries is not None:
            dependencies, packages = self._dependencies(self._recipe.libraries, platform, python, full_version(release, python))
            layers += [dependencies]
        if python not in self._made:  # these are the same on every platform
            self._made[python] = self._own(python)
        if self._recipe.libraries is not None:
            packages = [*packages, _own_package()]
        return Contents([*layers, *self._made[python]], packages, self._weights)

    def _own(self, python: str) -> list[Layer]:
        layers = []
        if self._recipe.libraries is not None:
            layers.append(self._layer("kfunc", kfunc_entries(), f"kfunc {kfunc.__version__}", python))
        if self._recipe.folder is not None:
            sources = sources_of(self._recipe)
            for note in sources.notes:
                self._reporter.say(f"note: {note}")
            known = _digests(sources.weights)
            self._weights = [Weights(path, digest) for path, digest in known.items()]
            if sources.weights:
                # Weights hardly get smaller by compression, and are unpacked faster without.
                layers.append(self._layer("weights", sources.weights, "weights", "", "plain", known))
            if sources.code:
                layers.append(self._layer("code", sources.code, "code", python))
        return layers

    def _layer(
        self,
        label: str,
        entries: list[Entry],
        created_by: str,
        python: str,
        form: Form = "gzip",
        known: dict[str, str] | None = None,
    ) -> Layer:
        known = _digests(entries) if known is None else known
        name = f"{label}-{FORMAT}-{_fingerprint(entries, known, interpreter(python) if python else '', python)}"
        layer = self._kept(name, created_by, form)
        if layer is None:
            layer = self._write(label, entries, created_by, python, form, known)
            self._store.note(name, Kept(layer.blob.digest, layer.diff_id, layer.blob.size))
        self._reporter.say(f"layer {label}: {megabytes(layer.blob.size)}")
        return layer

    def _kept(self, name: str, created_by: str, form: Form) -> Layer | None:
        """A layer that was made before from the same files."""
        kept = self._store.noted(name, Kept)
        blob = self._store.find(kept.digest, MEDIA_TYPES[form], kept.size) if kept else None
        return Layer(blob, kept.diff_id, created_by) if kept and blob else None

    def _write(
        self, label: str, entries: list[Entry], created_by: str, python: str, form: Form, known: dict[str, str]
    ) -> Layer:
        total = sum(entry.content.stat().st_size for entry in entries if isinstance(entry.content, Path))
        with _temporary_folder() as made, self._reporter.bar(label, total) as told:
            program = interpreter(python) if python else ""
            modules = compiled(entries, program, python, made) if program else []
            done = 0

            def count(size: int) -> None:
                nonlocal done
                done += size
                told(min(done, total))

            return write_layer(self._store, [*entries, *modules], created_by, form, count, known)

    def _dependencies(self, libraries: Libraries, platform: Platform, python: str, release: str) -> tuple[Layer, list[Package]]:
        needs = Needs(
            libraries.extras, release, platform, libraries.packages, libraries.file, libraries.wheels, libraries.glibc
        )
        program = interpreter(python)
        if not program:
            self._reporter.say(
                f"note: there is no python{python} here to compile the modules with: the image starts some 0.4 s slower;"
                f" install python{python}, or choose a base with the Python that runs kfunc"
            )
        name = f"dependencies-{FORMAT}-{bool(program)}-{key(needs, self._environ)}"
        before = None if self._refresh else self._kept(name, "dependencies", "gzip")
        kept = self._store.noted(name, Kept)
        if before and kept:
            size = megabytes(before.blob.size)
            self._reporter.say(f"layer dependencies, {platform}: {size}, {len(kept.packages)} packages, as before")
            return before, kept.packages
        self._reporter.say(f"packages for {platform} and Python {python} …")
        with _temporary_folder() as folder:
            found = download(needs, folder, self._environ)
            if found.unpinned:
                names = ", ".join(found.unpinned)
                self._reporter.say(f"note: the requirements want other versions of {names} than kfunc pins: theirs are taken")
            packages = [read_package(file, content_digest(file)) for file in found.files]
            entries = _distinct(entry for file in found.files for entry in wheel_entries(file))
            entries += compiled(entries, program, python, folder) if program else []
            layer = write_layer(self._store, entries, "dependencies")
        self._store.note(name, Kept(layer.blob.digest, layer.diff_id, layer.blob.size, packages))
        self._reporter.say(f"layer dependencies, {platform}: {megabytes(layer.blob.size)}, {len(packages)} packages")
        return layer, packages


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for what is made on the way. Raises BuildError, where it is full too."""
    try:
        with tempfile.TemporaryDirectory(prefix="kfunc-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
    except OSError as error:
        place = error.filename or tempfile.gettempdir()
        raise BuildError(f"{place}: {error.strerror}; make room there, or set TMPDIR to another folder") from None


def sources_of(recipe: Recipe) -> Sources:
    """The files of a recipe's function. Raises BuildError."""
    folder = recipe.folder
    if folder is None:
        return Sources([], [])
    if recipe.libraries is None:  # the model itself below /models, whatever folder it is in here
        model = recipe.models[0]
        return models_only(model if model.is_dir() else model.parent, recipe.models, MODELS)
    for model in recipe.models:
        check_inside(folder, model)
    if not recipe.has_code:
        return models_only(folder, recipe.models, FUNCTION, recipe.files)
    found = whole_folder(folder, FUNCTION)
    check_holds(found, folder, (*recipe.models, *recipe.files), FUNCTION)
    return found


def kfunc_entries() -> list[Entry]:
    """kfunc itself, as it runs here, with the metadata that its packages' tools read."""
    own = [Entry(f"{LIBRARIES}/{name}", path) for name, path in kfunc_files().items()]
    info = f"{LIBRARIES}/kfunc-{kfunc.__version__}.dist-info"
    return [*own, Entry(f"{info}/METADATA", metadata().encode()), Entry(f"{info}/INSTALLER", b"kfunc\n")]


def kfunc_files() -> dict[str, Path]:
    """kfunc's own files as they are here, by their paths in a folder of packages."""
    root = Path(kfunc.__file__).parent
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not BESIDE & set(path.relative_to(root).parts)]
    return {f"kfunc/{path.relative_to(root).as_posix()}": path for path in files}


def _own_package() -> Package:
    return parse_metadata(io.BytesIO(metadata().encode()), "")


def _distinct(entries: Iterable[Entry]) -> list[Entry]:
    """Each path once: namespace packages bring some files twice, and the later wheel wins as it does with pip."""
    return list({entry.path: entry for entry in entries}.values())


def _digests(entries: list[Entry]) -> dict[str, str]:
    return {entry.path: content_digest(entry.content) for entry in entries}


def _fingerprint(entries: list[Entry], known: dict[str, str], program: str, python: str) -> str:
    """What a layer's bytes depend on."""
    parts = [f"{entry.path}\0{entry.executable}\0{known[entry.path]}\0{entry.link}" for entry in entries]
    return hashlib.sha256("\n".join([f"{bool(program)} {python}", *sorted(parts)]).encode()).hexdigest()


def python_of(recipe: Recipe, base: str, said: str) -> str:
    """The minor version of the base's Python. Raises StartupError where nobody says it, or where it is said to be another."""
    if recipe.libraries is None:
        return ""
    if said and recipe.python not in ("", said):
        raise StartupError(
            f"the base image {base} has Python {said}, not {recipe.python}: leave --python and inference.build.python out,"
            " or choose another base"
        )
    version = recipe.python or said
    if not version:
        raise StartupError(f"the base image {base} does not say which Python it has: give --python, or inference.build.python")
    return version
