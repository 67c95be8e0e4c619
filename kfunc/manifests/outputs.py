"""The registry of what can be rendered, one line each, and the rendering itself. Pure.

A builder is a function from the Plan to a Part; a Part without manifests makes no file.
"""

from collections.abc import Callable

from msgspec import Struct

from kfunc.config.deployment import Mode
from kfunc.manifests import access, egress, eventing, istio, knative, monitoring, raw
from kfunc.manifests.monitoring import DASHBOARD
from kfunc.manifests.plan import Group, Manifest, Note, Part, Plan
from kfunc.manifests.yaml_text import write

DASHBOARD_HEADER = '{\n  "uid": "kfunc-'
"""How a rendered dashboard begins: JSON has no comments."""
HEADER = "# Rendered by kfunc from func.yaml. Do not edit: change func.yaml, then run `kfunc render` again.\n"


class Output(Struct, frozen=True):
    """One file: the group that `--only` names, its path below `-o`, the modes that have it, and what builds it.

    `texts` are the paths of the further files that come with it.
    """

    group: Group
    path: str
    modes: tuple[Mode, ...]
    build: Callable[[Plan], Part]
    texts: tuple[str, ...] = ()


# In the order in which they are printed: kn reads the first document of a stream, and that is the Service.
OUTPUTS: tuple[Output, ...] = (
    Output("service", "knative/service.yaml", ("knative",), knative.build),
    Output("service", "raw/deployment.yaml", ("raw",), raw.build),
    Output("eventing", "knative/eventing.yaml", ("knative", "raw"), eventing.build),
    Output("istio", "istio/traffic.yaml", ("knative", "raw"), istio.build),
    Output("istio", "istio/access.yaml", ("knative", "raw"), access.build),
    Output("istio", "istio/egress.yaml", ("knative", "raw"), egress.build),
    Output("monitoring", "monitoring/monitoring.yaml", ("knative", "raw"), monitoring.build, (DASHBOARD,)),
)


class Rendered(Struct, frozen=True):
    """Manifests by the path of their file; the paths that this function has no manifests for; what to say; other files."""

    files: dict[str, list[Manifest]]
    unused: list[str]
    notes: list[Note]
    urls: list[str]
    texts: dict[str, str] = {}


def render(plan: Plan, only: Group | None = None) -> Rendered:
    """All manifests of a plan, or those of one group."""
    plan = knative.settled(plan)
    files: dict[str, list[Manifest]] = {}
    unused: list[str] = []
    notes: list[Note] = []
    urls: list[str] = []
    texts: dict[str, str] = {}
    for output in OUTPUTS:
        if only not in (None, output.group):
            continue
        part = output.build(plan) if plan.mode in output.modes else Part()
        if part.manifests:
            files.setdefault(output.path, []).extend(part.manifests)
        else:
            unused += [output.path, *output.texts]
        notes += [note for note in part.notes if note not in notes]
        urls += part.urls
        texts |= part.texts
    return Rendered(files, [path for path in unused if path not in files], notes, urls, texts)


def text(manifests: list[Manifest]) -> str:
    """The content of a file: a header and one document for each object; nothing for none, so that no reader waits for one."""
    return HEADER + "---\n".join(write(manifest) for manifest in manifests) if manifests else ""
