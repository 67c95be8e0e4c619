"""`python -m bench [NAME …]`: run measurements one after the other and print their figures."""

import argparse
import importlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.figures import Figure, as_json, table
from bench.pod import MODEL, plan
from bench.processes import LOAD_CORE, BenchError

MEASUREMENTS = (
    "throughput",
    "peers",
    "images",
    "h2",
    "grpc",
    "hops",
    "batcher",
    "events",
    "tracing",
    "startup",
    "cold",
    "memory",
    "residents",
    "imports",
    "paths",
    "micro",
)


def main() -> int:
    """Exit status 0 when everything was measured, 1 when something could not be."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds of each load (default 5)")
    parser.add_argument("--seconds", type=int, default=2, help="seconds of load in a round (default 2)")
    parser.add_argument("--model", type=Path, default=MODEL, help="an ONNX file with one FP32 input (default the iris example)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in MEASUREMENTS]:
        parser.error(f"no measurement {unknown[0]!r}: one of {', '.join(MEASUREMENTS)}")
    os.sched_setaffinity(0, {LOAD_CORE})
    # A SIGTERM unwinds like Ctrl-C, so that no server is left behind.
    signal.signal(signal.SIGTERM, _exit)
    figures: list[Figure] = []
    failed = 0
    try:
        shared = plan(options.model, options.rounds, options.seconds)
        for name in options.names or MEASUREMENTS:
            print(f"measuring {name} …", file=sys.stderr)
            try:
                figures += importlib.import_module(f"bench.{name}").measure(shared)
            except BenchError as error:
                print(f"{name}: {error}", file=sys.stderr)
                failed = 1
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(as_json(figures) if options.output == "json" else table(figures))
    return failed


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
