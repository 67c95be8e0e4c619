"""An image of one static program, made as `kfunc build` makes its own."""

from pathlib import Path

from kfunc.images.building import descriptor
from kfunc.images.documents import CONFIG, MANIFEST, encode, manifest
from kfunc.images.layers import Entry, write_layer
from kfunc.images.registry import Registry
from kfunc.images.store import Store
from kfunc.images.transport import Transport, Trust
from kfunc.images.uploads import upload
from kfunc.registries.references import Reference


def push_program(program: Path, image: Reference, folder: Path) -> str:
    """Push an image whose entry point is the program; its name by digest."""
    store = Store(folder)
    layer = write_layer(store, [Entry(program.name, program, executable=True)], program.name)
    started = {"Entrypoint": [f"/{program.name}"], "User": "65532:65532"}
    roots = {"type": "layers", "diff_ids": [layer.diff_id]}
    config = store.add(encode({"architecture": "amd64", "os": "linux", "config": started, "rootfs": roots}), CONFIG)
    document = encode(manifest(descriptor(config), [descriptor(layer.blob)], {}))
    with Transport(Trust(frozenset({image.host})), {}) as transport:
        registry = Registry(image, transport, {}, "pull,push")
        for blob in (layer.blob, config):
            upload(registry, blob, store, lambda _: None)
        registry.put_manifest(image.tag, MANIFEST, document)
    return f"{image.name}@{store.add(document, MANIFEST).digest}"
