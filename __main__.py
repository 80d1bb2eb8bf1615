"""``python -m shuntyard``: the same as the ``shuntyard`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
