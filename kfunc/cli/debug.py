"""`kfunc debug`: everything about a function of the cluster in one file, and a short diagnosis."""

import io
import os
import stat
import tarfile
import time
from pathlib import Path

import click
import msgspec

from kfunc import __version__
from kfunc.cli.causes import cause_lines, to_json
from kfunc.cli.on_cluster import cluster_options, connect, named
from kfunc.cli.sink_causes import sink_causes
from kfunc.cli.status import described, lines, rollout_record, traffic
from kfunc.cluster.collection import Collection
from kfunc.cluster.diagnosis import diagnose
from kfunc.cluster.observing import observe
from kfunc.errors import KfuncError, StartupError

EPILOG = """\b
Example:
  kfunc debug iris
  kfunc debug iris -n team --file iris.tar
"""


@click.command(epilog=EPILOG)
@click.argument("function", metavar="[NAME|DIR]", default=".")
@click.option(
    "--file", type=click.Path(path_type=Path, dir_okay=False), help="Where to write; NAME-debug.tar if it is not there yet."
)
@cluster_options
def debug(function: str, file: Path | None, namespace: str, context: str, output: str) -> int:
    """Write manifests, events, logs of all containers, metrics and Knative's settings to one tar, and show what is wrong.

    Secrets are not in it: neither objects of that kind, nor their values in logs, nor what looks like a credential.
    Read it before you hand it on all the same.
    """
    cluster = connect(context)
    asked = named(function, namespace, cluster)
    observed = observe(cluster, asked.name, asked.namespace, asked.mode)
    if observed.service is None:
        raise KfuncError(f"there is no function {asked.name} in the namespace {asked.namespace}; -n looks in another one")
    record = rollout_record(cluster, observed)
    told = described(observed, record) | traffic(cluster, observed, record)
    place = file or unused(Path(f"{asked.name}-debug.tar"))
    collection = Collection(cluster, observed, asked.gateway_namespace)
    contents = dict(collection.files())
    sinks = list(sink_causes(contents))
    shown = lines(observed, told)
    for first, *more in map(cause_lines, sinks):
        shown += [f"! {first}", *more]
    status = collection.redactor.text("\n".join(shown))
    contents["status.txt"] = f"kfunc {__version__}, Kubernetes {cluster.version()}\n{status}\n"
    write_tar(place, f"{asked.name}-debug", contents)
    if output == "json":
        listed = [*told["causes"], *to_json(diagnose(observed), sinks)["causes"]]
        causes = collection.redactor.value(listed)
        result = {"file": str(place), "files": sorted(contents), "unread": collection.unread, "causes": causes}
        click.echo(msgspec.json.encode(result))
        return 0
    click.echo(status)
    click.echo(f"\nwrote {place}: {len(contents)} files, {place.stat().st_size // 1024} KiB")
    for line in collection.unread:
        click.echo(f"not in it: {line}")
    return 0


def unused(place: Path) -> Path:
    """The place that nobody chose; what an earlier run left there may still be wanted. Raises StartupError."""
    if place.exists():
        raise StartupError(f"{place} is there already: remove it, or name a file with --file, which is overwritten")
    return place


def write_tar(place: Path, folder: str, contents: dict[str, str]) -> None:
    """The texts as files of one folder, in a file that only its owner reads. Raises StartupError."""
    now = time.time()
    try:
        with os.fdopen(_private(place), "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
            for path, text in sorted(contents.items()):
                data = text.encode()
                entry = tarfile.TarInfo(f"{folder}/{path}")
                entry.size, entry.mtime, entry.mode = len(data), int(now), 0o600
                archive.addfile(entry, io.BytesIO(data))
    except OSError as error:
        raise StartupError(f"cannot write {place}: {error.strerror}; choose another place with --file") from None


def _private(place: Path) -> int:
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)  # it may have been there before
    return descriptor
