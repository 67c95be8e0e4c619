"""Container registries as who reads models and who builds images know them: names of images, challenges, credentials.

`references` and `challenges` are pure; `credentials` reads files and asks credential helpers.
"""
