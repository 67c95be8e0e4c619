"""Rules for `inference.traffic`: what a strategy needs, names that are free, settings that have an effect."""

from collections.abc import Callable, Iterator

from msgspec import UNSET

from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.names import MAX_LABEL, MAX_SUBDOMAIN, is_label, is_label_key, is_label_value, is_subdomain
from kfunc.config.traffic import Connections, Traffic, Variant

TRAFFIC: FieldPath = ("inference", "traffic")
LONGEST_TAG = "candidate"
RESERVED_TAGS = ("live", "preview")
LEAST_S = 0.001
ONLY_ISTIO = ("hosts", "preview_host", "gateways", "gateway_selector", "tls", "timeout_s", "connections", "outliers")


def _traffic(function: Function) -> Traffic | None:
    given = function.inference.traffic
    return None if given is UNSET else given


def strategies_have_what_they_need(function: Function) -> Iterator[Finding]:
    """Steps for a canary, a preview for blue/green, variants for an A/B test, and nothing of the others."""
    traffic = _traffic(function)
    if traffic is None:
        return
    if traffic.strategy == "canary":
        ordered = all(low < high for low, high in zip(traffic.steps, traffic.steps[1:], strict=False))
        if not ordered or not traffic.steps or traffic.steps[-1] != 100:
            message = f"expected percents that grow to 100, found {traffic.steps}"
            yield Finding((*TRAFFIC, "steps"), message, "such as [5, 25, 50, 100]")
    elif traffic.steps != Traffic().steps:
        yield _stray("steps", traffic, "canary")
    if traffic.strategy != "blue-green" and traffic.preview_host is not UNSET:
        yield _stray("preview_host", traffic, "blue-green")
    if traffic.strategy != "ab" and traffic.variants:
        yield _stray("variants", traffic, "ab")
    if traffic.strategy == "ab":
        yield from _variants(traffic.variants, function.name)


def _stray(key: str, traffic: Traffic, strategy: str) -> Finding:
    message = f"{key} belongs to strategy: {strategy}, and the strategy is {traffic.strategy}"
    return Finding((*TRAFFIC, key), message, f"remove it, or write strategy: {strategy}", at_key=True)


def _variants(variants: list[Variant], name: str) -> Iterator[Finding]:
    path: FieldPath = (*TRAFFIC, "variants")
    if len(variants) < 2:
        yield Finding(
            path if variants else TRAFFIC, "strategy: ab compares at least two variants", "add variants: [{name: a, …}, …]"
        )
        return
    total = sum(variant.weight for variant in variants)
    if total != 100:
        yield Finding(path, f"the weights add up to {total}, not to 100", "change a weight")
    seen: dict[tuple[str, str], int] = {}
    for number, variant in enumerate(variants):
        longest = MAX_LABEL - len(name) - 1
        if variant.name in RESERVED_TAGS:
            yield Finding((*path, number, "name"), f"{variant.name} is the name of a host of kfunc's own", "use another name")
        elif not variant.name[:1].isalpha():
            yield Finding((*path, number, "name"), f"expected a letter first, found {show_text(variant.name)}")
        elif len(variant.name) > longest:
            message = f"with the function's name it must fit into {MAX_LABEL} characters: at most {longest}"
            yield Finding((*path, number, "name"), message)
        if variant.revision and not is_label(variant.revision):
            yield Finding((*path, number, "revision"), f"expected a revision's name, found {show_text(variant.revision)}")
        for key, value in ("name", variant.name), ("revision", variant.revision):
            if (key, value) in seen:
                what = f"the {key} {show_text(value)}" if value else "the revision of this file (no revision)"
                yield Finding((*path, number), f"{what} is already in entry [{seen[key, value]}]", f"change its {key}")
            seen.setdefault((key, value), number)
    if all(variant.revision for variant in variants):
        yield Finding(path, "none of the variants is the revision of this file", "leave out the revision of one of them")


def istio_settings_have_istio(function: Function) -> Iterator[Finding]:
    """What a Knative Service's traffic block cannot say."""
    traffic = _traffic(function)
    if traffic is None or traffic.via == "istio":
        return
    for key in ONLY_ISTIO:
        if getattr(traffic, key) != getattr(Traffic(), key):
            yield Finding(
                (*TRAFFIC, key), f"{key} needs Istio, and via is knative", "remove it, or write via: istio", at_key=True
            )
    for number, variant in enumerate(traffic.variants):
        if variant.match:
            message = "a Knative Service has weights only: a match needs Istio"
            yield Finding((*TRAFFIC, "variants", number, "match"), message, "remove it, or write via: istio", at_key=True)
    if function.inference.mode == "raw":
        yield Finding((*TRAFFIC, "via"), "with mode: raw there is no Knative Service", "write via: istio")


def public_settings_have_a_public_function(function: Function) -> Iterator[Finding]:
    """A function that only the cluster reaches has no host outside."""
    traffic = _traffic(function)
    if traffic is None or function.inference.visibility == "public":
        return
    for key in ("hosts", "preview_host", "gateways", "tls"):
        if getattr(traffic, key) != getattr(Traffic(), key):
            message = f"{key} is for callers from outside, and visibility is {function.inference.visibility}"
            yield Finding((*TRAFFIC, key), message, "remove it, or write visibility: public", at_key=True)


def names_leave_room_for_tags(function: Function) -> Iterator[Finding]:
    """Each revision has a host of its own, made of its tag and the function's name."""
    traffic = _traffic(function)
    longest = MAX_LABEL - len(LONGEST_TAG) - 1
    if traffic is not None and traffic.strategy != "ab" and len(function.name) > longest:
        message = f"with inference.traffic a name has at most {longest} characters, this has {len(function.name)}"
        yield Finding(("name",), message, f"the new revision's host is {LONGEST_TAG}-NAME")


def hosts_are_free(function: Function) -> Iterator[Finding]:
    """The function's own Knative names belong to Knative, and a host stands in the list once."""
    traffic = _traffic(function)
    if traffic is None:
        return
    hosts: list[tuple[FieldPath, str]] = [((*TRAFFIC, "hosts", number), host) for number, host in enumerate(traffic.hosts)]
    if traffic.preview_host is not UNSET:
        hosts.append(((*TRAFFIC, "preview_host"), traffic.preview_host))
    seen: set[str] = set()
    for path, host in hosts:
        first, _, rest = host.partition(".")
        own = first == function.name or (first.endswith(f"-{function.name}") and not first.startswith(RESERVED_TAGS))
        if len(host) > MAX_SUBDOMAIN or host.rpartition(".")[2].isdigit():
            yield Finding(path, f'expected a host name such as "iris.example.com", found {show_text(host)}')
        elif rest.endswith("svc.cluster.local") or rest.endswith(".svc"):
            yield Finding(path, "this is a name within the cluster", "remove it: live-NAME.NAMESPACE.svc is there")
        elif function.domain and own and rest.endswith(f".{function.domain}"):
            yield Finding(path, f"{show_text(host)} is a name that Knative gives the function", "use another name")
        if host in seen:
            yield Finding(path, f"{show_text(host)} is already a host", "remove it")
        seen.add(host)


def gateways_are_single(function: Function) -> Iterator[Finding]:
    """Each once; with TLS the function has a Gateway of its own."""
    traffic = _traffic(function)
    if traffic is None:
        return
    for number, gateway in enumerate(traffic.gateways):
        if gateway in traffic.gateways[:number]:
            yield Finding((*TRAFFIC, "gateways", number), f"{show_text(gateway)} is already in the list", "remove it")
    if traffic.tls is not UNSET:
        if traffic.gateways:
            message = "tls makes a Gateway of the function's own, and gateways names others"
            yield Finding((*TRAFFIC, "tls"), message, "keep one: the other Gateways have their own TLS", at_key=True)
        if traffic.tls.secret and not is_subdomain(traffic.tls.secret):
            yield Finding((*TRAFFIC, "tls", "secret"), f"expected a Secret's name, found {show_text(traffic.tls.secret)}")
    yield from labels_are_labels(traffic.gateway_selector, (*TRAFFIC, "gateway_selector"))


def labels_are_labels(labels: dict[str, str], path: FieldPath) -> Iterator[Finding]:
    """Keys and values in Kubernetes' form."""
    for key, value in labels.items():
        if not is_label_key(key):
            message = f'expected a label key such as "team" or "example.com/team", found {show_text(key)}'
            yield Finding((*path, key), message, at_key=True)
        if not is_label_value(value):
            form = 'expected at most 63 letters, digits, "-", "_" and ".", a letter or digit at both ends'
            yield Finding((*path, key), f"{form}, found {show_text(value)}")


def times_are_of_use(function: Function) -> Iterator[Finding]:
    """Istio counts in milliseconds; a gateway that gives up before the function makes it work for nothing."""
    traffic = _traffic(function)
    if traffic is None:
        return
    times: list[tuple[FieldPath, object]] = [((*TRAFFIC, "timeout_s"), traffic.timeout_s)]
    if traffic.connections is not UNSET:
        for key in ("connect_timeout_s", "idle_timeout_s"):
            times.append(((*TRAFFIC, "connections", key), getattr(traffic.connections, key)))
        if traffic.connections == Connections():
            yield Finding((*TRAFFIC, "connections"), "there is no bound in it", "add max_connections: …, or remove it")
    if traffic.outliers is not UNSET:
        times += [((*TRAFFIC, "outliers", key), getattr(traffic.outliers, key)) for key in ("interval_s", "ejection_s")]
    for path, seconds in times:
        if isinstance(seconds, float) and 0 < seconds < LEAST_S:
            yield Finding(path, f"expected at least {LEAST_S:g}, found {seconds:g}")
    if traffic.timeout_s is not UNSET and LEAST_S <= traffic.timeout_s < function.inference.timeout_s:
        message = f"expected at least inference.timeout_s, {function.inference.timeout_s:g}, found {traffic.timeout_s:g}"
        yield Finding((*TRAFFIC, "timeout_s"), message, "a cold start takes its time, too")


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    strategies_have_what_they_need,
    istio_settings_have_istio,
    public_settings_have_a_public_function,
    names_leave_room_for_tags,
    hosts_are_free,
    gateways_are_single,
    times_are_of_use,
)
