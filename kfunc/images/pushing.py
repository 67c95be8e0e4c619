"""A product goes to its registry: layers that are missing there, configurations, manifests, the index, lists of contents."""

from msgspec import Struct

from kfunc.errors import RegistryError
from kfunc.images.building import Image, Product
from kfunc.images.documents import Descriptor
from kfunc.images.registry import Registry
from kfunc.images.reporter import Reporter, megabytes
from kfunc.images.store import Blob, Store
from kfunc.images.uploads import upload


class Pushed(Struct, frozen=True):
    """What a push did: bytes and blobs that were sent, and blobs that were there or mounted."""

    sent: int = 0
    blobs: int = 0
    there: int = 0


class Push:
    """Brings one product into one repository."""

    def __init__(self, registry: Registry, store: Store, reporter: Reporter) -> None:
        self._registry = registry
        self._store = store
        self._reporter = reporter
        self._done: set[str] = set()
        self._sent = self._blobs = self._there = 0

    def run(self, product: Product, tag: str) -> Pushed:
        """Raises BuildError."""
        for image in product.images:
            for layer in image.base.layers:
                self._base_layer(image, layer)
            for own in image.layers:
                self._send(own.blob, f"{own.created_by}, {image.platform}")
            for blob in (image.config, image.sbom, product.empty):
                self._send(blob, "", quiet=True)
            if len(product.images) > 1:
                self._registry.put_manifest(image.manifest.digest, image.manifest.media_type, image.manifest.path.read_bytes())
        self._registry.put_manifest(tag, product.root.media_type, product.root.path.read_bytes())
        for image in product.images:
            self._attach(image)
        return Pushed(self._sent, self._blobs, self._there)

    def _attach(self, image: Image) -> None:
        """The image's list of contents: a registry that does not take it has the image all the same."""
        try:
            self._registry.attach(image.descriptor, image.artifact, image.attached.path.read_bytes())
        except RegistryError as error:
            self._reporter.say(f"note: the list of contents is not attached: {error.message}")

    def _base_layer(self, image: Image, layer: Descriptor) -> None:
        """One of the base's: mounted if it is in the same registry, fetched and sent otherwise."""
        if layer.digest in self._done:
            return
        if self._registry.has_blob(layer.digest):
            self._done.add(layer.digest)
            self._there += 1
            return
        reference = image.base.reference
        beside = reference is not None and reference.registry == self._registry.reference.registry
        if beside and reference is not None and self._registry.mount(layer.digest, reference.repository):
            self._done.add(layer.digest)
            self._there += 1
            return
        self._send(image.base.fetch(layer), f"base, {image.platform}")

    def _send(self, blob: Blob, label: str, quiet: bool = False) -> None:
        if blob.digest in self._done:
            return
        self._done.add(blob.digest)
        with self._reporter.bar(f"push {label}" if not quiet else "", blob.size) as told:
            sent = upload(self._registry, blob, self._store, told)
        if sent:
            self._sent, self._blobs = self._sent + blob.size, self._blobs + 1
        else:
            self._there += 1
        if not quiet:
            self._reporter.say(f"pushed {label}: {megabytes(blob.size)}" if sent else f"{label}: is there")
