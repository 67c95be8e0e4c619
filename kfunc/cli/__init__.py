"""The `kfunc` command line. It reads disk, environment and arguments; it never loads in the pod."""

from kfunc.cli.app import main as main
