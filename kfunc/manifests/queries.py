"""PromQL for one function: what alerts and dashboard ask, in one place. Pure."""

from msgspec import Struct

from kfunc.manifests.plan import Container, Plan
from kfunc.manifests.volumes import sidecars_of

RATE = "5m"


class Queries(Struct, frozen=True):
    """Queries of a function whose requests arrive at the component `outermost`."""

    selector: str
    outermost: Container

    def metric(self, name: str, *labels: str) -> str:
        """A metric of the function."""
        return f"{name}{{{','.join([self.selector, *labels])}}}"

    def requests(self, *labels: str) -> str:
        """Requests per second as callers see them."""
        return f"rate({self.metric('kfunc_requests_total', self._outer, *labels)}[{RATE}])"

    def latency(self, quantile: float, by: str = "") -> str:
        """A quantile of the answers' times, in seconds, as callers see them."""
        buckets = self.metric("kfunc_request_duration_seconds_bucket", self._outer)
        kept = f"le, {by}" if by else "le"
        return f"histogram_quantile({quantile:g}, sum by ({kept}) (rate({buckets}[{RATE}])))"

    def error_ratio(self) -> str:
        """Part of the answers that are 5xx."""
        failed = self.requests('code=~"5.."')
        return f"sum({failed}) / sum({self.requests()})"

    def rate(self, name: str, *labels: str) -> str:
        """How much a counter grows in a second."""
        return f"rate({self.metric(name, *labels)}[{RATE}])"

    def increase(self, name: str, window: str, *labels: str) -> str:
        """How much a counter grew."""
        return f"sum(increase({self.metric(name, *labels)}[{window}]))"

    @property
    def _outer(self) -> str:
        return f'component="{self.outermost}"'


def queries(plan: Plan) -> Queries:
    """The function's queries."""
    chain: tuple[Container, ...] = ("handler", *sidecars_of(plan.config))
    return Queries(f'namespace="{plan.namespace}",function="{plan.name}"', chain[-1])
