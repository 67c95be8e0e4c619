"""What Prometheus is asked during a rollout, and its answers as Samples. Pure.

Its series have the labels that kfunc's own PodMonitor and ServiceMonitor give them: namespace, function, revision.
`increase` leaves out what a pod counted before it was first scraped: the requests of its cold start.
"""

import math
from urllib.parse import urlencode

import msgspec

from kfunc.config.analysis import Query
from kfunc.errors import KfuncError
from kfunc.rollout.exposition import DURATION, REQUESTS, from_totals
from kfunc.rollout.state import Rollout, Share
from kfunc.rollout.statistics import Sample

LEAST_WINDOW_S = 30


class Unanswered(KfuncError):
    """Prometheus gave no answer that can be used."""

    status = 502


def window(rollout: Rollout, now: float) -> str:
    """The time since the step began, as PromQL has it."""
    return f"{max(LEAST_WINDOW_S, math.ceil(now - rollout.window.since))}s"


def path_of(query: str) -> str:
    """Path and query of an instant query."""
    return "/api/v1/query?" + urlencode({"query": query})


def filled(query: Query, rollout: Rollout, share: Share, now: float) -> str:
    """A query of func.yaml's for one revision."""
    values = {
        "$revision": share.revision,
        "$function": rollout.function,
        "$namespace": rollout.namespace,
        "$window": window(rollout, now),
    }
    text = query.query
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def sample_queries(rollout: Rollout, share: Share, now: float) -> dict[str, str]:
    """The queries that make one revision's Sample: requests by status, times by bucket, their sum."""
    chosen = f'namespace="{rollout.namespace}",function="{rollout.function}",revision="{share.revision}"'
    component = f',component="{rollout.settings.component}"' if rollout.settings.component else ""

    def grown(metric: str, by: str) -> str:
        kept = f" by ({by})" if by else ""
        return f"sum{kept} (increase({metric}{{{chosen}{component}}}[{window(rollout, now)}]))"

    return {
        "requests": grown(REQUESTS, "code"),
        "buckets": grown(f"{DURATION}_bucket", "le"),
        "seconds": grown(f"{DURATION}_sum", ""),
    }


def read_vector(status: int, body: bytes) -> list[tuple[dict[str, str], float]]:
    """Labels and values of an answer; a scalar has no labels. Raises Unanswered."""
    try:
        document = msgspec.json.decode(body)
        if status != 200 or document.get("status") != "success":
            raise Unanswered(f"Prometheus answers {status}: {document.get('error', '')}")
        data = document["data"]
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise Unanswered(f"what answers at the address of Prometheus is not Prometheus (status {status})") from None


def read_number(status: int, body: bytes) -> float | None:
    """The one value of an answer; None where there is none, or it is not a number. Raises Unanswered."""
    found = [value for _, value in read_vector(status, body) if math.isfinite(value)]
    if len(found) > 1:
        raise Unanswered(f"a query gives {len(found)} values where one is expected: put sum() around it")
    return found[0] if found else None


def read_sample(answers: dict[str, list[tuple[dict[str, str], float]]]) -> Sample:
    """The Sample of the answers to `sample_queries`."""
    codes = [(labels.get("code", ""), value) for labels, value in answers["requests"] if math.isfinite(value)]
    totals = {float(labels["le"].replace("+Inf", "inf")): value for labels, value in answers["buckets"] if "le" in labels}
    seconds = sum(value for _, value in answers["seconds"] if math.isfinite(value))
    errors = sum(value for code, value in codes if code.startswith("5"))
    return from_totals(sum(value for _, value in codes), errors, totals, seconds)
