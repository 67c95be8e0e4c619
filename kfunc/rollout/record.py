"""A rollout as its ConfigMap holds it, and who drives it. Pure.

Every write names the version that was read, so that of two drivers, or of a driver and a command, one is told that it is
late and reads again. The holder keeps a second driver from starting; the versions keep it from doing harm.
"""

import msgspec
from msgspec import Struct

from kfunc.cluster.rollout_record import record_name
from kfunc.config.labels import own_labels
from kfunc.errors import KfuncError
from kfunc.manifests.plan import Manifest
from kfunc.rollout.state import VERSION, Rollout

LEASE_S = 30.0
"""How long a driver that is not heard of is believed to be there."""


class Driver(Struct, frozen=True):
    """Who drives: a name for people that no two processes share, and until when it has promised to be there."""

    holder: str = ""
    until: float = 0.0

    def is_there(self, now: float) -> bool:
        """Whether somebody drives."""
        return bool(self.holder) and now < self.until


class Objects(Struct, frozen=True):
    """Manifests that a rollout needs to go on without func.yaml.

    `candidate` makes the revision; `split` the traffic; `promoted` all of the function afterwards; `before` is what there was.
    """

    candidate: list[Manifest] = []
    split: list[Manifest] = []
    promoted: list[Manifest] = []
    before: list[Manifest] = []


class Record(Struct, frozen=True):
    """What the ConfigMap holds; `version` is the cluster's of it, empty before it was written.

    `served`: the revisions that had all of the traffic, one after the other, the newest last.
    """

    rollout: Rollout
    objects: Objects = Objects()
    driver: Driver = Driver()
    version: str = ""
    served: list[str] = []


def to_config_map(record: Record) -> Manifest:
    """The ConfigMap; with a version it is refused where there is another by now."""
    rollout = record.rollout
    about: Manifest = {
        "name": record_name(rollout.function),
        "namespace": rollout.namespace,
        "labels": own_labels(rollout.function),
    }
    if record.version:
        about["resourceVersion"] = record.version
    parts = {"rollout": rollout, "objects": record.objects, "driver": record.driver, "served": record.served}
    data = {name: msgspec.json.encode(part).decode() for name, part in parts.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}


def from_config_map(manifest: Manifest) -> Record:
    """The record. Raises KfuncError for what this version of kfunc did not write."""
    data = manifest.get("data") or {}
    name = manifest["metadata"]["name"]
    try:
        version = msgspec.json.decode(data.get("rollout", "{}"), type=dict[str, msgspec.Raw]).get("version", b"0")
        if int(bytes(version)) != VERSION:
            raise KfuncError(f"the ConfigMap {name} is another version of kfunc's: use that one to end its rollout")
        return Record(
            msgspec.json.decode(data["rollout"], type=Rollout),
            msgspec.json.decode(data["objects"], type=Objects),
            msgspec.json.decode(data["driver"], type=Driver),
            manifest["metadata"]["resourceVersion"],
            msgspec.json.decode(data.get("served", "[]"), type=list[str]),
        )
    except (msgspec.MsgspecError, KeyError, ValueError) as error:
        raise KfuncError(
            f"the ConfigMap {name} is not a rollout's ({error}): kubectl delete configmap {name}, then kfunc rollout abort "
            f"{name.removesuffix(record_name(''))} gives everything to the revision with the plain address"
        ) from None
