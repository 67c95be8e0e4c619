"""`kfunc bench`: how fast a function answers, asked over V1, V2, binary or gRPC with a request made from its metadata."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop

from kfunc.bench.results import Plan, summarize
from kfunc.bench.running import Make, Run
from kfunc.cli.bench_target import Target, served
from kfunc.errors import StartupError

EPILOG = """\b
Example:
  kfunc bench http://127.0.0.1:8080
  kfunc bench examples/python-handler --protocol binary --connections 64
  kfunc bench http://127.0.0.1:8080 --rate 2000 --duration 30 --html report.html
  kfunc bench http://127.0.0.1:8080 --protocol grpc --output json
"""
LONGEST_S = 86_400.0


@click.command(epilog=EPILOG)
@click.argument("target", metavar="URL|DIR")
@click.option(
    "--protocol", type=click.Choice(["v2", "v1", "binary", "grpc"]), default="v2", show_default=True, help="v2 is JSON."
)
@click.option("--model", metavar="NAME", help="Model to ask; by default the server's only one.")
@click.option("--data", metavar="JSON|@FILE", help="A request, or an array of inputs; by default made from the metadata.")
@click.option("--rows", type=click.IntRange(1, 100_000), help="Rows of a request that is made; by default 1.")
@click.option(
    "--connections", type=click.IntRange(1, 10_000), help="By default 16; with --rate 256, of which as many as needed."
)
@click.option("--rate", type=click.FloatRange(0.1, 1e6), help="Open loop: requests/s that arrive whatever happens.")
@click.option("--duration", type=click.FloatRange(0.1, LONGEST_S), default=10.0, show_default=True, help="Seconds that count.")
@click.option("--warmup", type=click.FloatRange(0, LONGEST_S), default=1.0, show_default=True, help="Seconds before them.")
@click.option(
    "--timeout", type=click.FloatRange(0.01, LONGEST_S), default=30.0, show_default=True, help="Seconds for one answer."
)
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write a report with charts.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: the result.")
def bench(
    target: str,
    protocol: str,
    model: str | None,
    data: str | None,
    rows: int | None,
    connections: int | None,
    rate: float | None,
    duration: float,
    warmup: float,
    timeout: float,
    html: Path | None,
    output: str,
) -> int:
    """Ask a function as fast as it answers, or at a constant rate, and show rate, latencies and errors.

    URL is where it is; DIR is a function's folder, which is served meanwhile, as `kfunc run` does.
    Without --rate each connection asks again when it is answered. With it requests arrive at a
    constant rate, and latencies count from when a request was due, so that a stall counts in full.
    """
    if rows is not None and data is not None:
        raise click.UsageError("--rows is for a request that is made from the metadata: leave it out, --data has its own rows")
    if html is not None:
        check_writable(html)
    plan = Plan(connections or (16 if rate is None else 256), duration, warmup, timeout, rate)
    with served(target) as url:
        asked = Target(url, protocol, model, data, rows or 1)
        if output == "text":
            click.echo(f"asking {asked.title} for {warmup + duration:g} s …", err=True)
        run = measure(plan, asked.address, asked.make)
    result, latencies = summarize(plan, run.recorder, run.cpu_s, run.unsent)
    if output == "json":
        click.echo(msgspec.json.encode({"target": asked.title, **msgspec.to_builtins(result)}))
    else:
        from kfunc.bench.text_report import text_report

        click.echo(text_report(result, latencies, asked.title))
    if html is not None:
        from kfunc.bench.html_report import html_report

        write(html, html_report(result, latencies, asked.title, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"))
    return 0 if result.requests else 1


def measure(plan: Plan, address: tuple[str, int], make: Make) -> Run:
    """One run on an event loop of its own."""
    run = Run(plan, address, make)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run.measure())
    return run


def check_writable(file: Path) -> None:
    """Before minutes are spent on measuring. Leaves no file behind. Raises StartupError."""
    path = file.resolve()
    existed = path.exists()
    if existed and not path.is_file():  # a pipe: whoever reads it would take this for the whole report
        return
    try:
        path.open("ab").close()
    except OSError as error:
        told = f"cannot write {file}: {error.strerror}; give --html a file in a folder that can be written"
        raise StartupError(told) from None
    if not existed:
        path.unlink()


def write(file: Path, text: str) -> None:
    """Raises StartupError."""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StartupError(f"cannot write {file}: {error.strerror}; the figures are above") from None
