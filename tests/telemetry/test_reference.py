"""docs/metrics.md lists the metrics that there are, each of the kind that it is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (`kfunc_.*?) \| (counter|gauge|histogram) \|", re.MULTILINE)
MADE = re.compile(r'(counter|counted|gauge|level|histogram|codes|show)\(\s*f?"(kfunc_[a-z_]+)"')
KINDS = {"level": "gauge", "codes": "counter", "counted": "counter", "show": "gauge"}


def documented() -> dict[str, str]:
    text = (ROOT / "docs/metrics.md").read_text()
    return {name: kind for names, kind in ROW.findall(text) for name in re.findall(r"`(\w+)`", names)}


def made() -> dict[str, str]:
    """What the sources make; the batcher's gauges are named by the keywords of `watch`."""
    files = [path for path in (ROOT / "kfunc").rglob("*.py") if "manifests" not in path.parts]
    found = {name: KINDS.get(kind, kind) for path in files for kind, name in MADE.findall(path.read_text())}
    watched = (ROOT / "kfunc/batcher_sidecar/records.py").read_text().partition("def watch")[2].partition("def sent")[0]
    return found | {f"kfunc_batch_{name}": "gauge" for name in re.findall(r'"(\w+)": "', watched)}


def test_the_reference_has_every_metric_and_no_other() -> None:
    assert documented() == made()
