"""Folders and ports within the pod: what the containers' arguments and the rules agree on."""

CREDENTIALS = "/var/run/secrets/kfunc/storage"
CONFIGURATION = "/etc/kfunc"
MODELS = "/mnt/claims"
"""Claims of pvc:// models, one folder each."""
MODEL_CACHE = "/var/cache/kfunc"
"""Models that are fetched from elsewhere."""
UNSEALED = "/run/kfunc-unsealed"
"""Sealed models, decrypted: a volume in memory."""
SCRATCH = "/tmp"  # noqa: S108, the pod's own
FOLDERS = (CREDENTIALS, CONFIGURATION, MODELS, MODEL_CACHE, UNSEALED)

MANAGEMENT_PORTS = {"logger": 9095, "batcher": 9096, "handler": 9097}
RECENT = 64
"""Requests that a process keeps where the page can show them."""


def socket_of(container: str) -> str:
    """Where a container that is not the outermost listens. Abstract: the pod's network has it, and it needs no volume."""
    return f"unix:@kfunc/{container}"


# Knative's: queue-proxy, its metrics, its profiling and administration.
KNATIVE_PORTS = (8008, 8012, 8013, 8022, 8112, 9090, 9091)
