"""`python -m tests.fuzz`: inputs over all targets, a line for each; exit 1, with the input saved, where one is a finding."""

import argparse
import sys
from pathlib import Path

from tests.fuzz.engine import Report, Target, examine, run
from tests.fuzz.targets import TARGETS

HEAD = f"{'target':<12}{'inputs':>9}{'a second':>10}{'refused':>9}{'kinds':>7}{'slowest':>10}{'memory':>10}"


def line(report: Report) -> str:
    rate = report.asked / max(report.seconds, 1e-9)
    figures = f"{report.asked:>9}{rate:>10.0f}{report.refused:>9}{report.kinds:>7}"
    return f"{report.target:<12}{figures}{report.slowest_s * 1e3:>7.1f} ms{report.growth / 2**20:>+6.1f} MiB"


def save(folder: Path, target: Target, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}.bin"
    path.write_bytes(content)
    return path


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz every decoder.")
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs over all targets (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another one, other inputs (default: %(default)s)")
    parser.add_argument("--target", action="append", choices=[target.name for target in TARGETS], help="only this one")
    parser.add_argument("--save", type=Path, default=Path(".cache/fuzz"), help="where findings go (default: %(default)s)")
    parser.add_argument("--again", type=Path, help="run one target on this file only")
    options = parser.parse_args(arguments)
    targets = [target for target in TARGETS if not options.target or target.name in options.target]
    if options.again is not None:
        found = [examine(target, options.again.read_bytes()) for target in targets]
        print("\n".join(finding.reason for finding in found if finding) or "no finding")
        return int(any(found))
    print(HEAD, flush=True)
    failed, total = False, 0
    for target in targets:
        report = run(target, max(options.count // len(targets), 1), options.seed)
        total += report.asked
        print(line(report), flush=True)
        if report.finding is not None:
            failed = True
            path = save(options.save, target, report.finding.content)
            print(f"  finding: {report.finding.reason}\n  again: python -m tests.fuzz --target {target.name} --again {path}")
    print(f"{total} inputs, {'with findings' if failed else 'no finding'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
