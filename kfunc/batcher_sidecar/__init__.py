"""The batcher sidecar: dynamic batching in front of any V1 or V2 server."""
