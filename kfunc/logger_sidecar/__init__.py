"""The logger sidecar: requests and responses as CloudEvents, off the request's path."""
