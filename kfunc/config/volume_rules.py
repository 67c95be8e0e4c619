"""Rules for volumes: one source each, an absolute path of its own."""

from collections.abc import Callable, Iterator
from posixpath import normpath

from msgspec import UNSET

from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import VOLUME_SOURCES, Function, Volume
from kfunc.config.names import is_subdomain
from kfunc.config.quantity import parse_quantity

SOURCES = ", ".join(VOLUME_SOURCES)


def volumes_have_one_source(function: Function) -> Iterator[Finding]:
    """A volume is exactly one of Secret, ConfigMap, claim and emptyDir."""
    for number, volume in enumerate(function.run.volumes):
        path: FieldPath = ("run", "volumes", number)
        sources = (volume.secret, volume.config_map, volume.persistent_volume_claim, volume.empty_dir)
        given = [key for key, source in zip(VOLUME_SOURCES, sources, strict=True) if source is not UNSET]
        if not given:
            yield Finding(path, f"a volume needs one of {SOURCES}")
        elif len(given) > 1:
            message = f"a volume has one source, this has {' and '.join(given)}"
            yield Finding((*path, given[1]), message, "make it two volumes", at_key=True)
        yield from _source(volume, path)


def _source(volume: Volume, path: FieldPath) -> Iterator[Finding]:
    names: list[tuple[FieldPath, object]] = [((*path, "secret"), volume.secret), ((*path, "configMap"), volume.config_map)]
    if volume.persistent_volume_claim is not UNSET:
        claim = volume.persistent_volume_claim.claim_name
        names.append(((*path, "persistentVolumeClaim", "claimName"), "" if claim is UNSET else claim))
    for where, name in names:
        if isinstance(name, str) and not is_subdomain(name):
            message = f'expected the name of an object: lower-case letters, digits, "-" and ".", found {show_text(name)}'
            yield Finding(where, message)
    if volume.empty_dir is not UNSET:
        if volume.empty_dir.medium not in ("", "Memory"):
            yield Finding((*path, "emptyDir", "medium"), 'expected "" or "Memory"', 'did you mean "Memory"?')
        yield from _size(volume.empty_dir.size_limit, (*path, "emptyDir", "sizeLimit"))


def volumes_are_mounted_apart(function: Function) -> Iterator[Finding]:
    """Each at an absolute path, no two at the same one."""
    seen: dict[str, int] = {}
    for number, volume in enumerate(function.run.volumes):
        path: FieldPath = ("run", "volumes", number)
        if volume.path is UNSET:
            yield Finding(path, "a volume needs the path that it is mounted at", "add path: /mnt/…")
            continue
        if not volume.path.startswith("/") or normpath(volume.path) in ("/", "//") or not volume.path.isprintable():
            yield Finding((*path, "path"), f'expected an absolute path such as "/mnt/data", found {show_text(volume.path)}')
        elif ".." in volume.path.split("/") or ":" in volume.path:
            yield Finding((*path, "path"), f'a mount path has no ".." and no ":", found {show_text(volume.path)}')
        mounted = normpath(volume.path)
        if mounted in seen:
            yield Finding((*path, "path"), f"run.volumes[{seen[mounted]}] is already mounted at {show_text(mounted)}")
        seen.setdefault(mounted, number)


def build_volumes_are_quantified(function: Function) -> Iterator[Finding]:
    """The build's own volume and mounts."""
    yield from _size(function.build.pvc_size, ("build", "pvcSize"))
    for number, mount in enumerate(function.build.volumes):
        for key, text in ("hostPath", mount.host_path), ("path", mount.path):
            if not text or not text.isprintable():
                yield Finding(("build", "volumes", number, key), f"expected a path, found {show_text(text)}")


def _size(text: str, path: FieldPath) -> Iterator[Finding]:
    size = parse_quantity(text)
    if text and (size is None or size < 1):
        yield Finding(path, f'expected a size such as "256Mi", found {show_text(text)}')


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    volumes_have_one_source,
    volumes_are_mounted_apart,
    build_volumes_are_quantified,
)
