"""``python -m toolset`` is the ``toolset`` command."""

import sys

from toolset.cli import main

if __name__ == "__main__":
    sys.exit(main())
