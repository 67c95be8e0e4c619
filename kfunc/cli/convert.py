"""`kfunc convert`: a model of another library as ONNX, checked against the original on the same rows."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from kfunc.cli.exit_status import FAILED
from kfunc.errors import StartupError
from kfunc.handlers.layout import detect
from kfunc.handlers.registry import RUNTIMES

if TYPE_CHECKING:
    from kfunc.conversion.flow import Converted
    from kfunc.conversion.libraries import Libraries

EPILOG = """\b
Example:
  kfunc convert model.ubj
  kfunc convert model.skops -o iris.onnx --sample rows.csv
  kfunc convert net.onnx -o small.onnx --precision fp16 --sample images.npy
"""
DEFAULT_OPSET = 17
TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "int8": 1e-1}


@click.command(epilog=EPILOG)
@click.argument("model", metavar="MODEL", type=click.Path(path_type=Path, exists=True))
@click.option(
    "-o", "--to", "target", metavar="FILE", type=click.Path(path_type=Path), help="Where; by default MODEL's name.onnx."
)
@click.option(
    "--runtime", type=click.Choice(list(RUNTIMES)), help="What the model is of; by default its name and content decide."
)
@click.option(
    "--sample", type=click.Path(path_type=Path, exists=True), help="Rows to compare on: .npy, .csv, .npz; else random."
)
@click.option(
    "--precision",
    type=click.Choice(list(TOLERANCES)),
    default="fp32",
    show_default=True,
    help="Of the weights: of neural networks; trees and linear models have none in ONNX.",
)
@click.option(
    "--opset", type=click.IntRange(9, 21), default=DEFAULT_OPSET, show_default=True, help="Version of ONNX's operators."
)
@click.option("--tolerance", type=click.FloatRange(0), help="Largest difference: 1e-4 of fp32, 1e-2 of fp16, 0.1 of int8.")
@click.option("--trust", is_flag=True, help="Open a pickle, which can run any code.")
@click.option("-v", "--verbose", is_flag=True, help="Show what the libraries print, which is else shown at a failure.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of the result.")
def convert(
    model: Path,
    target: Path | None,
    runtime: str | None,
    sample: Path | None,
    precision: str,
    opset: int,
    tolerance: float | None,
    trust: bool,
    verbose: bool,
    force: bool,
    output: str,
) -> int:
    """Convert MODEL to ONNX, ask both the same rows, and say how far their answers are apart.

    Where that is more than --tolerance, nothing is written and the exit status is 1.
    """
    from kfunc.conversion.flow import Wish, require_convertible
    from kfunc.conversion.flow import convert as run
    from kfunc.conversion.libraries import Libraries

    chosen = runtime or detect(model)[0]
    require_convertible(chosen, precision)
    if target is None and model.name in ("", ".."):
        raise StartupError(f"{model} has no name for the new file to have: name it with -o FILE")
    file = target or model.with_suffix(".onnx" if precision == "fp32" else f".{precision}.onnx")
    if file.exists() and not force:
        raise StartupError(f"{file} exists; --force overwrites it, and -o names another")
    if not file.parent.is_dir():
        raise StartupError(f"{file.parent}: there is no such folder to write {file.name} in: make it, or name another with -o")
    limit = TOLERANCES[precision] if tolerance is None else tolerance
    wish = Wish(model, chosen, file, sample, precision, opset, limit, trust)
    libraries = Libraries(shown=verbose)
    try:
        told = run(wish, lambda line: click.echo(line, err=True), libraries)
    except Exception:
        _show(libraries)
        raise
    if not told.good:
        _show(libraries)
    return _report(told, limit, output)


def _show(libraries: "Libraries") -> None:
    if said := libraries.said():
        click.echo(f"The libraries said:\n{said}", err=True)


def _report(told: "Converted", limit: float, output: str) -> int:
    """What came of it; the exit status."""
    if output == "json":
        click.echo(msgspec.json.encode(told, enc_hook=str))
        return 0 if told.good else FAILED
    for each in told.differences:
        what = f"{each.largest:.2%} of the labels differ" if each.labels else f"largest difference {each.largest:.3g}"
        rest = "" if each.labels else f" (relative {each.relative:.3g})"
        click.echo(f"{each.original}: {what}{rest} in {each.rows} rows")
    if not told.good:
        click.echo(f"error: the answers differ by more than {limit:g}; {told.target} is not written", err=True)
        return FAILED
    click.echo(f"wrote {told.target}: {told.bytes_after} bytes")
    return 0
