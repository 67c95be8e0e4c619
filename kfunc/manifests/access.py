"""`inference.access` → RequestAuthentication, AuthorizationPolicy, PeerAuthentication. Pure.

At a gateway, which many functions share, requests for the function's hosts are denied unless they fulfil
every condition: an allowing policy there would shut out everybody else's. At the pod they are allowed if they do.
"""

from msgspec import UNSET

from kfunc.config.access import Access, Jwt
from kfunc.config.places import MANAGEMENT_PORTS
from kfunc.manifests.entry import INGRESS_PODS, LIVE, PREVIEW, public_hosts
from kfunc.manifests.mesh import selector
from kfunc.manifests.plan import Manifest, Note, Part, Plan, metadata
from kfunc.manifests.split import CANDIDATE, STABLE, split, traffic_of

SECURITY = "security.istio.io/v1"
SYSTEM_NAMESPACE = "knative-serving"
SYSTEM_PATHS = ["/metrics", "/healthz"]
"""What Prometheus and Knative's autoscaler and activator ask for."""
GATEWAY_NOTE = (
    "inference.access is checked at the ingress gateway, for all host names of the function: a pod that calls the function's "
    "pods past the gateway is not checked (at: pod checks it), a token of an issuer that no function names is refused for "
    "every host, and TCP ports of that gateway are closed by the policy"
)
ACTIVATOR_NOTE = (
    "inference.access: a request that waits for a cold start reaches the pod from Knative's activator, with the activator's "
    "identity: principals and namespaces are checked for direct calls only; a token (jwt) is checked for all"
)
STRICT_NOTE = (
    "inference.access.strict_mtls: Knative's activator and autoscaler have to be in the mesh, or they cannot reach the pod "
    "(docs/traffic.md has the recipe)"
)


def build(plan: Plan) -> Part:
    """Nothing where func.yaml lets everybody in."""
    access = plan.function.inference.access
    if access is UNSET:
        return Part()
    return _at_gateway(plan, access) if access.at == "gateway" else _at_pod(plan, access)


def _at_gateway(plan: Plan, access: Access) -> Part:
    traffic = traffic_of(plan)
    name = f"{plan.namespace}.{plan.name}"  # a dot is in neither: with a dash, a-b's c would overwrite a's b-c
    where = {"namespace": traffic.gateway_namespace}
    described = metadata(plan, name) | where
    chosen = {"matchLabels": traffic.gateway_selector or INGRESS_PODS}
    made = [_authentication(described, chosen, access.jwt)] if access.jwt else []
    spec = {"selector": chosen, "action": "DENY", "rules": deny_rules(access, all_hosts(plan))}
    made.append({"apiVersion": SECURITY, "kind": "AuthorizationPolicy", "metadata": described, "spec": spec})
    return Part(made, [Note(GATEWAY_NOTE)])


def all_hosts(plan: Plan) -> list[str]:
    """Every name by which a gateway knows the function, with any domain and port."""
    tags = {share.tag for share in split(plan)} - {""} | {STABLE, CANDIDATE, LIVE, PREVIEW}
    prefixes = [plan.name, *(f"{tag}-{plan.name}" for tag in sorted(tags))]
    names = [f"{prefix}.{plan.namespace}" for prefix in prefixes]
    hosts = [form for name in names for form in (name, f"{name}.*", f"{name}:*")]
    given = [*traffic_of(plan).hosts]
    if traffic_of(plan).preview_host is not UNSET:
        given += public_hosts(plan, PREVIEW)
    return hosts + [form for host in given for form in (host, f"{host}:*", f"{host}.", f"{host}.:*")]


def deny_rules(access: Access, hosts: list[str]) -> list[Manifest]:
    """One rule for each condition: a request that misses one of them is refused."""
    operation: Manifest = {"hosts": hosts}
    if access.public_paths:
        operation["notPaths"] = access.public_paths
    to = [{"operation": operation}]
    rules: list[Manifest] = []
    if access.jwt:
        rules.append({"from": [{"source": {"notRequestPrincipals": request_principals(access.jwt)}}], "to": to})
    rules += [{"to": to, "when": [{"key": key, "notValues": values}]} for key, values in token_claims(access).items()]
    if access.paths:
        allowed = {"hosts": hosts, "notPaths": [*access.paths, *access.public_paths]}
        rules.append({"to": [{"operation": allowed}]})
    return rules


def request_principals(tokens: list[Jwt]) -> list[str]:
    """Any subject of these issuers."""
    return [f"{jwt.issuer}/*" for jwt in tokens]


def token_claims(access: Access) -> dict[str, list[str]]:
    """Istio's key of each claim that is looked at, with the values of which one is needed."""
    claims = ({"sub": access.subjects} if access.subjects else {}) | access.claims
    return {f"request.auth.claims[{claim}]": values for claim, values in claims.items()}


def _at_pod(plan: Plan, access: Access) -> Part:
    described = metadata(plan, plan.name)
    chosen = {"matchLabels": selector(plan)}
    made = [_authentication(described, chosen, access.jwt)] if access.jwt else []
    if access != Access(at="pod", strict_mtls=True):
        spec = {"selector": chosen, "action": "ALLOW", "rules": allow_rules(plan, access)}
        made.append({"apiVersion": SECURITY, "kind": "AuthorizationPolicy", "metadata": described, "spec": spec})
    notes = []
    if access.strict_mtls:
        ports = {str(port): {"mode": "PERMISSIVE"} for port in MANAGEMENT_PORTS.values()}
        strict = {"selector": chosen, "mtls": {"mode": "STRICT"}, "portLevelMtls": ports}
        made.append({"apiVersion": SECURITY, "kind": "PeerAuthentication", "metadata": described, "spec": strict})
        notes += [Note(STRICT_NOTE)] if plan.mode == "knative" else []
    if plan.mode == "knative" and (access.principals or access.namespaces):
        notes.append(Note(ACTIVATOR_NOTE))
    return Part(made, notes)


def allow_rules(plan: Plan, access: Access) -> list[Manifest]:
    """Callers that fulfil every condition, paths that anybody may ask for, and what runs the function."""
    rule: Manifest = {}
    if sources := _sources(plan, access):
        rule["from"] = [{"source": source} for source in sources]
    if access.paths:
        rule["to"] = [{"operation": {"paths": access.paths}}]
    if claims := token_claims(access):
        rule["when"] = [{"key": key, "values": values} for key, values in claims.items()]
    public = [*access.public_paths, *(path for path in SYSTEM_PATHS if path not in access.public_paths)]
    return [rule, {"to": [{"operation": {"paths": public}}]}]


def _sources(plan: Plan, access: Access) -> list[Manifest]:
    token: Manifest = {"requestPrincipals": request_principals(access.jwt)} if access.jwt else {}
    peer: Manifest = {}
    if access.principals:
        peer["principals"] = access.principals
    if access.namespaces:
        peer["namespaces"] = access.namespaces
    if not peer:
        return [token] if token else []
    activator = [{"namespaces": [SYSTEM_NAMESPACE]} | token] if plan.mode == "knative" else []
    return [peer | token, *activator]


def _authentication(described: Manifest, chosen: Manifest, tokens: list[Jwt]) -> Manifest:
    spec = {"selector": chosen, "jwtRules": [_jwt_rule(jwt) for jwt in tokens]}
    return {"apiVersion": SECURITY, "kind": "RequestAuthentication", "metadata": described, "spec": spec}


def _jwt_rule(jwt: Jwt) -> Manifest:
    """The token is passed on: behind the gateway a request goes through it once more, and the function may read it."""
    rule: Manifest = {"issuer": jwt.issuer}
    for key, text in ("jwksUri", jwt.jwks_uri), ("jwks", jwt.jwks):
        if text:
            rule[key] = text
    if jwt.audiences:
        rule["audiences"] = jwt.audiences
    if jwt.header:
        rule["fromHeaders"] = [{"name": jwt.header} | ({"prefix": jwt.header_prefix} if jwt.header_prefix else {})]
    if jwt.query:
        rule["fromParams"] = [jwt.query]
    return rule | {"forwardOriginalToken": True}
