"""Says which variables `make e2e` needs and lacks; exit status 2 if it lacks any."""

import os
import sys

from tests.e2e.variables import lacking


def main() -> int:
    missing = lacking(os.environ)
    if not missing:
        return 0
    print("make e2e needs a cluster with Knative Serving and Istio, and these variables that are not set:", file=sys.stderr)
    for name, meaning in missing.items():
        print(f"  {name:15} {meaning}", file=sys.stderr)
    print("for example: KUBECONFIG=~/.kube/config REGISTRY=registry.example.com/me … make e2e", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
