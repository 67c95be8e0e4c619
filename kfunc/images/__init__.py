"""Container images without a container tool: layers, manifests, a registry's client, layouts, foreign builders.

`platforms`, `documents`, `sbom` and `ignoring` are pure; the others read files, run pip or speak to a registry.
"""
