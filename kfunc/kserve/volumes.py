"""The pod's volumes, each at the paths where a container mounts it. Pure."""

from typing import Any

from kfunc.kserve.fields import Fields, put

SOURCES = {"secret": "secretName", "configMap": "name", "persistentVolumeClaim": "claimName"}


def read_volumes(pod: Fields, mounts: list[Fields], function: dict[str, Any]) -> None:
    """`run.volumes`, beside those that are there; of two at one path the later one counts. Takes what it finds of `mounts`."""
    volumes = {each["path"]: each for each in function.get("run", {}).get("volumes", [])}
    for volume in pod.items("volumes"):
        name = volume.text("name")
        mounted = [mount for mount in mounts if mount.text("name") == name]
        for mount in mounted:
            mounts.remove(mount)
        source = _source(volume)
        if source is None or not any(mount.text("mountPath") for mount in mounted):
            volume.leave(name, "func.yaml mounts Secrets, ConfigMaps, claims and emptyDirs, each at a path")
            for each in (volume, *mounted):
                each.skip(*each)
            continue
        for mount in mounted:
            path = mount.text("mountPath")
            volumes[path] = {**_as_mounted(source, read_only=mount.flag("readOnly")), "path": path}
    put(function, "run.volumes", list(volumes.values()))


def _as_mounted(source: dict[str, Any], *, read_only: bool) -> dict[str, Any]:
    """Secrets and ConfigMaps cannot be written anyway; of an emptyDir only the container itself would write something."""
    claim = source.get("persistentVolumeClaim")
    return {"persistentVolumeClaim": {**claim, "readOnly": True}} if claim and read_only else source


def _source(volume: Fields) -> dict[str, Any] | None:
    if "emptyDir" in volume:
        folder = volume.mapping("emptyDir")
        values = {"medium": folder.text("medium"), "sizeLimit": folder.text("sizeLimit")}
        return {"emptyDir": {name: value for name, value in values.items() if value}}
    for kind, field in SOURCES.items():
        if kind in volume:
            inner = volume.mapping(kind)
            named = inner.text(field)
            if kind != "persistentVolumeClaim":
                return {kind: named}
            return {kind: {"claimName": named, **({"readOnly": True} if inner.flag("readOnly") else {})}}
    return None
