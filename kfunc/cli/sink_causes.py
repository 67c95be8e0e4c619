"""Sinks of a function's loggers that take no events, by what `kfunc debug` has collected. Pure."""

import re
from collections.abc import Iterator, Mapping

from kfunc.cluster.causes import Cause
from kfunc.telemetry.figures import read

METRICS = re.compile(r"metrics/([^/]+)/logger\.txt")
SAID = re.compile(r"the sink (\S+) takes no events: (.*?); they wait in the spool")
ADVICE = (
    "start it, or correct the address in inference.logger (a broker needs Knative Eventing); the events wait in the spool until"
    " then, and are lost when the pod ends unless the spool is on a claim"
)


def sink_causes(files: Mapping[str, str]) -> Iterator[Cause]:
    """A cause for each sink of each pod for which events wait after tries that failed."""
    for path, text in files.items():
        found = METRICS.fullmatch(path)
        if found is None:
            continue
        snapshot, reasons = read(text, 0.0), dict(SAID.findall(files.get(f"logs/{found[1]}/logger.log", "")))
        for series in snapshot.select("kfunc_events_waiting"):
            sink = series.labels.get("sink", "")
            retried = int(snapshot.total("kfunc_events_retried_total", sink=sink))
            if series.value and (retried or sink in reasons):
                reason = f": {reasons[sink]}" if sink in reasons else ""
                counts = f"{int(series.value)} wait, {retried} tries have failed"
                yield Cause(
                    "sink-down", f"the logger of {found[1]}: the sink {sink} takes no events ({counts}){reason}", ADVICE
                )
