"""`python -m kfunc` is the `kfunc` command."""

import sys

from kfunc.cli import main

sys.exit(main())
