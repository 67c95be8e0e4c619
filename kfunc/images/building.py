"""A recipe becomes a product: an image for each platform, in the store, with its list of contents."""

from collections.abc import Mapping

from msgspec import Struct

from kfunc import __version__
from kfunc.images.bases import Base, open_base, read_base
from kfunc.images.contents import Contents, Maker, python_of
from kfunc.images.documents import CONFIG, EMPTY, INDEX, MANIFEST, Descriptor, artifact, config, encode, index, manifest
from kfunc.images.layers import Layer
from kfunc.images.platforms import Platform
from kfunc.images.recipes import Recipe, settings
from kfunc.images.reporter import Reporter
from kfunc.images.sbom import MEDIA_TYPE as SBOM
from kfunc.images.sbom import Contents as Listed
from kfunc.images.sbom import render
from kfunc.images.store import Blob, Store
from kfunc.images.transport import Transport

NOTHING = b"{}"


class Image(Struct, frozen=True):
    """An image for one platform. `sbom` is its list of contents, `attached` the artifact that says whose it is."""

    platform: Platform
    manifest: Blob
    config: Blob
    base: Base
    layers: list[Layer]
    sbom: Blob
    attached: Blob

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(MANIFEST, self.manifest.digest, self.manifest.size, self.platform)

    def all_layers(self) -> list[Blob]:
        """Its layers in their order, the base's first. Raises BuildError."""
        return [*(self.base.fetch(layer) for layer in self.base.layers), *(layer.blob for layer in self.layers)]

    @property
    def artifact(self) -> Descriptor:
        """The list of contents as what it is: attached to the image."""
        return Descriptor(MANIFEST, self.attached.digest, self.attached.size, None, SBOM)

    @property
    def size(self) -> int:
        """Of its own layers, as they travel."""
        return sum(layer.blob.size for layer in self.layers)


class Product(Struct, frozen=True):
    """All platforms of an image; `root` is their index, or the only one's manifest. `empty` is the artifacts' configuration."""

    images: list[Image]
    root: Blob
    empty: Blob

    @property
    def descriptor(self) -> Descriptor:
        return descriptor(self.root)

    def blobs(self) -> list[Blob]:
        """All that a whole copy holds, the base's layers too, which are fetched for it. Raises BuildError."""
        found = [self.root, self.empty]
        for image in self.images:
            found += [image.manifest, image.config, image.sbom, image.attached, *image.all_layers()]
        return found


def build(
    recipe: Recipe, store: Store, transport: Transport, reporter: Reporter, environ: Mapping[str, str], refresh: bool = False
) -> Product:
    """Make the image of a recipe. `refresh` asks the package index anew. Raises BuildError, StartupError."""
    source = open_base(recipe.base, transport, store, environ, reporter)
    maker = Maker(recipe, store, reporter, environ, refresh)
    images = []
    for platform in recipe.platforms:
        base = read_base(source, platform)
        contents = maker.contents(platform, python_of(recipe, recipe.base, base.python), base.release)
        images.append(_image(recipe, platform, base, contents, store))
    root = images[0].manifest
    if len(images) > 1:
        root = store.add(encode(index([image.descriptor for image in images], _annotations(recipe, None))), INDEX)
    return Product(images, root, store.add(NOTHING, EMPTY))


def build_contents(
    recipe: Recipe, store: Store, transport: Transport, reporter: Reporter, environ: Mapping[str, str], refresh: bool = False
) -> dict[Platform, Contents]:
    """What somebody else's program puts onto the base. The base's registry is asked only where nothing else says its Python.

    Raises BuildError, StartupError.
    """
    source = None if recipe.python else open_base(recipe.base, transport, store, environ, reporter)
    maker = Maker(recipe, store, reporter, environ, refresh)
    if source is None:
        return {platform: maker.contents(platform, recipe.python) for platform in recipe.platforms}
    bases = {platform: read_base(source, platform) for platform in recipe.platforms}
    pythons = {platform: python_of(recipe, recipe.base, base.python) for platform, base in bases.items()}
    return {platform: maker.contents(platform, python, bases[platform].release) for platform, python in pythons.items()}


def _image(recipe: Recipe, platform: Platform, base: Base, contents: Contents, store: Store) -> Image:
    lines = (base.config.get("config") or {}).get("Env") or []
    path = dict(str(line).partition("=")[::2] for line in lines).get("PATH", "")
    added = [(layer.diff_id, layer.created_by) for layer in contents.layers]
    made = store.add(encode(config(base.config, platform, added, settings(recipe, path))), CONFIG)
    layers = [*base.layers, *(descriptor(layer.blob) for layer in contents.layers)]
    document = store.add(encode(manifest(descriptor(made), layers, _annotations(recipe, base))), MANIFEST)
    listed = Listed(recipe.name, document.digest, base.name, base.digest, contents.packages, contents.weights, __version__)
    sbom = store.add(render(listed), SBOM)
    subject = Descriptor(MANIFEST, document.digest, document.size)
    attached = store.add(encode(artifact(SBOM, [descriptor(sbom)], subject, {})), MANIFEST)
    return Image(platform, document, made, base, contents.layers, sbom, attached)


def descriptor(blob: Blob) -> Descriptor:
    """What a document says of a blob."""
    return Descriptor(blob.media_type, blob.digest, blob.size)


def _annotations(recipe: Recipe, base: Base | None) -> dict[str, str]:
    """What a manifest says of its image (OCI's predefined annotations)."""
    result = {"org.opencontainers.image.title": recipe.name}
    if base and base.digest:
        result |= {"org.opencontainers.image.base.digest": base.digest}
        if base.reference:
            result |= {"org.opencontainers.image.base.name": str(base.reference)}
    return result
