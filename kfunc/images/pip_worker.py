"""Runs pip for another machine: the markers of requirements are asked of that machine, not of this one.

The first argument is the environment of markers as JSON; the rest are pip's. pip's own options choose
wheels for another platform, but its markers stay those of the Python that runs it.
"""

import json
import sys


def main() -> int:
    try:
        from pip._internal.cli.main import main as pip
        from pip._internal.req.req_install import InstallRequirement
        from pip._vendor.packaging import markers
    except ImportError:
        print("ERROR: pip is not here", file=sys.stderr)
        return 3
    wanted = json.loads(sys.argv[1])
    markers.default_environment = lambda: dict(wanted)
    # One requirement with a hash would make pip want hashes of all packages, of kfunc's own too; those given it checks.
    InstallRequirement.has_hash_options = property(lambda _: False)  # type: ignore[method-assign, assignment]
    return int(pip(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
