"""The handler's process. The watcher forks first, while there is next to nothing to copy."""

import sys

from kfunc.process.watcher import watch


def main() -> None:
    """Run the handlers with the arguments of the command line, and exit."""
    heartbeat = watch()
    from kfunc.handlers.main import start
    from kfunc.process.lifecycle import exit_now

    exit_now(start(sys.argv[1:], heartbeat))


if __name__ == "__main__":
    main()
